"""A dead letter keeps what came, byte for byte, and shows nothing of it."""

import base64
import json

import pytest
from pydantic import ValidationError

from services.runtime.acts import ActRequest, LetterScope
from services.runtime.dead_letters import DeadLetter, headers_text
from tests.support.acts import an_order
from tests.support.records import a_record

NAME = b"Amina Quillon"


def test_headers_keep_their_order_their_bytes_and_their_duplicates() -> None:
    headers = [("content-type", b"a"), ("content-type", b"b"), ("x", b"\xff\x00"), ("empty", b"")]

    kept = json.loads(headers_text(headers))

    assert [(name, base64.b64decode(content)) for name, content in kept] == headers


def test_a_header_without_content_is_kept_as_empty() -> None:
    assert json.loads(headers_text([("x", None)])) == [["x", ""]]


def test_a_name_that_the_database_cannot_hold_is_kept_without_its_zero() -> None:
    ((name, _),) = json.loads(headers_text([("a\x00b", b"")]))

    assert "\x00" not in name
    assert name.startswith("a")
    assert name.endswith("b")


def test_an_act_on_no_letter_is_none() -> None:
    with pytest.raises(ValidationError):
        LetterScope(ids=[])
    with pytest.raises(ValidationError):
        ActRequest[LetterScope].model_validate({"order": an_order(), "scope": {"ids": ["dl_a"]}, "count": 0})


def test_a_letter_shows_its_reason_and_nothing_of_its_record() -> None:
    letter = DeadLetter(a_record(key=NAME, value=NAME, headers=(("x", NAME),)), "malformed_json", "/data")

    assert repr(letter) == "DeadLetter(malformed_json)"
