"""The AsyncAPI 3.0.0 document, made from the table of topics: what others read about the wire."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from schemas.ids import KINDS
from schemas.publishing.envelope_schemas import CLOUDEVENT, envelope_schema, sealed_schema
from schemas.publishing.simple_schema import simple_schema
from schemas.wire.cloudevents import STRUCTURED
from schemas.wire.envelope import dataschema_of, full_type, outer_names
from schemas.wire.topic import Topic

EXAMPLES: Final = Path(__file__).parent.parent / "examples"
REPLICAS: Final = 3
KAFKA_BINDING: Final = "0.5.0"


def document(topics: Sequence[Topic]) -> dict[str, Any]:
    """The whole document; every reference in it is local."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Concert",
            "version": "1.0.0",
            "description": "Events between the sectors. No event names or locates a person.",
        },
        "defaultContentType": STRUCTURED,
        "channels": {topic.title: _channel(topic) for topic in topics},
        "operations": {name: operation for topic in topics for name, operation in _operations(topic)},
        "components": {"messages": _messages(topics), "schemas": _schemas(topics)},
    }


def _channel(topic: Topic) -> dict[str, Any]:
    settings = topic.settings()
    configuration: dict[str, Any] = {"cleanup.policy": [settings["cleanup.policy"]]}
    if "retention.ms" in settings:
        configuration["retention.ms"] = int(settings["retention.ms"])
    return {
        "address": topic.name(),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name(),
                "partitions": topic.partitions,
                "replicas": REPLICAS,
                "topicConfiguration": configuration,
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _operations(topic: Topic) -> Iterable[tuple[str, dict[str, Any]]]:
    channel = f"#/channels/{topic.title}"
    messages = [{"$ref": f"{channel}/messages/{name}"} for name in _message_names(topic)]
    yield (
        f"{topic.writer}_sends_{topic.title}",
        {"action": "send", "channel": {"$ref": channel}, "messages": messages},
    )
    for reader in topic.readers:
        yield (
            f"{reader}_receives_{topic.title}",
            {"action": "receive", "channel": {"$ref": channel}, "messages": messages},
        )


def _message_names(topic: Topic) -> Collection[str]:
    """One message where the true types are sealed inside, else one a type."""
    return (topic.outer,) if topic.outer else topic.carries.keys()


def _messages(topics: Sequence[Topic]) -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for topic in topics:
        if topic.outer:
            opened = [
                {"type": full_type(short), "dataschema": dataschema_of(body), "schema": _reference(short)}
                for short, body in topic.carries.items()
            ]
            names = outer_names(topic)
            messages[topic.outer] = _message(topic, *names, topic.outer, topic.carries) | {"x-opened": opened}
        else:
            messages |= {
                short: _message(topic, full_type(short), dataschema_of(body), short, (short,))
                for short, body in topic.carries.items()
            }
    return messages


def _message(
    topic: Topic, true_or_outer: str, dataschema: str, data: str, carries: Collection[str]
) -> dict[str, Any]:
    patterns = sorted({KINDS[kind].pattern for kind in topic.keys})
    said = {"type": true_or_outer, "dataschema": dataschema, "dataclassification": topic.classification}
    own = {name: {"const": content} for name, content in said.items()} | {"data": _reference(data)}
    around = [_reference("cloudevent"), _reference("envelope")]
    return {
        "contentType": STRUCTURED,
        "payload": {"allOf": [*around, {"type": "object", "properties": own}]},
        "correlationId": {"location": "$message.payload#/correlationid"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "pattern": "|".join(patterns)},
                "bindingVersion": KAFKA_BINDING,
            }
        },
        "examples": [
            {"name": name, "payload": record}
            for short in carries
            for name, record in examples_of(short)
            if record["type"] == true_or_outer
        ],
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas(topics: Sequence[Topic]) -> dict[str, Any]:
    outers = sorted({topic.outer for topic in topics if topic.outer})
    around = {"cloudevent": CLOUDEVENT, "envelope": envelope_schema()}
    around |= {outer: sealed_schema(outer) for outer in outers}
    unnamed = {
        name: {rule: content for rule, content in schema.items() if rule not in ("$schema", "$id")}
        for name, schema in around.items()
    }
    bodies = {short: body for topic in topics for short, body in topic.carries.items()}
    return unnamed | {short: simple_schema(body, closed=True) for short, body in bodies.items()}


def examples_of(short: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """The hand-written records of a type, each with its name."""
    for path in sorted((EXAMPLES / short).glob("*.json")):
        yield path.stem, json.loads(path.read_text("utf-8"))
