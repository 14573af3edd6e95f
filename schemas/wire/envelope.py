"""One event as it travels: our rules on top of CloudEvents, the seal around `data`, a door out and a door in.

Nothing here waits, reads a clock or draws a random number. `mode` is `local`, `test` or `live`. An `Unusable`
from `read` tells in `known` what could be read, for the dead letter's row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import to_json

from schemas.ids import KINDS
from schemas.wire.body import Body, key_of
from schemas.wire.cloudevents import (
    RECORD_BYTES_MAX,
    STRUCTURED,
    CloudEvent,
    Headers,
    LetterReason,
    PartialEvent,
    Unusable,
    check_attributes,
    parse,
)
from schemas.wire.sealing import UTC_INSTANT, digest, open_event, seal, to_the_minute
from schemas.wire.strict_json import parse_json
from schemas.wire.topic import Topic, source_of

MAJOR: Final = 1
"""The major version of every event so far; a break adds a second class beside the first."""
HEADERS: Final = (("content-type", STRUCTURED.encode("ascii")),)
"""The headers of every record that we write."""
_HEADER_BYTES: Final = sum(len(name) + len(content) for name, content in HEADERS)


class NotCarried(ValueError):
    """This topic does not carry this type: writing it there could show it to the wrong readers."""


class NoZone(ValueError):
    """An instant without a zone means nothing to another machine."""


AnyBody = TypeVar("AnyBody", bound=Body, covariant=True)


@dataclass(frozen=True, slots=True)
class ReadEvent(Generic[AnyBody]):
    """An event that passed every check, as handlers get it: with its body as a class of the contract."""

    id: str
    source: str
    topic: Topic
    key: str
    caused_by: str | None
    sequence: int
    at: datetime
    """The true time, not the outer one."""
    type: str
    dataschema: str
    body: AnyBody = field(repr=False)
    digest: bytes = field(repr=False)
    """32 bytes; equal for a resend."""
    writer_epoch: int = 1
    """How often its writer's database was put back to an earlier one, and one."""

    @property
    def service(self) -> str:
        """The service that wrote it."""
        return self.topic.writer


def write(
    topic: Topic,
    body: Body,
    *,
    id: str,  # noqa: A002 - the attribute's name on the wire
    source: str,
    sequence: int,
    at: datetime,
    caused_by: str | None = None,
    writer_epoch: int = 1,
) -> bytes:
    """The whole value of one event: stored, sent, resent and hashed as these bytes."""
    if body.type not in topic.carries:
        raise NotCarried(body.type)
    time, schema, true_type, key = _instant(at), dataschema_of(type(body)), full_type(body.type), key_of(body)
    data = to_json(body, exclude_none=True)
    outer_type, outer_schema = true_type, schema
    if topic.is_restricted:
        outer_type, outer_schema = outer_names(topic)
        inner = f'{{"type":"{true_type}","dataschema":"{schema}","time":"{time}","data":'
        data, time = seal(inner.encode("ascii") + data + b"}"), to_the_minute(time)
    attributes = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": outer_type,
        "subject": key,
        "partitionkey": key,
        "correlationid": key,
        "sequence": f"{sequence:020d}",
        "time": time,
        "datacontenttype": "application/json",
        "dataschema": outer_schema,
        "dataclassification": topic.classification,
    }
    if caused_by is not None:
        attributes["causationid"] = caused_by
    if writer_epoch != 1:
        attributes["writerepoch"] = str(writer_epoch)
    value = to_json(attributes)[:-1] + b',"data":' + data + b"}"
    if len(value) + _HEADER_BYTES > RECORD_BYTES_MAX:
        raise Unusable(LetterReason.OVERSIZE)
    if not value.isascii() or b"\\" in value:
        parse_json(value)  # free text: what our own readers would refuse is refused here
    return value


