"""The seal around `data` on restricted topics: one place that closes, one table that opens, and the digest.

So far the seal is open (`xopen/1`): the true type, schema and time already travel inside, and everybody who
reads or writes goes through here; encryption (`xchan/1`) is another `seal` and a second line in `OPENERS`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import to_json

from schemas.wire.cloudevents import CloudEvent, LetterReason, Unusable, is_instant
from schemas.wire.topic import Topic

UTC_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_INSIDE: Final = ("type", "dataschema", "time")
_SEALS: Final = re.compile(r"x(open|chan)/.*", re.DOTALL)


def seal(opened: bytes) -> bytes:
    """Put the opened JSON object into the sealed form that the topic's readers know."""
    return b'{"v":"xopen/1","event":' + opened + b"}"


def _open_in_the_clear(sealed: Mapping[str, Any], mode: str) -> Any:
    if mode == "live":  # never takes what every broker could read
        raise Unusable(LetterReason.NOT_SEALED)
    return sealed.get("event")


OPENERS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Any]]] = {"xopen/1": _open_in_the_clear}
"""Sealed form → how to open it. The encrypted form becomes a second line here; readers then take both."""


def open_event(event: CloudEvent, topic: Topic, *, mode: str) -> CloudEvent:
    """The true type, schema, time and data; the topic, never the record, says whether they are sealed."""
    if not topic.is_restricted:
        _check_instant(event.attributes["time"], "time")
        return event
    opener = OPENERS.get(event.data["v"])
    opened = opener(event.data, mode) if opener else None
    if not isinstance(opened, dict) or opened.keys() != {*_INSIDE, "data"}:
        raise Unusable(LetterReason.CANNOT_OPEN)
    _check_instant(opened["time"], "data/event/time")
    if to_the_minute(opened["time"]) != event.attributes["time"]:
        raise Unusable(LetterReason.BAD_ATTRIBUTE, "time")
    return CloudEvent({name: opened[name] for name in _INSIDE}, opened["data"])


def _check_instant(time: object, place: str) -> None:
    if not isinstance(time, str) or not UTC_INSTANT.fullmatch(time) or not is_instant(time):
        raise Unusable(LetterReason.BAD_ATTRIBUTE, place)


def check_seal(data: object, topic: Topic) -> None:
    """Refuse plain data where the topic must be sealed, and a seal where it must not be."""
    form = data.get("v") if isinstance(data, dict) else None
    if topic.is_restricted and not isinstance(form, str):
        raise Unusable(LetterReason.NOT_SEALED)
    if not topic.is_restricted and isinstance(form, str) and _SEALS.fullmatch(form):
        raise Unusable(LetterReason.UNEXPECTED_SEAL)


def digest(event: CloudEvent, opened: CloudEvent) -> bytes:
    """Tell a repeated event from a changed one: SHA-256 of LP(associated data, opened bytes).

    LP puts before each part its length in 4 bytes, big-endian. Associated data = JCS (RFC 8785) of all
    attributes; opened bytes = the object of type, dataschema, time and data, in that order, as the compact
    JSON that `write` seals. So an event that was sealed anew, or came in binary mode, is the same event, and
    one whose id, key, sequence or content differs is not.
    """
    associated = to_json(dict(sorted(event.attributes.items())))
    inside = to_json({name: opened.attributes[name] for name in _INSIDE} | {"data": opened.data})
    return hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in (associated, inside))).digest()


def to_the_minute(time: str) -> str:
    """Cut an instant in UTC to its minute: what intermediaries may see of it."""
    return time[:16] + ":00Z"
