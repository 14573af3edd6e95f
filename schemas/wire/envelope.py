"""One event as it travels: our rules on top of CloudEvents, the seal around `data`, a door out and a door in.

Public signatures (nothing here waits, reads a clock or draws a random number):

    write(topic, *, id, source, key, subject, correlation, caused_by, sequence, at, body) -> bytes
    read(topic, headers, key, value, *, cell, mode)        -> ReadEvent          raises Unusable(reason, path)
    HEADERS                                     the constant headers of every record we write
    check(event, topic, key, *, cell, mode)     the rules for the outside
    seal(opened: bytes) -> bytes                open_event(event, topic, *, mode) -> Opened
    digest(event, topic, opened) -> bytes       32 bytes; equal for a resend, also when it was sealed anew
    full_type("referral.accepted")              "org.concert.referral.accepted.v1"
    dataschema_of(ReferralAccepted)             "urn:concert:schema:referral.accepted:1.0"

`mode` is `local`, `test` or `live`. An `Unusable` from `read` tells in `known` (source, event_id, sequence,
type, dataschema) what could be read, for the dead letter's row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError

from schemas.ids import KINDS
from schemas.wire.body import Body
from schemas.wire.cloudevents import (
    RECORD_BYTES_MAX,
    STRUCTURED,
    CloudEvent,
    Headers,
    Known,
    Reason,
    Unusable,
    check_attributes,
    decode,
    encode,
    is_instant,
    unchecked,
)
from schemas.wire.sealing import (
    UTC_INSTANT,
    Opened,
    check_seal,
    digest,
    open_event,
    seal,
    to_the_minute,
)
from schemas.wire.strict_json import parse_json, quick_json
from schemas.wire.topic import Topic, source_of

__all__ = [
    "HEADERS", "CloudEvent", "Headers", "Known", "Opened", "ReadEvent", "Reason", "Unusable", "check",
    "dataschema_of", "decode", "digest", "encode", "full_type", "open_event", "read", "seal", "write",
]  # fmt: skip

MAJOR: Final = 1
"""The major version of every event so far; a break adds a second class beside the first."""
HEADERS: Final = (("content-type", STRUCTURED.encode("ascii")),)


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
    service: str
    """The writer: the last part of the source."""
    topic: Topic
    key: str
    subject: str
    correlation: str
    caused_by: str | None
    sequence: int
    at: datetime
    """The true time of the event, not the outer one."""
    type: str
    dataschema: str
    body: AnyBody = field(repr=False)
    digest: bytes = field(repr=False)


# names


@cache
def full_type(short: str) -> str:
    """The type on the wire of a short name such as `referral.accepted`."""
    return f"org.concert.{short}.v{MAJOR}"


@cache
def dataschema_of(body: type[Body]) -> str:
    """The immutable name of a body's schema."""
    return f"urn:concert:schema:{body.type}:{MAJOR}.{body.schema_minor}"


@cache
def outer_names(topic: Topic) -> tuple[str, str]:
    """The one type and schema that intermediaries see on a sealed topic."""
    return full_type(str(topic.outer)), f"urn:concert:schema:{topic.outer}:{MAJOR}.0"


# out


def write(
    topic: Topic,
    *,
    id: str,  # noqa: A002 - the attribute's name on the wire
    source: str,
    key: str,
    subject: str,
    correlation: str,
    caused_by: str | None,
    sequence: int,
    at: datetime,
    body: Body,
) -> bytes:
    """The whole value of one event: stored, sent, resent and hashed as these bytes."""
    if body.type not in topic.carries:
        raise NotCarried(body.type)
    time, schema, true_type = _instant(at), dataschema_of(type(body)), full_type(body.type)
    data = quick_json(body, exclude_none=True)
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
        "subject": subject,
        "partitionkey": key,
        "correlationid": correlation,
        "sequence": f"{sequence:020d}",
        "time": time,
        "datacontenttype": "application/json",
        "dataschema": outer_schema,
        "dataclassification": topic.classification,
    }
    if caused_by is not None:
        attributes["causationid"] = caused_by
    value = quick_json(attributes)[:-1] + b',"data":' + data + b"}"
    if len(value) + _HEADER_BYTES > RECORD_BYTES_MAX:
        raise Unusable(Reason.OVERSIZE)
    if not value.isascii() or b"\\" in value:
        parse_json(value)  # free text: what our own readers would refuse is refused here
    return value