def read(
    topic: Topic, headers: Headers, key: bytes | None, value: bytes | None, *, cell: str, mode: str
) -> ReadEvent[Body]:
    """Parse, check, open and validate one record, or say why it can never be used."""
    event = opened = None
    try:
        event = parse(headers, value)
        check(event, topic, key, cell=cell, mode=mode)
        opened = open_event(event, topic, mode=mode)
        return _read_event(event, opened, _body(opened, topic), topic)
    except Unusable as unusable:
        unusable.known = _partial(event, opened) if event else PartialEvent()
        raise


def check(event: CloudEvent, topic: Topic, key: bytes | None, *, cell: str, mode: str) -> None:
    """Refuse an event whose outside breaks our rules for its topic; nothing is opened yet."""
    attributes: Mapping[str, Any] = event.attributes
    check_attributes(attributes, but=FORMS)
    is_rehearsal = cell.startswith("test-")
    if attributes["source"] != source_of(cell, topic.writer) or is_rehearsal == (mode == "live"):
        raise Unusable(LetterReason.WRONG_SOURCE, "source")
    for name, form in FORMS.items():
        content = attributes.get(name)
        if not isinstance(content, str) or not form.fullmatch(content):
            if name in OPTIONAL and content is None:
                continue
            raise Unusable(LetterReason.BAD_ATTRIBUTE, name)
    if not 1 <= int(attributes["sequence"]) <= _LAST_SEQUENCE:
        raise Unusable(LetterReason.BAD_ATTRIBUTE, "sequence")
    if attributes.get("dataclassification") != topic.classification:
        raise Unusable(LetterReason.BAD_ATTRIBUTE, "dataclassification")
    if key != attributes["partitionkey"].encode("ascii"):
        raise Unusable(LetterReason.KEY_MISMATCH)
    if topic.is_restricted:
        _check_outer_names(attributes, topic)


@cache
def full_type(short: str) -> str:
    """The type on the wire of a short name: `org.concert.referral.accepted.v1` of `referral.accepted`."""
    return f"org.concert.{short}.v{MAJOR}"


@cache
def dataschema_of(body: type[Body]) -> str:
    """The immutable name of a body's schema, such as `urn:concert:schema:referral.accepted:1.0`."""
    return f"urn:concert:schema:{body.type}:{MAJOR}.{body.schema_minor}"


@cache
def outer_names(topic: Topic) -> tuple[str, str]:
    """The one type and schema that intermediaries see on a sealed topic."""
    return full_type(str(topic.outer)), f"urn:concert:schema:{topic.outer}:{MAJOR}.0"


@lru_cache(maxsize=1000)  # every reader of a fact is told the same time
def _instant(at: datetime) -> str:
    if at.utcoffset() is None:
        raise NoZone
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


_TYPE: Final = re.compile(r"org\.concert\.([a-z_]+\.[a-z_]+)\.v([1-9][0-9]*)")
_OPAQUE: Final = re.compile(r"[a-z0-9][a-z0-9_:-]{0,63}")
_SEQUENCE: Final = re.compile(r"[0-9]{20}")
_EVENT: Final = re.compile(KINDS["event"].pattern.strip("^$"))
_LAST_SEQUENCE: Final = 2**53 - 1
"""Far above any that is given, and below where a database could count no further."""

FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    "specversion": re.compile(r"1\.0"),
    "id": _EVENT,
    "type": _TYPE,
    "subject": _OPAQUE,
    "partitionkey": _OPAQUE,
    "correlationid": _OPAQUE,
    "causationid": _EVENT,
    "writerepoch": re.compile("([1-9][0-9]{0,2}|1[0-9]{3}|2000)"),
    "sequence": _SEQUENCE,
    "time": UTC_INSTANT,
    "datacontenttype": re.compile("application/json"),
    "dataschema": re.compile(r"urn:concert:schema:[a-z_]+\.[a-z_]+:[1-9][0-9]*\.[0-9]+"),
}
"""Attribute → its form on our topics."""
OPTIONAL: Final = ("causationid", "writerepoch")
"""Those that an event may lack; the others are required."""


