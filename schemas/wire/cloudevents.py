"""CloudEvents 1.0.2 as records, read in both modes; what we write and our own rules stand in `envelope.py`.

Takes relative sources, any content type and no subject; refuses what the format or the Kafka binding forbids,
and JSON that two readers could understand differently.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from schemas.wire.strict_json import (
    NEVER_TEXT,
    MalformedJson,
    check_text,
    may_hold_forbidden_text,
    parse_any_text,
    parse_json,
)

RECORD_BYTES_MAX: Final = 64 * 1024
STRUCTURED: Final = "application/cloudevents+json; charset=UTF-8"
REQUIRED: Final = ("id", "source", "specversion", "type")

Headers = Sequence[tuple[str, bytes | None]]
Attribute = str | int | bool


class LetterReason(StrEnum):
    """Why an event can never be used: a closed list, kept with each dead letter."""

    NO_VALUE = "no_value"
    BATCH_MODE = "batch_mode"
    UNKNOWN_FORMAT = "unknown_format"
    NOT_CLOUDEVENTS = "not_cloudevents"
    NO_CONTENT_TYPE = "no_content_type"
    DUPLICATE_HEADER = "duplicate_header"
    CONTENT_TYPE_CONFLICT = "content_type_conflict"
    BAD_ATTRIBUTE = "bad_attribute"
    KEY_MISMATCH = "key_mismatch"
    CHANGED_DUPLICATE = "changed_duplicate"
    SEQUENCE_GAP = "sequence_gap"
    NUMBER_TAKEN = "number_taken"
    OLDER_EPOCH = "older_epoch"
    OVERSIZE = "oversize"
    NOT_SEALED = "not_sealed"
    UNEXPECTED_SEAL = "unexpected_seal"
    CANNOT_OPEN = "cannot_open"
    MALFORMED_JSON = "malformed_json"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_MAJOR = "unknown_major"
    SCHEMA_MISMATCH = "schema_mismatch"
    WRONG_SOURCE = "wrong_source"
    HANDLER = "handler"
    BAD_HEADER = "bad_header"
    CORRUPT_BATCH = "corrupt_batch"
    TOO_LARGE_UNPACKED = "too_large_unpacked"
    UNSIGNED = "unsigned"
    SIGNED_ONCE = "signed_once"
    KEY_NOT_PINNED = "key_not_pinned"
    SIGNATURE_MISMATCH = "signature_mismatch"
    HASH_WRONG = "hash_wrong"
    VERSION_NOT_NEWER = "version_not_newer"


@dataclass(frozen=True, slots=True)
class PartialEvent:
    """What could be read of an event that cannot be used; the true type and schema once it was opened."""

    source: str | None = None
    event_id: str | None = None
    sequence: int | None = None
    type: str | None = None
    dataschema: str | None = None


class Unusable(Exception):
    """An event that can never be used; `path` points at the place and never repeats a value."""

    def __init__(self, reason: LetterReason, path: str | None = None) -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path
        self.known = PartialEvent()


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Attributes, and data as a JSON value or bytes; None where the event has no data."""

    attributes: Mapping[str, Attribute]
    data: Any = None

    def __repr__(self) -> str:
        return "CloudEvent(…)"  # its content may name a person


def decode(headers: Headers, value: bytes | None) -> CloudEvent:
    """Read a record in either mode, or refuse it with a reason."""
    event = parse(headers, value)
    check_attributes(event.attributes)
    return event


def parse(headers: Headers, value: bytes | None) -> CloudEvent:
    """The same, in the order of the Kafka binding, before a look at the attributes."""
    if value is None:
        raise Unusable(LetterReason.NO_VALUE)
    if len(value) + sum(len(name) + len(content or b"") for name, content in headers) > RECORD_BYTES_MAX:
        raise Unusable(LetterReason.OVERSIZE)
    content_type = _content_type(headers)
    if content_type == STRUCTURED or _is_structured(content_type or ""):
        return _structured(value)
    return _binary(headers, content_type, value)


def check_attributes(attributes: Mapping[str, object], *, but: Collection[str] = ()) -> None:
    """Refuse attributes that the specification forbids; those named in `but` the caller checks."""
    for name in REQUIRED:
        if name not in attributes:
            raise Unusable(LetterReason.NOT_CLOUDEVENTS, name)
    for name in [one for one in attributes if one not in but]:
        content = attributes[name]
        if not _NAME.fullmatch(name) or name == "data":
            raise Unusable(LetterReason.BAD_ATTRIBUTE, "name")
        if isinstance(content, str):
            _check_text(name, content)
        elif not isinstance(content, int) or not -(2**31) <= content < 2**31 or name in _RULES:
            raise Unusable(LetterReason.BAD_ATTRIBUTE, _place(name))


def is_instant(text: str) -> bool:
    """Whether the text is an RFC 3339 instant that the calendar has."""
    found = _TIME.fullmatch(text)
    try:
        return found is not None and bool(datetime.fromisoformat(f"{found[1]}T{found[2]}{found[4].upper()}"))
    except ValueError:
        return False


