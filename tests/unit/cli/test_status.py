"""What the supervisor told is looked at with open eyes: it may stand still, be about to start, or be gone."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.configuration import trial
from services.cli.status import standing_alarms


def rules(state: dict[str, Any]) -> list[tuple[str, str]]:
    found = asyncio.run(standing_alarms(trial(Path("somewhere")), state))
    return [(alarm.rule, alarm.where) for alarm in found]


@pytest.fixture
def supervisor() -> Iterator[int]:
    """A process that does nothing."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def test_nothing_that_runs_is_not_well() -> None:
    assert rules({"state": "stopped", "parts": {}}) == [("not_running", "somewhere")]


def test_a_start_that_goes_on_is_told_with_the_parts_that_are_missing(supervisor: int) -> None:
    parts = {"health": {"state": "failing", "pid": None}, "police": {"state": "ready", "pid": 1}}

    assert rules({"state": "starting", "parts": parts, "supervisor": supervisor}) == [
        ("not_ready_yet", "starting"),
        ("part_down", "health"),
    ]


@pytest.mark.parametrize("key", ["supervisor", "fork_server"])
def test_what_stands_still_and_keeps_the_parts_gives_no_answer(supervisor: int, key: str) -> None:
    state = {"state": "ready", "parts": {}, "supervisor": os.getpid(), "fork_server": None}
    os.kill(supervisor, signal.SIGSTOP)
    os.waitpid(supervisor, os.WUNTRACED)

    assert rules(state | {key: supervisor}) == [("no_answer", key.replace("_", " "))]
