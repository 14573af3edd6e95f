"""A crash point ends the process as a kill would, only where it is named."""

import os
import subprocess
import sys

import pytest

from tests.support.processes import KILLED_BY_ITSELF, ROOT

PROGRAM = """
import atexit
from services.runtime.crash import crash_point
atexit.register(print, "said goodbye")
try:
    crash_point("relay.sent")
finally:
    print("went on")
"""


def ended(crash_at: str | None) -> tuple[int, str]:
    environment = {name: text for name, text in os.environ.items() if name != "CONCERT_CRASH_AT"}
    if crash_at is not None:
        environment["CONCERT_CRASH_AT"] = crash_at
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout


def test_the_named_place_ends_the_process_without_a_word() -> None:
    assert ended("relay.sent") == (KILLED_BY_ITSELF, "")


@pytest.mark.parametrize("crash_at", [None, "", "relay.acked", "relay", "relay.sent.more"])
def test_any_other_place_does_nothing(crash_at: str | None) -> None:
    assert ended(crash_at) == (0, "went on\nsaid goodbye\n")
