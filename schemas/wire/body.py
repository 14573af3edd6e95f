"""What every event body shares: frozen, aware times, no methods; readers ignore what they do not know."""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, Strict

_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _as_written(at: Any) -> Any:
    """Take the one spelling that the published schemas take; pydantic alone reads more."""
    if isinstance(at, datetime):
        return at
    if not isinstance(at, str) or not _RFC_3339.fullmatch(at):
        raise ValueError("give the time as RFC 3339 with its zone, best as UTC with Z")
    return datetime.fromisoformat(at)


def _in_utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("give the time with its zone, best as UTC with Z")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("give a time that exists in UTC") from None


def instant_text(at: datetime) -> str:
    """An instant as RFC 3339 in UTC with milliseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    BeforeValidator(_as_written),
    AfterValidator(_in_utc),
    PlainSerializer(instant_text, when_used="json"),
]
Flag = Annotated[bool, Strict()]
COUNT_MAX: Final = 2**31 - 1
"""What every reader's integer holds, a column of PostgreSQL among them."""


def _holdable(count: int) -> int:
    """A rule of ours beside the published schemas: those that are released never change."""
    if not 0 <= count <= COUNT_MAX:
        raise ValueError(f"give a whole number from 0 to {COUNT_MAX}")
    return count


Count = Annotated[int, Strict(), AfterValidator(_holdable)]

CODE_LIST: Final = "x-extensible-enum"
"""Where OpenAPI shows today's codes of a list that governance may extend: a reader must bear others."""

UNKNOWN_CODE: Final = "unknown_code"
"""The failure of a code that a door does not find on its list; its text names those that it takes."""


def listed(codes: Collection[str]) -> Any:
    """Shows a code list beside a field's pattern; a reader of the bus must bear others, a door need not."""
    return Field(json_schema_extra={CODE_LIST: [*sorted(codes)]})


class Body(BaseModel):
    """The thin content of one kind of event; `type` is its short name on the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    type: ClassVar[str]
    schema_minor: ClassVar[int] = 0
    key_field: ClassVar[str]
    """The field whose content is the record's key; under another key an event's order means nothing."""
