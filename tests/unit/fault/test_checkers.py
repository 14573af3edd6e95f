"""Each checker of the fault runs is silent on a sound run, and sees a violation that is planted in it."""

from typing import Any

import pytest

from services.cli.demo.checks import PlayedReferral
from tests.fault.checkers import answered_once, applied_in_turn, withdrawals_stand

HISTORY: list[dict[str, Any]] = [
    {"key": "a", "kind": "invoke"},
    {"key": "a", "kind": "info"},
    {"key": "a", "kind": "invoke"},
    {"key": "a", "kind": "ok", "step": "one"},
    {"key": "b", "kind": "invoke"},
    {"key": "b", "kind": "ok", "step": "two"},
    {"key": "c", "kind": "invoke"},
    {"key": "c", "kind": "fail"},
]
UNKNOWN = {"key": "d", "kind": "invoke"}


def test_what_was_answered_is_recorded_once() -> None:
    assert answered_once(HISTORY, ["one", "two"]) == []
    assert answered_once([*HISTORY, UNKNOWN], ["one", "two", "three"]) == [], "nobody knows of d, it may have"


@pytest.mark.parametrize(
    ("history", "recorded"),
    [
        (HISTORY, ["one"]),
        (HISTORY, ["one", "two", "two"]),
        (HISTORY, ["one", "two", "three"]),
        ([*HISTORY, {"key": "a", "kind": "ok", "step": "three"}], ["one", "two", "three"]),
    ],
    ids=["lost", "recorded twice", "of a refused or repeated request", "one key, two steps"],
)
def test_a_planted_loss_or_repeat_is_seen(history: list[dict[str, Any]], recorded: list[str]) -> None:
    assert len(answered_once(history, recorded)) == 1


@pytest.mark.parametrize(("last", "problems"), [(3, 0), (2, 1), (4, 1)])
def test_a_reader_that_is_behind_or_beyond_is_seen(last: int, problems: int) -> None:
    written = {("steps", b"k"): 3, ("facts", b"k"): 9}
    assert len(applied_in_turn(written, {"arbiter": {("steps", b"k"): last}})) == problems


def test_a_key_that_a_reader_never_applied_is_seen() -> None:
    written = {("steps", b"k"): 3, ("steps", b"l"): 1}
    assert len(applied_in_turn(written, {"arbiter": {("steps", b"k"): 3}})) == 1


@pytest.mark.parametrize(
    ("state", "seen", "problems"),
    [("sealed", "sealed", 0), ("accepted", "accepted", 3), ("withdrawn", "offered", 1)],
)
def test_a_withdrawal_that_did_not_stand_is_seen(state: str, seen: str, problems: int) -> None:
    played = [PlayedReferral("r", "story", "owner", "receiver", "withdrawn")]
    views = {("r", "owner"): state, ("r", "receiver"): seen}
    assert len(withdrawals_stand({"r"}, played, {"r": state}, views)) == problems
