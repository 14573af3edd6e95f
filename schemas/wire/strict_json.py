"""JSON that every reader understands alike: what two parsers could take differently is refused."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import Any, Final, NoReturn

import pydantic_core

DEPTH_MAX: Final = 32


class MalformedJson(ValueError):
    """Not UTF-8 JSON, or with repeated names, too deep, with NaN, control characters or half surrogates."""


class RepeatedName(MalformedJson):
    """An object with two members of one name: one reader takes the first, another the last."""


_PLANES: Final = "".join(chr((plane << 16) + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
NEVER_TEXT: Final = rf"\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_PLANES}"
"""Characters that no text may hold: controls above ASCII, half surrogates, noncharacters."""
_FORBIDDEN: Final = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f{NEVER_TEXT}]")
_HIDDEN: Final = re.compile(
    rf"[\x00-\x08\x0b\x0c\x0e-\x1f{NEVER_TEXT}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
"""A string without an end goes to the end of the text: else each of its quotes would be looked at again."""


def parse_json(text: bytes) -> Any:
    """Parse UTF-8 JSON; refuse repeated names, depth over 32, NaN, control characters and half surrogates."""
    value = parse_any_text(text)
    if may_hold_forbidden_text(text):
        check_text(value)
    return value


def parse_any_text(text: bytes, errors: str = "strict") -> Any:
    """The same without a look at the characters of strings; the caller checks those."""
    try:
        if _depth(text) > DEPTH_MAX:
            raise MalformedJson
        if (value := _quickly(text)) is not None:
            return value
        return _DECODER.decode(text.decode("utf-8", errors))
    except RepeatedName:
        raise
    except (ValueError, RecursionError):  # also bytes that are no UTF-8, integers of thousands of digits
        raise MalformedJson from None


def shows_itself(text: str) -> bool:
    """Whether a title or reference is what it looks like: something to see, nothing that hides."""
    return not _HIDDEN.search(text) and any(unicodedata.category(letter)[0] in "LNPS" for letter in text)


def may_hold_forbidden_text(text: bytes) -> bool:
    """False where the JSON holds plain ASCII alone, so that nothing need be looked at again."""
    return not text.isascii() or b"\\" in text or b"\x7f" in text


def _quickly(text: bytes) -> Any:
    """The value where it is written again byte for byte: no name twice, no NaN, no second spelling."""
    try:
        value = pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError:
        return None
    return value if pydantic_core.to_json(value) == text else None


def _depth(text: bytes) -> int:
    if (brackets := text.count(b"{") + text.count(b"[")) <= DEPTH_MAX:
        return brackets  # cannot be deeper than that
    depth = deepest = 0
    for token in _TOKENS.finditer(text):
        if (first := token[0][:1]) in (b"{", b"["):
            deepest = max(deepest, depth := depth + 1)
        elif first != b'"':
            depth -= 1
    return deepest


def check_text(value: object) -> None:
    """Refuse control characters (but tab and line ends), half surrogates and noncharacters, at any depth."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text if _FORBIDDEN.search(text):
                raise MalformedJson
            case dict() as members:
                waiting += members.keys()
                waiting += members.values()
            case list() as items:
                waiting += items


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RepeatedName
    return members


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise MalformedJson
    return number


def _no_constant(_: str) -> NoReturn:
    raise MalformedJson


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_float=_finite, parse_constant=_no_constant
)
