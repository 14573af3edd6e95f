import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas.events.packet import GROUPS
from schemas.publishing import __main__ as publish
from schemas.publishing.__main__ import BODIES, PUBLISHED, differences
from schemas.publishing.simple_schema import DIALECT, KEYWORDS
from schemas.topics import SECTORS, TOPICS
from schemas.wire.envelope import full_type

SCHEMAS = {path.name: json.loads(path.read_text("utf-8")) for path in PUBLISHED.glob("*-*.json")}
ASYNCAPI = json.loads((PUBLISHED / "asyncapi.json").read_text("utf-8"))

TELLING = (
    *(word for sector in SECTORS for word in sector.split("_")),
    "clinic", "medical", "hospital", "injur", "hiv", "pep", "pregnan", "rape", "assault", "violen", "abuse",
    "sexual", "traffick", "marriage", "mutilation", "shelter", "legal", "court", "school", "psycho",
    "livelihood", "child", "welfare", "survivor", "perpetrator",
)  # fmt: skip
"""Words of needs, violence, medicine and sectors; every intermediary of a plain topic reads its types."""


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and every schema inside it."""
    yield schema
    for name, rule in schema.items():
        inner: list[Any] = []
        if name == "properties":
            inner = list(rule.values())
        elif name in ("allOf", "anyOf", "oneOf"):
            inner = rule
        elif name in ("items", "if", "then", "else", "additionalProperties") and isinstance(rule, dict):
            inner = [rule]
        for one in inner:
            yield from subschemas(one)


def test_each_published_file_equals_what_the_classes_give() -> None:
    assert differences() == []


def test_a_changed_a_missing_and_a_stray_file_are_named_and_mended(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PUBLISHED, tmp_path / "published"))
    spoilt = [folder / f"referral.{verb}-1.0.json" for verb in ("accept", "decline", "vanish")]
    spoilt[0].write_text("{}", "utf-8")
    spoilt[1].unlink()
    spoilt[2].write_text("{}", "utf-8")

    assert differences(folder) == [path.name for path in spoilt]
    publish.publish(folder)
    assert differences(folder) == []


GROUPED = re.compile(r"\[[^]]*\]|\((?:[^()]|\([^()]*\))*\)")


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_uses_only_words_that_every_dialect_reads_alike(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)

    assert schema["$schema"] == DIALECT
    assert publish.file_name(schema["$id"]) == name
    for inner in subschemas({rule: schema[rule] for rule in schema if rule not in ("$schema", "$id")}):
        assert inner.keys() <= KEYWORDS
        # `^a|b$` is anchored at one end each: whoever searches with it finds more than is meant
        choices = GROUPED.sub("", inner.get("pattern", "")).split("|")
        assert len(choices) == 1 or all(one[:1] + one[-1:] == "^$" for one in choices)
        # ajv compiles nothing else in its strict mode
        assert inner.get("properties", {}).keys() >= set(inner.get("required", ()))


@pytest.mark.parametrize(
    "short", sorted([*BODIES, "governance.protocol_document", *(f"packet.{group}" for group in GROUPS)])
)
def test_the_producer_form_is_closed_and_the_consumer_form_open_at_every_level(short: str) -> None:
    for form, closing in ((f"{short}-1.0.json", False), (f"{short}-1.0.consumer.json", None)):
        objects = [inner for inner in subschemas(SCHEMAS[form]) if "properties" in inner]

        assert objects
        assert {inner.get("additionalProperties") for inner in objects} == {closing}


def test_no_type_tells_a_need_a_crime_or_a_sector() -> None:
    types = [full_type(short) for short in BODIES] + [
        full_type(topic.outer) for topic in TOPICS if topic.outer
    ]

    telling = [(name, word) for name in types for word in TELLING if word in name]
    assert telling == []
    assert all(re.fullmatch(r"org\.concert\.[a-z_]+\.[a-z_]+\.v[1-9][0-9]*", name) for name in types)


# AsyncAPI


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    if isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_every_reference_is_local_and_leads_somewhere() -> None:
    for reference in references(ASYNCAPI):
        assert reference.startswith("#/")
        found: Any = ASYNCAPI
        for step in reference[2:].split("/"):
            found = found[step]


def test_every_topic_is_a_channel_with_its_writer_and_readers() -> None:
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert len(ASYNCAPI["channels"]) == len(TOPICS)
    for topic in TOPICS:
        channel = ASYNCAPI["channels"][topic.title]
        users = [
            name.partition("_sends_")[0].partition("_receives_")[0]
            for name, operation in ASYNCAPI["operations"].items()
            if operation["channel"]["$ref"] == f"#/channels/{topic.title}"
        ]
        kafka = channel["bindings"]["kafka"]
        assert channel["address"] == kafka["topic"] == topic.name()
        assert kafka["partitions"] == topic.partitions
        assert kafka["topicConfiguration"]["cleanup.policy"] == ["compact" if topic.compacted else "delete"]
        assert users == [topic.writer, *topic.readers]


@pytest.mark.parametrize("name", sorted(ASYNCAPI["components"]["messages"]))
def test_every_message_has_examples_that_fit_its_payload(name: str) -> None:
    message = ASYNCAPI["components"]["messages"][name]
    payload = Draft202012Validator(
        ASYNCAPI | {"$ref": f"#/components/messages/{name}/payload"},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )

    assert message["examples"]
    for example in message["examples"]:
        payload.validate(example["payload"])
        assert not payload.is_valid(example["payload"] | {"dataclassification": "public"})


def test_a_sealed_message_lists_what_can_be_inside() -> None:
    inside = {entry["type"] for entry in ASYNCAPI["components"]["messages"]["sector.fact"]["x-opened"]}

    assert "org.concert.referral.withdrawn.v1" in inside
    assert {
        name for name, message in ASYNCAPI["components"]["messages"].items() if "x-opened" in message
    } == {topic.outer for topic in TOPICS if topic.outer}