_HEADER_BYTES: Final = sum(len(name) + len(content) for name, content in HEADERS)


@lru_cache(maxsize=1000)  # every reader of a fact is told the same time
def _instant(at: datetime) -> str:
    if at.utcoffset() is None:
        raise NoZone
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


# in

_TYPE: Final = re.compile(r"org\.concert\.([a-z_]+\.[a-z_]+)\.v([1-9][0-9]*)")
_OPAQUE: Final = re.compile(r"[a-z0-9][a-z0-9_:-]{0,63}")
_SEQUENCE: Final = re.compile(r"[0-9]{20}")
_STEP: Final = re.compile("[a-z_]{1,40}|[0-9]{1,5}")
_LAST_SEQUENCE: Final = 2**63 - 1

_OURS: Final[Mapping[str, re.Pattern[str]]] = {
    "id": re.compile(KINDS["event"].pattern.strip("^$")),
    "type": _TYPE,
    "subject": _OPAQUE,
    "partitionkey": _OPAQUE,
    "correlationid": _OPAQUE,
    "sequence": _SEQUENCE,
    "time": UTC_INSTANT,
    "datacontenttype": re.compile("application/json"),
    "dataschema": re.compile(r"urn:concert:schema:[a-z_]+\.[a-z_]+:[1-9][0-9]*\.[0-9]+"),
    "dataclassification": re.compile("restricted|internal|confidential|public"),
}
"""Attribute → its form on our topics; every one of them is required. `source` is compared whole."""
_USUAL: Final = {
    **_OURS,
    "source": re.compile("urn:concert:[a-z0-9:_-]+"),
    "specversion": re.compile(r"1\.0"),
}
_ALL_USUAL: Final = re.compile("\n".join(f"(?:{form.pattern})" for form in _USUAL.values()), re.ASCII)


def _is_usual(attributes: Mapping[str, Any]) -> bool:
    """Whether all attributes have our forms, by one look; those of other events are looked at one by one."""
    if attributes.keys() - {"causationid"} != _USUAL.keys():
        return False
    texts = [attributes[name] for name in _USUAL]
    are_texts = all(type(text) is str for text in texts)
    return are_texts and bool(_ALL_USUAL.fullmatch("\n".join(texts))) and is_instant(attributes["time"])


def check(
    event: CloudEvent, topic: Topic, key: bytes | None, *, cell: str, mode: str, is_usual: bool = False
) -> None:
    """Refuse an event whose outside breaks our rules for its topic; nothing is opened yet."""
    attributes = event.attributes
    _check_source(attributes["source"], topic, cell, mode)
    for name, form in () if is_usual else _OURS.items():
        content = attributes.get(name)
        if not isinstance(content, str) or not form.fullmatch(content):
            raise Unusable(Reason.BAD_ATTRIBUTE, name)
    caused_by = attributes.get("causationid")
    if caused_by is not None and not (isinstance(caused_by, str) and _OURS["id"].fullmatch(caused_by)):
        raise Unusable(Reason.BAD_ATTRIBUTE, "causationid")
    if not 1 <= int(attributes["sequence"]) <= _LAST_SEQUENCE:
        raise Unusable(Reason.BAD_ATTRIBUTE, "sequence")
    if attributes["dataclassification"] != topic.classification:
        raise Unusable(Reason.BAD_ATTRIBUTE, "dataclassification")
    if key != str(attributes["partitionkey"]).encode("ascii"):
        raise Unusable(Reason.KEY_MISMATCH)
    check_seal(event.data, topic)
    if topic.is_restricted:
        _check_outer_names(attributes, topic)


def _check_source(source: object, topic: Topic, cell: str, mode: str) -> None:
    is_rehearsal = cell.startswith("test-")
    if source != source_of(cell, topic.writer) or is_rehearsal == (mode == "live"):
        raise Unusable(Reason.WRONG_SOURCE, "source")


