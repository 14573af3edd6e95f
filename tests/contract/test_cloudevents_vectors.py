"""The CloudEvents project's own examples and schema against our codec."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from schemas.publishing.asyncapi import EXAMPLES
from schemas.wire.cloudevents import STRUCTURED, CloudEvent, Reason, Unusable, decode, encode
from tests.support.shared import shared_data

RECORDS = sorted(EXAMPLES.glob("*/*.json"))


def decoded_structured(text: str) -> CloudEvent:
    return decode([("content-type", STRUCTURED.encode())], text.encode())


def decoded_binary(message: str) -> CloudEvent:
    head, _, body = message.partition("\n\n")
    pairs = [line.partition(": ") for line in head.splitlines()]
    headers = [(name.replace("ce-", "ce_"), value.encode()) for name, _, value in pairs]
    return decode(headers, body.encode())


def as_text(event: CloudEvent) -> dict[str, str]:
    """Attributes as a header would spell them; JSON is the content type that may be left out."""
    return {"datacontenttype": "application/json"} | {
        name: str(content) for name, content in event.attributes.items()
    }


def pairs() -> dict[int, dict[str, str]]:
    path = shared_data("cloudevents/json-format-pairs-odd.json")
    return {pair["n"]: pair for pair in json.loads(path.read_text("utf-8"))}


@pytest.mark.parametrize("n", [1, 3, 5])
def test_both_modes_of_a_pair_are_the_same_event(n: int) -> None:
    pair = pairs()[n]
    structured = json.loads(pair["structured_json"])
    placeholder = structured.pop("data_base64", None)

    one, other = decoded_structured(json.dumps(structured)), decoded_binary(pair["http_binary_message"])

    assert as_text(one) == as_text(other)
    if placeholder is None:
        assert one.data == other.data


def test_a_placeholder_is_no_base64() -> None:
    with pytest.raises(Unusable) as refused:
        decoded_structured(pairs()[1]["structured_json"])

    assert (refused.value.reason, refused.value.path) == (Reason.BAD_ATTRIBUTE, "data_base64")


def minimum_events() -> list[tuple[dict[str, str], str]]:
    """The six events of the file; it uses so little YAML that lines are enough."""
    text = shared_data("cloudevents/v1_minimum.yaml", cases=6).read_text("utf-8")
    events = []
    for part in text.split("\n---\n"):
        attributes = dict(re.findall(r"^  (\w+): (.*)$", part.partition("Data:")[0], re.MULTILINE))
        events.append((attributes, textwrap.dedent(part.partition("Data: |\n")[2]).strip("\n")))
    return events


def test_each_minimum_event_survives_both_modes() -> None:
    events = minimum_events()

    assert len(events) == 6
    for attributes, text in events:
        content_type = attributes["datacontenttype"]
        headers = [
            (f"ce_{name}", value.encode()) for name, value in attributes.items() if name != "datacontenttype"
        ]
        binary = decode([*headers, ("content-type", content_type.encode())], text.encode())
        assert binary.attributes == attributes
        assert binary.data == (json.loads(text) if "json" in content_type else text.encode())
        assert decode(*encode(binary)) == binary
        as_string = CloudEvent(attributes, text)
        assert decode(*encode(as_string)) == as_string


def event_schema() -> Draft7Validator:
    schema = json.loads(shared_data("cloudevents/cloudevents.json").read_text("utf-8"))
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_example_is_valid_by_the_specification_s_schema(path: Path) -> None:
    event_schema().validate(json.loads(path.read_text("utf-8")))


@given(
    source=st.sampled_from(["/s", "//example.invalid/a", "urn:x:y", "#top", "a%20b"]),
    dataschema=st.none() | st.just("urn:concert:schema:x.y:1.0"),
    data=st.none()
    | st.binary(max_size=9)
    | st.dictionaries(st.text("abc", max_size=3), st.integers(), max_size=2),
)
def test_every_encoded_event_is_valid_by_the_specification_s_schema(
    source: str, dataschema: str | None, data: Any
) -> None:
    attributes: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": source, "type": "t"}
    if dataschema:
        attributes["dataschema"] = dataschema

    event_schema().validate(json.loads(encode(CloudEvent(attributes, data))[1]))
