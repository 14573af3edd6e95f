"""A model's JSON Schema in the few keywords that 2020-12, draft-07 and OpenAPI 3.1 understand alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from schemas.wire.body import CODE_LIST

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
KEYWORDS: Final = frozenset({
    "type", "properties", "required", "additionalProperties", "enum", "const", "pattern", "format",
    "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "uniqueItems", "items",
    "allOf", "anyOf", "oneOf", "if", "then", "else", "$ref", "description",
})  # fmt: skip
"""`description` is for people; all others are rules."""
LEFT_OUT: Final = frozenset(
    {"title", "default", "propertyNames", "patternProperties", "additionalProperties", CODE_LIST}
)
"""What pydantic writes besides; `_members` writes maps anew, and a code list would freeze with a release."""


class NoSimpleForm(ValueError):
    """A model uses a form that the contract cannot publish."""


def simple_schema(model: type[BaseModel], *, closed: bool) -> dict[str, Any]:
    """The model as one self-contained schema; closed: no member but those named, at every level."""
    written = model.model_json_schema(mode="validation")
    definitions = written.pop("$defs", {})
    return _simplified(written, definitions, closed)


def _simplified(schema: Mapping[str, Any], definitions: Mapping[str, Any], closed: bool) -> dict[str, Any]:
    if "$ref" in schema:
        named = definitions[schema["$ref"].removeprefix("#/$defs/")]
        beside = {name: rule for name, rule in schema.items() if name != "$ref"}
        return _simplified({**named, **beside}, definitions, closed)
    if "anyOf" in schema:
        return _without_null(schema, definitions, closed)
    simple: dict[str, Any] = {}
    for name, rule in schema.items():
        if name == "properties":
            simple[name] = {field: _simplified(inner, definitions, closed) for field, inner in rule.items()}
        elif name == "items":
            simple[name] = _simplified(rule, definitions, closed)
        elif name in KEYWORDS - LEFT_OUT:
            simple[name] = rule
        elif name not in LEFT_OUT:
            raise NoSimpleForm(name)
    if simple.get("type") == "object":
        simple |= _members(schema, definitions, closed)
    return simple


def _without_null(schema: Mapping[str, Any], definitions: Mapping[str, Any], closed: bool) -> dict[str, Any]:
    """An optional member: it is left out where there is nothing to say, never null."""
    choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    if len(choices) != 1:
        raise NoSimpleForm("anyOf")
    others = {name: rule for name, rule in schema.items() if name != "anyOf"}
    return _simplified({**choices[0], **others}, definitions, closed)


def _members(schema: Mapping[str, Any], definitions: Mapping[str, Any], closed: bool) -> dict[str, Any]:
    """What may stand in an object: its named members, or in a map any member of one form."""
    if "properties" in schema:
        return {"additionalProperties": False} if closed else {}
    keys, inner = schema.get("propertyNames", {}), schema.get("additionalProperties")
    if not isinstance(inner, dict):
        (inner,) = schema["patternProperties"].values()
    member = _simplified(inner, definitions, closed)
    if "enum" not in keys:
        return {"additionalProperties": member}
    named = {"properties": dict.fromkeys(keys["enum"], member)}
    return named | {"additionalProperties": False} if closed else named
