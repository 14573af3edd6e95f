"""The CloudEvents project's own scenarios, examples, schema and Python SDK against our codec.

Where the SDK takes what the specification forbids, our codec refuses by name.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import (
    KafkaMessage,
    from_kafka_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from jsonschema import Draft7Validator

from schemas.wire.cloudevents import STRUCTURED, CloudEvent, LetterReason, Unusable, decode
from tests.contract.test_examples import RECORDS
from tests.support.shared import shared_data


def http_event(message: str) -> CloudEvent:
    """An event from the text of an HTTP message: its `ce-` headers are Kafka's `ce_` headers."""
    head, _, body = message.partition("\n\n")
    pairs = [line.partition(": ") for line in head.splitlines() if ": " in line]
    headers = [(name.lower().replace("ce-", "ce_"), value.encode()) for name, _, value in pairs]
    return decode(headers, body.encode())


# Scenarios


def runs_of(path: Path) -> Iterator[str]:
    """The text of each scenario, once for each row of its examples."""
    for scenario in path.read_text("utf-8").split("    Scenario")[1:]:
        outline, _, examples = scenario.partition("Examples:")
        rows = [row.strip("| ") for row in examples.split("\n") if row.strip()]
        for content_type in [row.strip() for row in rows[1:]] or [""]:
            yield outline.replace("<contentType>", content_type)


def tables_of(scenario: str) -> list[dict[str, str]]:
    """The tables of a scenario without their heads."""
    found = re.findall(r"(?:^ *\|.*\|\n)+", scenario, re.MULTILINE)
    rows = [[re.split(r" *\| *", row.strip())[1:3] for row in table.splitlines()[1:]] for table in found]
    return [dict(table) for table in rows]


@pytest.mark.parametrize(("name", "count"), [("kafka-protocol-binding", 3), ("http-protocol-binding", 4)])
def test_every_scenario_of_a_feature_holds(name: str, count: int) -> None:
    scenarios = list(runs_of(shared_data(f"cloudevents/{name}.feature", cases=count)))

    assert len(scenarios) == count
    for scenario in scenarios:
        *headers, attributes = tables_of(scenario)
        message, data = (textwrap.dedent(text) for text in re.findall(r'"""\n(.*?)"""', scenario, re.DOTALL))
        if headers:
            event = decode([(key, value.encode()) for key, value in headers[0].items()], message.encode())
        else:
            event = http_event(message)
        assert event == CloudEvent(attributes, json.loads(data))


# Examples and schema


def pairs() -> dict[int, dict[str, str]]:
    path = shared_data("cloudevents/json-format-pairs-odd.json")
    return {pair["n"]: pair for pair in json.loads(path.read_text("utf-8"))}


def structured_event(text: str) -> CloudEvent:
    return decode([("content-type", STRUCTURED.encode())], text.encode())


@pytest.mark.parametrize("n", [1, 3, 5])
def test_both_modes_of_a_pair_are_the_same_event(n: int) -> None:
    pair = pairs()[n]
    structured = json.loads(pair["structured_json"])
    placeholder = structured.pop("data_base64", None)

    both = structured_event(json.dumps(structured)), http_event(pair["http_binary_message"])

    one, other = (  # JSON is the content type that may be left out; a header spells everything as text
        {"datacontenttype": "application/json"} | {name: str(text) for name, text in event.attributes.items()}
        for event in both
    )
    assert one == other
    assert placeholder is not None or both[0].data == both[1].data


def test_a_placeholder_is_no_base64() -> None:
    with pytest.raises(Unusable) as refused:
        structured_event(pairs()[1]["structured_json"])

    assert (refused.value.reason, refused.value.path) == (LetterReason.BAD_ATTRIBUTE, "data_base64")


def test_each_minimum_event_is_read_in_binary_mode() -> None:
    """The six events of the file; it uses so little YAML that lines are enough."""
    text = shared_data("cloudevents/v1_minimum.yaml", cases=6).read_text("utf-8")
    parts = text.split("\n---\n")

    assert len(parts) == 6
    for part in parts:
        attributes = dict(re.findall(r"^  (\w+): (.*)$", part.partition("Data:")[0], re.MULTILINE))
        data = textwrap.dedent(part.partition("Data: |\n")[2]).strip("\n")
        headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
        content_type = attributes["datacontenttype"]
        event = decode([*headers, ("content-type", content_type.encode())], data.encode())
        assert event == CloudEvent(attributes, json.loads(data) if "json" in content_type else data.encode())


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_example_is_valid_by_the_specification_s_schema(path: Path) -> None:
    schema = json.loads(shared_data("cloudevents/cloudevents.json").read_text("utf-8"))
    validator = Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)

    validator.validate(json.loads(path.read_text("utf-8")))


# The SDK; that it reads what we write is a test of the examples

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
    as_bytes = from_sdk(write(SdkEvent(ATTRIBUTES | {"datacontenttype": "image/png"}, b"\x00\xff")))

    assert event == CloudEvent(ATTRIBUTES | {"time": "2026-11-22T08:00:00Z"}, DATA)
    assert as_bytes.data == b"\x00\xff"


def test_attributes_beside_a_structured_event_are_ignored_by_us_alone() -> None:
    message = to_structured_event(SdkEvent({**ATTRIBUTES}, DATA))
    headers = message.headers | {f"ce_{name}": b"other" for name in ("id", "source", "type")}
    headers["ce_specversion"] = b"1.0"

    assert sdk_reads(headers, message.value)["id"] == "other"
    assert decode(list(headers.items()), message.value).attributes["id"] == "A-1"


def binary(**changed: bytes) -> tuple[dict[str, bytes], bytes]:
    """A binary record as it comes from Kafka."""
    mandatory = {"ce_id": b"1", "ce_source": b"/s", "ce_type": b"t", "ce_specversion": b"1.0"}
    return mandatory | {"content-type": b"application/json"} | changed, b"{}"


def structured(**changed: Any) -> tuple[dict[str, bytes], bytes]:
    """A structured record as it comes from Kafka."""
    value = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"} | changed
    return {"content-type": b"application/cloudevents+json"}, json.dumps(value).encode()


def test_nothing_is_added_to_what_was_absent() -> None:
    assert {"time"} <= sdk_reads(*structured()).keys()
    assert decode(list(structured()[0].items()), structured()[1]).attributes.keys() == {
        "specversion", "id", "source", "type",
    }  # fmt: skip


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


@pytest.mark.parametrize(
    ("record", "breaks", "reason"),
    [
        (binary(ce_subject=b"over\xc0\xa0long"), UnicodeDecodeError, ("bad_attribute", "subject")),
        (
            ({"content-type": b"application/cloudevents-batch+json"}, b"[]"),
            AttributeError,
            ("batch_mode", None),
        ),
    ],
    ids=["no UTF-8", "batch"],
)
def test_what_breaks_the_sdk_is_a_named_refusal(
    record: tuple[dict[str, bytes], bytes], breaks: type[Exception], reason: tuple[str, str | None]
) -> None:
    with pytest.raises(breaks):
        sdk_reads(*record)

    with pytest.raises(Unusable) as refused:
        decode(list(record[0].items()), record[1])
    assert (refused.value.reason, refused.value.path) == reason


def test_booleans_of_the_sdk_in_headers_stay_strings() -> None:
    event = from_sdk(to_binary_event(SdkEvent(ATTRIBUTES | {"flag": True}, DATA)))

    assert event.attributes["flag"] == "True"
