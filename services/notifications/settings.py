"""What an operator chooses for notifications."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.notifications.domain.mail import ADDRESS_BYTES_MAX
from services.runtime.settings import IssuerSettings, RuntimeSettings

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class SmtpSettings(BaseModel):
    """The server that takes our mails."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str
    port: int
    sender: Annotated[str, Field(max_length=ADDRESS_BYTES_MAX, pattern=r"^[!-?A-~]+@[A-Za-z0-9.-]+$")]
    """The address that mails come from, which should name neither work nor sector; replies are not read."""
    encryption: Literal["starttls", "none"] = "starttls"
    """Mail in the clear is for a server on this machine alone."""
    authority_file: Path | None = None
    """The authority, in PEM, that signed the server's certificate, where it is not a public one."""

    @model_validator(mode="after")
    def _stays_here_in_the_clear(self) -> Self:
        if self.encryption == "none" and self.host not in LOOPBACK:
            raise ValueError(f"without encryption the mail server must be one of {', '.join(LOOPBACK)}")
        return self


class Settings(RuntimeSettings):
    """The settings of the notifications service."""

    issuer: IssuerSettings
    smtp: SmtpSettings
    governance_keys_file: Path
    """The three public keys of which two must have signed what is in force, as a JSON object."""
    gather_ms: int = 300
    sweep_every: timedelta = timedelta(seconds=1)
    """How often due notices are looked for; at most `MAILS_PER_SWEEP_MAX` mails leave each time."""
