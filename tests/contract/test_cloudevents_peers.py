"""The CloudEvents SDK for Python as a stranger on the wire: what each side writes the other reads.

Where the SDK takes what the specification forbids, our codec refuses by name.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import (
    KafkaMessage,
    from_kafka_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent as SdkEvent

from schemas.wire.cloudevents import CloudEvent, Unusable, decode, encode

ATTRIBUTES: dict[str, Any] = {
    "specversion": "1.0",
    "id": "A-1",
    "source": "/sensors/tn",
    "type": "com.example.someevent",
    "subject": "thing one",
    "partitionkey": "k-1",
    "datacontenttype": "application/json",
}
DATA = {"message": "Hola, ¿qué tal? 🌎", "list": [1, 2.5, None, True]}
TIME = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def from_sdk(message: KafkaMessage) -> CloudEvent:
    return decode(list(message.headers.items()), message.value)


def sdk_reads(headers: dict[str, bytes], value: bytes) -> dict[str, Any]:
    return dict(from_kafka_event(KafkaMessage(headers, None, value)).get_attributes())


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
def test_we_read_what_the_sdk_writes(write: Any) -> None:
    event = from_sdk(write(SdkEvent(ATTRIBUTES | {"time": TIME}, DATA)))

    assert event.attributes == ATTRIBUTES | {"time": "2026-11-22T08:00:00Z"}
    assert event.data == DATA


def test_the_sdk_reads_what_we_write() -> None:
    headers, value = encode(CloudEvent(ATTRIBUTES | {"time": "2026-11-22T08:00:00Z"}, DATA))

    event = from_kafka_event(KafkaMessage(dict(headers), b"k-1", value))

    assert dict(event.get_attributes()) == ATTRIBUTES | {"time": TIME}
    assert event.get_data() == DATA


def test_bytes_travel_both_ways() -> None:
    attributes = ATTRIBUTES | {"datacontenttype": "application/octet-stream"}
    headers, value = encode(CloudEvent(attributes, b"\x00\xff"))

    assert from_kafka_event(KafkaMessage(dict(headers), None, value)).get_data() == b"\x00\xff"
    assert from_sdk(to_structured_event(SdkEvent({**attributes}, b"\x00\xff"))).data == b"\x00\xff"
    assert from_sdk(to_binary_event(SdkEvent({**attributes}, b"\x00\xff"))).data == b"\x00\xff"


def test_attributes_beside_a_structured_event_are_ignored_by_us_alone() -> None:
    message = to_structured_event(SdkEvent({**ATTRIBUTES}, DATA))
    headers = message.headers | {f"ce_{name}": b"other" for name in ("id", "source", "type")}
    headers["ce_specversion"] = b"1.0"

    assert sdk_reads(headers, message.value)["id"] == "other"
    assert decode(list(headers.items()), message.value).attributes["id"] == "A-1"


def test_we_neither_copy_the_key_nor_add_a_time() -> None:
    bare = {name: ATTRIBUTES[name] for name in ("specversion", "id", "source", "type")}
    headers, value = encode(CloudEvent(bare, DATA))

    assert {"time", "partitionkey"} <= dict(
        from_kafka_event(KafkaMessage(dict(headers), b"key", value)).get_attributes()
    ).keys()
    assert decode(headers, value).attributes == bare


def binary(**changed: bytes) -> tuple[dict[str, bytes], bytes]:
    """A binary record as it comes from Kafka."""
    mandatory = {"ce_id": b"1", "ce_source": b"/s", "ce_type": b"t", "ce_specversion": b"1.0"}
    return mandatory | {"content-type": b"application/json"} | changed, b"{}"


def structured(**changed: Any) -> tuple[dict[str, bytes], bytes]:
    """A structured record as it comes from Kafka."""
    value = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"} | changed
    return {"content-type": b"application/cloudevents+json"}, json.dumps(value).encode()


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        structured(source="with space"),
        structured(dataschema="relative/schema"),
        structured(subject="a\u0001b"),
        structured(datacontenttype="no media type"),
        structured(**{"a" * 21: "x"}),
    ],
    ids=["space", "relative schema", "control character", "content type", "long name"],
)
def test_what_the_sdk_takes_against_the_specification_we_refuse(
    headers: dict[str, bytes], value: bytes
) -> None:
    assert sdk_reads(headers, value)["id"] == "1"

    with pytest.raises(Unusable) as refused:
        decode(list(headers.items()), value)
    assert refused.value.reason == "bad_attribute"


def test_a_header_that_is_no_utf_8_is_a_named_refusal() -> None:
    headers, value = binary(ce_subject=b"over\xc0\xa0long")
    with pytest.raises(UnicodeDecodeError):
        sdk_reads(headers, value)

    with pytest.raises(Unusable) as refused:
        decode(list(headers.items()), value)
    assert (refused.value.reason, refused.value.path) == ("bad_attribute", "subject")


def test_a_batch_that_breaks_the_sdk_is_a_named_refusal() -> None:
    headers, value = {"content-type": b"application/cloudevents-batch+json"}, b"[]"
    with pytest.raises(AttributeError):
        sdk_reads(headers, value)

    with pytest.raises(Unusable) as refused:
        decode(list(headers.items()), value)
    assert refused.value.reason == "batch_mode"


def test_booleans_of_the_sdk_in_headers_stay_strings() -> None:
    event = from_sdk(to_binary_event(SdkEvent(ATTRIBUTES | {"flag": True}, DATA)))

    assert event.attributes["flag"] == "True"
