"""Bytes in JSON: standard base64 in its one spelling, of an exact size where a field has one."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema


def encoded(raw: bytes) -> str:
    """Bytes as standard base64."""
    return base64.b64encode(raw).decode("ascii")


def decoded(text: object) -> bytes:
    """Bytes of standard base64, refusing every second spelling of the same bytes."""
    if not isinstance(text, str):
        raise ValueError("standard base64 text is needed")
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("this is not standard base64") from None
    if encoded(raw) != text:
        raise ValueError("this is not canonical base64")
    return raw


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
