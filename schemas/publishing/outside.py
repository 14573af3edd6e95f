"""What stands around an event's data, as JSON Schema: each record's attributes, and the sealed object."""

from __future__ import annotations

from typing import Any, Final

from schemas.ids import KINDS
from schemas.publishing.simple_schema import DIALECT

ENVELOPE: Final = "urn:concert:schema:envelope:1.0"
_OPAQUE: Final = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_:-]{0,63}$"}
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
    attributes = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "pattern": KINDS["event"].pattern},
        "source": {"type": "string", "pattern": "^urn:concert:[a-z0-9-]{1,63}:[a-z_]{1,30}$"},
        "type": {"type": "string", "pattern": r"^org\.concert\.[a-z_]+\.[a-z_]+\.v[1-9][0-9]*$"},
        "subject": _OPAQUE,
        "partitionkey": _OPAQUE,
        "correlationid": _OPAQUE,
        "sequence": {"type": "string", "pattern": "^[0-9]{20}$"},
        "time": {"type": "string", "format": "date-time", "pattern": "Z$"},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {
            "type": "string",
            "pattern": r"^urn:concert:schema:[a-z_]+\.[a-z_]+:[1-9][0-9]*\.[0-9]+$",
        },
        "dataclassification": {"enum": ["restricted", "internal", "confidential", "public"]},
    }
    return {
        "$schema": DIALECT,
        "$id": ENVELOPE,
        "description": "The attributes of a record; its key is the partition key.",
        "type": "object",
        "required": [*attributes, "data"],
        "properties": attributes
        | {"causationid": {"type": "string", "pattern": KINDS["event"].pattern}, "data": {}},
    }


def sealed_schema(outer: str) -> dict[str, Any]:
    """What `data` is on a sealed topic: in the clear (`xopen/1`) or encrypted (`xchan/1`), never plain."""
    opened = {
        "description": "The true type, schema and time, with the thin data.",
        "type": "object",
        "required": ["type", "dataschema", "time", "data"],
        "properties": {
            "type": {"type": "string", "pattern": r"^org\.concert\.[a-z_]+\.[a-z_]+\.v[1-9][0-9]*$"},
            "dataschema": {"type": "string", "pattern": "^urn:concert:schema:"},
            "time": {"type": "string", "format": "date-time"},
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


def outside_of(classification: str, full_type: str, dataschema: str) -> dict[str, Any]:
    """What the attributes of one kind of message say besides."""
    return {
        "type": "object",
        "properties": {
            "type": {"const": full_type},
            "dataschema": {"const": dataschema},
            "dataclassification": {"const": classification},
        },
    }
