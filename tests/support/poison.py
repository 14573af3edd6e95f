"""One record for each reason for which a reader can never use it."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from schemas.events.referral import AcknowledgeReferral
from schemas.ids import ReferralId
from schemas.topics import STEPS
from schemas.wire import envelope
from schemas.wire.topic import Topic, source_of
from tests.support.kafka import event_record
from tests.support.platform import CELL
from tests.support.record_batches import CODECS, a_batch, a_gzip_bomb, a_record

AT: Final = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HEALTH_STEPS: Final = STEPS["health"]
Record = tuple[bytes | None, tuple[tuple[str, bytes], ...], bytes | None]
"""Key, headers, value."""


class MisfiledStep(AcknowledgeReferral):
    """A step under another key than the referral that it is about."""

    key_field: ClassVar[str] = "filed_under"

    filed_under: ReferralId


def a_good_record(
    referral: str,
    sequence: int = 1,
    event: str | None = None,
    duty: str = "intake",
    topic: Topic = HEALTH_STEPS,
    key: str | None = None,
) -> Record:
    """A step as its sector, that of health unless told otherwise, would write it; with a key, misfiled."""
    step = AcknowledgeReferral(referral=referral, agency="north-clinic", duty=duty)
    body = MisfiledStep(**step.model_dump(), filed_under=key) if key else step
    return event_record(topic, body, event=event, sequence=sequence, at=AT)


def changed(**attributes: Any) -> Callable[[str], Record]:
    """A good record with other attributes."""

    def make(referral: str) -> Record:
        key, headers, value = a_good_record(referral)
        return key, headers, json.dumps(json.loads(value or b"") | attributes).encode()

    return make


def changed_inside(**members: Any) -> Callable[[str], Record]:
    """A good record with other members inside the sealed part."""

    def make(referral: str) -> Record:
        key, headers, value = a_good_record(referral)
        outer = json.loads(value or b"")
        outer["data"]["event"] |= members
        return key, headers, json.dumps(outer).encode()

    return make


def with_headers(*headers: tuple[str, bytes]) -> Callable[[str], Record]:
    """A good record's value under other headers."""
    return lambda referral: (referral.encode(), headers, a_good_record(referral)[2])


def _binary(*more: tuple[str, bytes]) -> tuple[tuple[str, bytes], ...]:
    names = ("id", "source", "type", "specversion")
    return (*((f"ce_{name}", b"1.0") for name in names), *more)


POISON: Final[Mapping[str, Callable[[str], Record]]] = {
    "no_value": lambda referral: (referral.encode(), tuple(envelope.HEADERS), None),
    "batch_mode": with_headers(("content-type", b"application/cloudevents-batch+json")),
    "unknown_format": with_headers(("content-type", b"application/cloudevents+avro")),
    "not_cloudevents": with_headers(("content-type", b"application/json")),
    "no_content_type": with_headers(),
    "duplicate_header": with_headers(("content-type", b"text/plain"), ("content-type", b"text/html")),
    "content_type_conflict": with_headers(
        *_binary(("content-type", b"application/json"), ("ce_datacontenttype", b"text/plain"))
    ),
    "bad_attribute": changed(sequence="one"),
    "key_mismatch": lambda referral: (b"another", *a_good_record(referral)[1:]),
    "sequence_gap": lambda referral: a_good_record(referral, sequence=7),
    "oversize": changed(data={"v": "xopen/1", "event": "x" * 70_000}),
    "not_sealed": changed(data={"referral": "plain"}),
    "cannot_open": changed(data={"v": "xchan/9", "event": {}}),
    "malformed_json": lambda referral: (referral.encode(), tuple(envelope.HEADERS), b'{"id":1,"id":2}'),
    "unknown_type": changed_inside(type="org.concert.referral.vanish.v1"),
    "unknown_major": changed_inside(type="org.concert.referral.acknowledge.v9"),
    "schema_mismatch": changed_inside(data={"referral": "unfit"}),
    "wrong_source": changed(source=source_of(CELL, "police")),
}
"""Reason → how to make such a record on the health sector's steps.

Three reasons need more than one record of that topic: `changed_duplicate`, `unexpected_seal`, `handler`.
"""


def _bad_header(referral: str) -> bytes:
    key, _, value = a_good_record(referral)
    return a_batch([a_record(0, key, [(b"trace\xff", b"1")], value)])


def _corrupt(referral: str) -> bytes:
    """Two packed parts where there is one: brokers take it; libraries read one, two or none of them."""
    key, headers, value = a_good_record(referral)
    records = [a_record(place, key, [(b"content-type", headers[0][1])], value) for place in range(2)]
    packed = b"".join(CODECS["gzip"][1](record) for record in records)
    return a_batch(records, codec="gzip", packed=packed)


POISON_BATCHES: Final[Mapping[str, Callable[[str], bytes]]] = {
    "bad_header": _bad_header,
    "corrupt_batch": _corrupt,
    "too_large_unpacked": lambda _referral: a_batch([b""], codec="gzip", packed=a_gzip_bomb(240)),
}
"""Reason → how to make a batch that is that in one piece, to be sent as it is."""
