"""What an operator chooses for governance."""

from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from services.runtime.settings import IssuerSettings, RuntimeSettings, WrongMode

DAY_SECONDS: Final = 86_400


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # a name that is none of its own may be a folder's
        raise ValueError("name a time zone of the IANA, such as Africa/Nairobi or UTC") from None
    return name


class Settings(RuntimeSettings):
    """Settings of the governance service."""

    issuer: IssuerSettings
    governance_keys_file: Path
    """The three public keys of which two must have signed what is published, as a JSON object."""
    areas_file: Path
    """The tree of p-codes, as a table in CSV with the columns that HDX publishes."""
    protocol_delay_seconds: int = Field(default=DAY_SECONDS, ge=0)
    """How long after its second signature a protocol comes into force; in mode live a day at least."""
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """In which time zone months begin, by its IANA name; choose it once, before anything is counted."""
    release_freeze_days: int = Field(default=14, ge=-31)
    """How long after its end a month is released, when its facts are in; in mode live a day at least.

    Below zero a trial releases a month that still runs.
    """

    def check_mode(self) -> None:
        """The rules of every service; in mode `live` time to object to a protocol, and for facts to come."""
        if self.mode == "live" and self.protocol_delay_seconds < DAY_SECONDS:
            raise WrongMode(f"mode live needs protocol_delay_seconds of {DAY_SECONDS} or more")
        if self.mode == "live" and self.release_freeze_days < 1:
            raise WrongMode("mode live needs release_freeze_days of 1 or more")
        super().check_mode()
