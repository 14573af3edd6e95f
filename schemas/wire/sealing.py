"""The seal around `data` on restricted topics: one place that closes, one table that opens, and the digest.

So far the seal is open (`xopen/1`): the true type, schema and time already travel inside, and everybody who
reads or writes goes through here; encryption (`xchan/1`) is another `seal` and a second line in `OPENERS`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.wire.cloudevents import CloudEvent, Reason, Unusable, encode, is_instant
from schemas.wire.strict_json import quick_json
from schemas.wire.topic import Topic

UTC_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Opened:
    """The true type, schema and time of an event, with its thin data."""

    type: str
    dataschema: str
    time: str
    data: Any

    def __repr__(self) -> str:
        return "Opened(…)"


def to_the_minute(time: str) -> str:
    """Cut an instant in UTC to its minute: what intermediaries may see of it."""
    return time[:16] + ":00Z"


_OPENED: Final = ("type", "dataschema", "time", "data")
_SEALS: Final = re.compile(r"x(open|chan)/.*", re.DOTALL)


def seal(opened: bytes) -> bytes:
    """Put the opened JSON object into the sealed form that the topic's readers know."""
    return b'{"v":"xopen/1","event":' + opened + b"}"


def _open_in_the_clear(sealed: Mapping[str, Any], mode: str) -> Any:
    if mode == "live":
        raise Unusable(Reason.NOT_SEALED)  # a live installation never takes what every broker could read
    return sealed.get("event")


OPENERS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Any]]] = {"xopen/1": _open_in_the_clear}
"""Sealed form → how to open it. The encrypted form becomes a second line here; readers then take both."""


def open_event(event: CloudEvent, topic: Topic, *, mode: str) -> Opened:
    """The true content of an event; the topic alone says whether it must be sealed, never the record."""
    if not topic.is_restricted:
        true_type, schema, time = (str(event.attributes[name]) for name in _OPENED[:3])
        return Opened(true_type, schema, time, event.data)
    opener = OPENERS.get(event.data["v"])
    opened = opener(event.data, mode) if opener else None
    if not isinstance(opened, dict) or opened.keys() != set(_OPENED):
        raise Unusable(Reason.CANNOT_OPEN)
    inside = Opened(**opened)
    time = inside.time if isinstance(inside.time, str) else ""
    if not UTC_INSTANT.fullmatch(time) or not is_instant(time):
        raise Unusable(Reason.BAD_ATTRIBUTE, "data/event/time")
    if to_the_minute(time) != event.attributes["time"]:
        raise Unusable(Reason.BAD_ATTRIBUTE, "time")
    return inside


def check_seal(data: object, topic: Topic) -> None:
    """Refuse plain data where the topic must be sealed, and a seal where it must not be."""
    form = data.get("v") if isinstance(data, dict) else None
    if topic.is_restricted and not isinstance(form, str):
        raise Unusable(Reason.NOT_SEALED)
    if not topic.is_restricted and isinstance(form, str) and _SEALS.fullmatch(form):
        raise Unusable(Reason.UNEXPECTED_SEAL)


def digest(event: CloudEvent, topic: Topic, opened: Opened) -> bytes:
    """Tell a repeated event from a changed one, 32 bytes.

    Plain topic: SHA-256 of the value (a binary record counts as the structured one `encode` makes of it).
    Sealed topic: SHA-256 of LP(associated data, opened bytes), where LP puts before each part its length in
    4 bytes, big-endian; associated data = JCS (RFC 8785) of all attributes; opened bytes = the object of
    type, dataschema, time and data, in that order, as the compact JSON that `write` seals. So an event that
    was sealed anew is the same event, and one whose id, key, sequence or content differs is not.
    """
    if not topic.is_restricted:
        return hashlib.sha256(encode(event)[1]).digest()
    inside = quick_json({name: getattr(opened, name) for name in _OPENED})
    parts = (associated_data(event.attributes), inside)
    return hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).digest()


def associated_data(attributes: Mapping[str, str | int | bool]) -> bytes:
    """JCS (RFC 8785) of attributes; of texts and whole numbers, sorted compact JSON is the same."""
    return quick_json(dict(sorted(attributes.items())))
