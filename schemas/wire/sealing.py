"""The seal around `data` on restricted topics: the one place that closes it and opens it, and the digest.

So far the seal is open (`xopen/1`): the true type, schema and time already travel inside, and everybody who
reads or writes goes through here; encryption will be `xchan/1`, and readers then take both.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from pydantic_core import to_json

from schemas.wire.cloudevents import CloudEvent, LetterReason, Unusable, is_instant
from schemas.wire.topic import Topic

UTC_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_INSIDE: Final = ("type", "dataschema", "time")
OPEN: Final = "xopen/1"


def seal(opened: bytes) -> bytes:
    """Put the opened JSON object into the sealed form that the topic's readers know."""
    return b'{"v":"%b","event":%b}' % (OPEN.encode("ascii"), opened)


def open_event(event: CloudEvent, topic: Topic, *, mode: str) -> CloudEvent:
    """The true type, schema, time and data; the topic, never the record, says whether they are sealed."""
    form = event.data.get("v") if isinstance(event.data, dict) else None
    if not topic.is_restricted:
        if isinstance(form, str) and form.startswith(("xopen/", "xchan/")):
            raise Unusable(LetterReason.UNEXPECTED_SEAL)
        _check_instant(event.attributes["time"], "time")
        return event
    if not isinstance(form, str) or (form == OPEN and mode == "live"):
        raise Unusable(LetterReason.NOT_SEALED)  # a live installation never takes what brokers could read
    opened = event.data.get("event") if form == OPEN else None
    if not isinstance(opened, dict) or opened.keys() != {*_INSIDE, "data"}:
        raise Unusable(LetterReason.CANNOT_OPEN)
    _check_instant(opened["time"], "data/event/time")
    if to_the_minute(opened["time"]) != event.attributes["time"]:
        raise Unusable(LetterReason.BAD_ATTRIBUTE, "time")
    return CloudEvent({name: opened[name] for name in _INSIDE}, opened["data"])


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


def _check_instant(time: object, place: str) -> None:
    if not isinstance(time, str) or not UTC_INSTANT.fullmatch(time) or not is_instant(time):
        raise Unusable(LetterReason.BAD_ATTRIBUTE, place)
