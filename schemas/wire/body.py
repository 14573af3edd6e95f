"""What every event body shares: frozen, aware times, no methods; readers ignore what they do not know."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Final, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, Strict
from pydantic.fields import FieldInfo

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


Count = Annotated[int, Field(strict=True, ge=0, le=COUNT_MAX)]

Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
"""A code that governance may extend; whether it is known is checked against its table."""
CODE_LIST: Final = "x-extensible-enum"
"""Where OpenAPI shows today's codes of a list that governance may extend: a reader must bear others."""

UNKNOWN_CODE: Final = "unknown_code"
"""The failure of a code that a door does not find on its list; its text names those that it takes."""


def listed(codes: Collection[str]) -> Any:
    """Shows a code list beside a field's pattern; a reader of the bus must bear others, a door need not."""
    return Field(json_schema_extra={CODE_LIST: [*sorted(codes)]})


@cache
def lists_of(model: type[BaseModel]) -> Mapping[str, frozenset[str]]:
    """The fields of a model that carry codes, or lists of them, each with today's list."""
    found = {}
    for name, field in model.model_fields.items():
        shown = [field, *(one for kind in get_args(field.annotation) for one in get_args(kind)[1:])]
        extras: list[Any] = [one.json_schema_extra for one in shown if isinstance(one, FieldInfo)]
        if codes := frozenset(code for one in extras if one for code in one.get(CODE_LIST, ())):
            found[name] = codes
    return found


def unlisted(model: BaseModel) -> str | None:
    """The first field with a code that is on no list of today, its parts' fields too; None if all are."""
    lists = lists_of(type(model))
    for name, value in model:
        if value is None:
            continue
        said = value if isinstance(value, tuple | Mapping) else (value,)
        if name in lists and not lists[name].issuperset(said):
            return name
        if any(unlisted(part) for part in said if isinstance(part, BaseModel)):
            return name
    return None


class Body(BaseModel):
    """The thin content of one kind of event; `type` is its short name on the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    schema_minor: ClassVar[int] = 0
    key_field: ClassVar[str]
    """The field whose content is the record's key; under another key an event's order means nothing."""


def key_of(body: Body) -> str:
    """What the event is about: its record's key, subject and correlation."""
    key: str = attrgetter(body.key_field)(body)
    return key


def by_type(*bodies: type[Body]) -> Mapping[str, type[Body]]:
    """Classes of events by their short types, as a topic carries them."""
    return {body.type: body for body in bodies}
