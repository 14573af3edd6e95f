"""What every event body shares: frozen, aware times, no methods; readers ignore what they do not know."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, Strict


def _in_utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("give the time with its zone, best as UTC with Z")
    return at.astimezone(UTC)


def instant_text(at: datetime) -> str:
    """An instant as RFC 3339 in UTC with milliseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, AfterValidator(_in_utc), PlainSerializer(instant_text, when_used="json")]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict()]


class Body(BaseModel):
    """The thin content of one kind of event; `type` is its short name on the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    type: ClassVar[str]
    schema_minor: ClassVar[int] = 0