def _check_outer_names(attributes: Mapping[str, Any], topic: Topic) -> None:
    outer_type, outer_schema = outer_names(topic)
    if attributes["type"] != outer_type:
        raise Unusable(LetterReason.BAD_ATTRIBUTE, "type")
    if attributes["dataschema"].rpartition(".")[0] != outer_schema.rpartition(".")[0]:
        raise Unusable(LetterReason.BAD_ATTRIBUTE, "dataschema")


def _body(opened: CloudEvent, topic: Topic) -> Body:
    place = "data/event/" if topic.is_restricted else ""
    true_type: Any = opened.attributes["type"]
    named = _TYPE.fullmatch(true_type) if isinstance(true_type, str) else None
    if named is None:
        raise Unusable(LetterReason.BAD_ATTRIBUTE, place + "type")
    if named[1] not in topic.carries:
        raise Unusable(LetterReason.UNKNOWN_TYPE)
    if named[2] != str(MAJOR):
        raise Unusable(LetterReason.UNKNOWN_MAJOR)
    schema, _, minor = str(opened.attributes["dataschema"]).rpartition(".")
    if schema != f"urn:concert:schema:{named[1]}:{MAJOR}" or not re.fullmatch("[0-9]+", minor):
        raise Unusable(LetterReason.BAD_ATTRIBUTE, place + "dataschema")
    body = topic.carries[named[1]]
    try:
        return body.model_validate_json(to_json(opened.data), strict=True, extra="ignore")
    except ValidationError as error:
        raise Unusable(LetterReason.SCHEMA_MISMATCH, _place(error, body)) from None
    except (ValueError, OverflowError):  # bytes instead of JSON; an instant outside the calendar's years
        raise Unusable(LetterReason.SCHEMA_MISMATCH, "data") from None


def _place(error: ValidationError, body: type[Body]) -> str:
    """Where the first fault lies; a step that is no field name of ours, such as a key, is not repeated."""
    steps, ours = error.errors(include_input=False, include_url=False)[0]["loc"], _field_names(body)
    told = (str(step) if isinstance(step, int) or step in ours else "*" for step in steps)
    return "/".join(["data", *told])


@cache
def _field_names(body: type[Body]) -> frozenset[str]:
    schema = body.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for part in parts for name in part.get("properties", ()))


def _read_event(event: CloudEvent, opened: CloudEvent, body: Body, topic: Topic) -> ReadEvent[Body]:
    attributes: Mapping[str, Any] = event.attributes
    inside: Mapping[str, Any] = opened.attributes
    if key_of(body) != attributes["partitionkey"]:
        raise Unusable(LetterReason.KEY_MISMATCH, body.key_field.replace(".", "/"))
    return ReadEvent(
        id=attributes["id"],
        source=attributes["source"],
        topic=topic,
        key=attributes["partitionkey"],
        caused_by=attributes.get("causationid"),
        sequence=int(attributes["sequence"]),
        at=datetime.fromisoformat(inside["time"]),
        type=inside["type"],
        dataschema=inside["dataschema"],
        body=body,
        digest=digest(event, opened),
        writer_epoch=int(attributes.get("writerepoch", "1")),
    )


def _partial(event: CloudEvent, opened: CloudEvent | None) -> PartialEvent:
    """What may be told of an event; nothing of one that breaks the specification itself."""
    attributes, inside = event.attributes, opened.attributes if opened else {}
    try:
        check_attributes(attributes)
    except Unusable:
        return PartialEvent()
    sequence = str(attributes.get("sequence", ""))
    is_number = bool(_SEQUENCE.fullmatch(sequence)) and int(sequence) <= _LAST_SEQUENCE
    return PartialEvent(
        source=str(attributes["source"]),
        event_id=str(attributes["id"]),
        sequence=int(sequence) if is_number else None,
        type=str(inside["type"]) if inside else None,
        dataschema=str(inside["dataschema"]) if inside else None,
    )