# modes


def _content_type(headers: Headers) -> str | None:
    found = [content for name, content in headers if name.lower() == "content-type"]
    if len(found) > 1:
        raise Unusable(LetterReason.DUPLICATE_HEADER, "content-type")
    return _header_text("content-type", found[0]) if found else None


def _is_structured(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("application/cloudevents-batch"):
        raise Unusable(LetterReason.BATCH_MODE)
    charset = _CHARSET.search(content_type)
    is_ours = media_type == "application/cloudevents+json" and (not charset or charset[1].lower() in _UTF8)
    if media_type.startswith("application/cloudevents") and not is_ours:
        raise Unusable(LetterReason.UNKNOWN_FORMAT)
    return is_ours


def _structured(value: bytes) -> CloudEvent:
    written = _parsed(value, parse_any_text)
    if not isinstance(written, dict):
        raise Unusable(LetterReason.NOT_CLOUDEVENTS)
    data, encoded = written.pop("data", None), written.pop("data_base64", None)
    if may_hold_forbidden_text(value):
        _parsed(data, check_text)
    attributes = {name: content for name, content in written.items() if content is not None}
    if encoded is None:
        return CloudEvent(attributes, data)
    if data is not None:
        raise Unusable(LetterReason.BAD_ATTRIBUTE, "data_base64")
    return CloudEvent(attributes, _base64(encoded))


def _binary(headers: Headers, content_type: str | None, value: bytes) -> CloudEvent:
    attributes: dict[str, Attribute] = {}
    for name, content in headers:
        if (lowered := name.lower()).startswith("ce_"):
            if lowered[3:] in attributes:
                raise Unusable(LetterReason.DUPLICATE_HEADER, _place(lowered[3:]))
            attributes[lowered[3:]] = _header_text(_place(lowered[3:]), content)
    if not attributes.keys() >= set(REQUIRED):
        raise Unusable(LetterReason.NO_CONTENT_TYPE if content_type is None else LetterReason.NOT_CLOUDEVENTS)
    if attributes.setdefault("datacontenttype", content_type or "") != (content_type or ""):
        raise Unusable(LetterReason.CONTENT_TYPE_CONFLICT)
    if content_type is None:
        del attributes["datacontenttype"]
    return CloudEvent(attributes, _binary_data(content_type, value))


def _binary_data(content_type: str | None, value: bytes) -> Any:
    subtype = (content_type or "").partition(";")[0].strip().lower().partition("/")[2]
    if subtype == "json" or subtype.endswith("+json"):
        return _parsed(value) if value else None
    return value


def _parsed(value: Any, parse: Callable[[Any], Any] = parse_json) -> Any:
    try:
        return parse(value)
    except MalformedJson:
        raise Unusable(LetterReason.MALFORMED_JSON) from None


def _header_text(name: str, content: bytes | None) -> str:
    try:
        return (content or b"").decode("utf-8")
    except UnicodeDecodeError:
        raise Unusable(LetterReason.BAD_ATTRIBUTE, name) from None


def _base64(encoded: object) -> bytes:
    try:
        if not isinstance(encoded, str):
            raise Unusable(LetterReason.BAD_ATTRIBUTE, "data_base64")
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Unusable(LetterReason.BAD_ATTRIBUTE, "data_base64") from None


# attributes

_CHARSET: Final = re.compile(r"(?i);\s*charset\s*=\s*\"?([^\s;\"]+)")
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_URI: Final = r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
_FORBIDDEN: Final = re.compile(rf"[\x00-\x1f{NEVER_TEXT}]")
_NAME: Final = re.compile(r"[a-z0-9]{1,20}")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.A)
_RULES: Final[Mapping[str, re.Pattern[str]]] = {
    "id": re.compile(r"[^\n]+"),
    "source": re.compile(rf"(?:[A-Za-z][A-Za-z0-9+.-]*:|(?![^/?#]*:)){_URI}|#"),
    "specversion": re.compile(r"1\.0"),
    "type": re.compile(r"[^\n]+"),
    "subject": re.compile(r"[^\n]+"),
    "time": _TIME,
    "datacontenttype": re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:\s*;.*)?"),
    "dataschema": re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*:{_URI}"),
}
"""Attributes of the specification with a form of their own; all others are any string, integer or boolean."""


def _check_text(name: str, content: str) -> None:
    if not (content.isascii() and content.isprintable()) and _FORBIDDEN.search(content):
        raise Unusable(LetterReason.BAD_ATTRIBUTE, _place(name))
    rule = _RULES.get(name)
    if rule and not rule.fullmatch(content):
        raise Unusable(LetterReason.BAD_ATTRIBUTE, name)
    if name == "time" and not is_instant(content):
        raise Unusable(LetterReason.BAD_ATTRIBUTE, name)


def _place(name: str) -> str:
    """The name of an attribute of the specification; what a sender made up is not repeated."""
    return name if name in _RULES else "extension"
