"""Bytes in JSON: standard base64 in its one spelling, of an exact size where a field has one."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from schemas.trail.bytes import decoded, encoded


def _exactly(size: int | None) -> PlainValidator:
    def validate(value: object) -> bytes:
        raw = value if isinstance(value, bytes) else decoded(value)
        if size is not None and len(raw) != size:
            raise ValueError(f"exactly {size} bytes are needed")
        return raw

    return PlainValidator(validate)


_AS_TEXT: Final = PlainSerializer(encoded, return_type=str, when_used="json")
_BASE64: Final = WithJsonSchema({"type": "string", "contentEncoding": "base64"})

Bytes = Annotated[bytes, _exactly(None), _AS_TEXT, _BASE64]
Bytes16 = Annotated[bytes, _exactly(16), _AS_TEXT, _BASE64]
Bytes32 = Annotated[bytes, _exactly(32), _AS_TEXT, _BASE64]
Bytes52 = Annotated[bytes, _exactly(52), _AS_TEXT, _BASE64]
Bytes64 = Annotated[bytes, _exactly(64), _AS_TEXT, _BASE64]
