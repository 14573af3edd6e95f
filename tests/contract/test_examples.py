"""The hand-written records: read from the published files, by the CloudEvents SDK, and by our own codec."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured_event
from jsonschema import Draft202012Validator

from schemas.publishing.__main__ import BODIES, PUBLISHED, file_name
from schemas.publishing.asyncapi import EXAMPLES
from schemas.topics import TOPICS
from schemas.wire.envelope import HEADERS, ReadEvent, full_type, read, write
from schemas.wire.topic import Topic, source_of

RECORDS = sorted(path for path in EXAMPLES.glob("*/*.json") if not path.parent.name.startswith("packet."))
"""Events; a packet is no event, and its examples are read in `tests/unit/schemas/test_packet.py`."""
CELL = "test-example"


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


every_record = pytest.mark.parametrize("path", RECORDS, ids=named)


def published(schema_id: str) -> Draft202012Validator:
    """A schema as the file says it, with formats asserted."""
    schema = json.loads((PUBLISHED / file_name(schema_id)).read_text("utf-8"))
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def topic_of(record: dict[str, Any], short: str) -> Topic:
    """The first topic that could carry the record; two inboxes differ in their readers only."""
    return next(
        topic
        for topic in TOPICS
        if record["source"] == source_of(CELL, topic.writer)
        and short in topic.carries
        and record["type"] == full_type(topic.outer or short)
    )


def as_read(path: Path) -> tuple[Topic, ReadEvent[Any]]:
    record = json.loads(path.read_text("utf-8"))
    topic = topic_of(record, path.parent.name)
    key = record["partitionkey"].encode()
    return topic, read(topic, HEADERS, key, path.read_bytes(), cell=CELL, mode="test")


def opened(record: dict[str, Any]) -> dict[str, Any]:
    """The true type, schema and data, looked up without our codec."""
    inside: dict[str, Any] = record if "v" not in record["data"] else record["data"]["event"]
    return inside


def test_every_event_type_has_an_example() -> None:
    assert {path.parent.name for path in RECORDS} == BODIES.keys()


def test_every_topic_shape_has_an_example() -> None:
    shapes = {json.loads(path.read_text("utf-8"))["type"] for path in RECORDS}

    assert shapes == {full_type(topic.outer or short) for topic in TOPICS for short in topic.carries}


@every_record
def test_an_example_fits_the_published_schemas(path: Path) -> None:
    record = json.loads(path.read_text("utf-8"))
    inside = opened(record)

    published("urn:concert:schema:envelope:1.0").validate(record)
    published(record["dataschema"]).validate(record["data"])
    published(inside["dataschema"]).validate(inside["data"])
    published(inside["dataschema"] + ":consumer").validate(inside["data"])


@every_record
def test_an_example_is_read_as_its_class_and_written_again_as_it_stands(path: Path) -> None:
    record = json.loads(path.read_text("utf-8"))
    topic, event = as_read(path)
    assert isinstance(event.body, BODIES[path.parent.name])
    assert event.service == topic.writer

    again = write(
        topic,
        event.body,
        id=event.id,
        source=event.source,
        caused_by=event.caused_by,
        sequence=event.sequence,
        at=event.at,
    )

    written = json.loads(again)
    for side in (written, record):  # the same instant may be written with or without zeros at its end
        opened(side)["time"] = datetime.fromisoformat(opened(side)["time"])
    assert written == record


@every_record
def test_an_example_is_read_by_the_cloudevents_sdk(path: Path) -> None:
    record = json.loads(path.read_text("utf-8"))
    message = KafkaMessage(dict(HEADERS), record["partitionkey"].encode(), path.read_bytes())

    event = from_structured_event(message)

    assert event.get_data() == record.pop("data")
    time = datetime.fromisoformat(record.pop("time"))
    attributes = dict(event.get_attributes())
    assert attributes.pop("time") == time
    assert attributes == record