def _check_outer_names(attributes: Mapping[str, Any], topic: Topic) -> None:
    outer_type, outer_schema = outer_names(topic)
    if attributes["type"] != outer_type:
        raise Unusable(Reason.BAD_ATTRIBUTE, "type")
    if attributes["dataschema"].rpartition(".")[0] != outer_schema.rpartition(".")[0]:
        raise Unusable(Reason.BAD_ATTRIBUTE, "dataschema")


def read(
    topic: Topic,
    headers: Headers,
    key: bytes | None,
    value: bytes | None,
    *,
    cell: str,
    mode: str,
) -> ReadEvent[Body]:
    """Decode, check, open and validate one record, or say why it can never be used."""
    event: CloudEvent | None = None
    opened: Opened | None = None
    try:
        found = unchecked(headers, value)
        if not (is_usual := _is_usual(found.attributes)):
            check_attributes(found.attributes)
        event = found
        check(event, topic, key, cell=cell, mode=mode, is_usual=is_usual)
        opened = open_event(event, topic, mode=mode)
        body = _body(opened, topic)
        _check_about(body, str(event.attributes["partitionkey"]))
        return _read_event(event, topic, opened, body)
    except Unusable as unusable:
        unusable.known = _known(event, opened)
        raise


def _body(opened: Opened, topic: Topic) -> Body:
    place = "data/event/" if topic.is_restricted else ""
    named = _TYPE.fullmatch(opened.type) if isinstance(opened.type, str) else None
    if named is None:
        raise Unusable(Reason.BAD_ATTRIBUTE, place + "type")
    if named[1] not in topic.carries:
        raise Unusable(Reason.UNKNOWN_TYPE)
    if named[2] != str(MAJOR):
        raise Unusable(Reason.UNKNOWN_MAJOR)
    schema, _, minor = str(opened.dataschema).rpartition(".")
    if schema != f"urn:concert:schema:{named[1]}:{MAJOR}" or not re.fullmatch("[0-9]+", minor):
        raise Unusable(Reason.BAD_ATTRIBUTE, place + "dataschema")
    try:
        return topic.carries[named[1]].model_validate_json(
            quick_json(opened.data), strict=True, extra="ignore"
        )
    except ValidationError as error:
        raise Unusable(Reason.SCHEMA_MISMATCH, _place(error)) from None
    except (
        ValueError,
        OverflowError,
    ):  # bytes instead of JSON; an instant before the first or after the last year
        raise Unusable(Reason.SCHEMA_MISMATCH, "data") from None


def _check_about(body: Body, key: str) -> None:
    """Refuse a body about something else than its record's key names."""
    if attrgetter(body.key_field)(body) != key:
        raise Unusable(Reason.KEY_MISMATCH, body.key_field.replace(".", "/"))


def _place(error: ValidationError) -> str:
    """Where the first fault lies; a step that is no field name of ours is not repeated."""
    steps = (str(step) for step in error.errors(include_input=False, include_url=False)[0]["loc"])
    return "/".join(["data", *(step if _STEP.fullmatch(step) else "*" for step in steps)])


def _known(event: CloudEvent | None, opened: Opened | None) -> Known:
    if event is None:
        return Known()
    sequence = str(event.attributes.get("sequence", ""))
    is_number = bool(_SEQUENCE.fullmatch(sequence)) and int(sequence) <= _LAST_SEQUENCE
    return Known(
        source=str(event.attributes["source"]),
        event_id=str(event.attributes["id"]),
        sequence=int(sequence) if is_number else None,
        type=str(opened.type) if opened else None,
        dataschema=str(opened.dataschema) if opened else None,
    )


def _read_event(event: CloudEvent, topic: Topic, opened: Opened, body: Body) -> ReadEvent[Body]:
    attributes: Mapping[str, Any] = event.attributes
    return ReadEvent(
        id=attributes["id"],
        source=attributes["source"],
        service=topic.writer,
        topic=topic,
        key=attributes["partitionkey"],
        subject=attributes["subject"],
        correlation=attributes["correlationid"],
        caused_by=attributes.get("causationid"),
        sequence=int(attributes["sequence"]),
        at=datetime.fromisoformat(opened.time),
        type=opened.type,
        dataschema=opened.dataschema,
        body=body,
        digest=digest(event, topic, opened),
    )
