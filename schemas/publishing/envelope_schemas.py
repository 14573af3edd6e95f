"""What stands around an event's data, as JSON Schema: each record's attributes, and the sealed object."""

from __future__ import annotations

from typing import Any, Final, get_args

from schemas.publishing.simple_schema import DIALECT
from schemas.wire.envelope import FORMS, OPTIONAL
from schemas.wire.topic import Classification

ENVELOPE: Final = "urn:concert:schema:envelope:1.0"
_TEXT: Final = {"type": "string", "minLength": 1}

CLOUDEVENT: Final[dict[str, Any]] = {
    "description": "CloudEvents 1.0.2, JSON format: the mandatory attributes.",
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": _TEXT,
        "id": _TEXT,
        "source": {**_TEXT, "format": "uri-reference"},
        "type": _TEXT,
        "subject": _TEXT,
        "time": {**_TEXT, "format": "date-time"},
        "datacontenttype": _TEXT,
        "dataschema": {**_TEXT, "format": "uri"},
    },
}


def envelope_schema() -> dict[str, Any]:
    """The attributes that every record of ours has; extensions beside them are allowed and ignored."""
    attributes = {name: _form(name) for name in FORMS} | {
        "source": {"type": "string", "pattern": "^urn:concert:[a-z0-9-]{1,63}:[a-z_]{1,30}$"},
        "dataclassification": {"enum": [*get_args(Classification)]},
        "data": {},
    }
    return {
        "$schema": DIALECT,
        "$id": ENVELOPE,
        "description": "The attributes of a record; its key is the partition key.",
        "type": "object",
        "required": [name for name in attributes if name not in OPTIONAL],
        "properties": attributes,
    }


def _form(name: str) -> dict[str, str]:
    kind = {"format": "date-time"} if name == "time" else {}
    return {"type": "string", **kind, "pattern": f"^{FORMS[name].pattern}$"}


def sealed_schema(outer: str) -> dict[str, Any]:
    """What `data` is on a sealed topic: in the clear (`xopen/1`) or encrypted (`xchan/1`), never plain."""
    opened = {
        "description": "The true type, schema and time, with the thin data.",
        "type": "object",
        "required": ["type", "dataschema", "time", "data"],
        "properties": {
            **{name: _form(name) for name in ("type", "dataschema", "time")},
            "data": {"type": "object"},
        },
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "$id": f"urn:concert:schema:{outer}:1.0",
        "description": "Sealed for the topic's readers; intermediaries see one name for all of them.",
        "type": "object",
        "required": ["v"],
        "properties": {"v": {"enum": ["xopen/1", "xchan/1"]}},
        "if": {"properties": {"v": {"const": "xopen/1"}}},
        "then": {"required": ["event"], "properties": {"event": opened}},
    }
