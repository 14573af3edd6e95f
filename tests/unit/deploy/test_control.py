"""What others learn of a running supervisor from its lock and its state file, whatever stands in them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import control
from deploy.local.refusals import CannotRun
from services.cli.installed import installed

HOLDS = """
import sys, time
from pathlib import Path
from deploy.local import control
with control.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def supervisor(run: Path) -> Iterator[int]:
    """A process that holds the data directory, and does nothing else."""
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(run)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.kill()


UNREADABLE = {
    "emptied": b"",
    "a list": b"[]",
    "no text": b"\xff\xfe",
    "half": b'{"state": "ready", "par',
    "deep": b"[" * 100_000,
    "parts that are a list": b'{"state": "ready", "parts": []}',
    "a part without members": b'{"state": "ready", "parts": {"police": {}}}',
    "a state that is a number": b'{"state": 1}',
    "a state that no supervisor tells": b'{"state": "stopped"}',
    "a port that is none": b'{"ports": {"police_health": 70000}}',
    "every process": b'{"fork_server": -1}',
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_state_that_cannot_be_read_is_a_start(run: Path, content: bytes) -> None:
    with control.locked(run):
        (run / control.STATE_FILE).write_bytes(content)

        assert control.read_state(run) == {"state": "starting", "parts": {}, "supervisor": os.getpid()}
        with pytest.raises(CannotRun, match="has not told its ports"):
            installed(run.parent)
    assert control.read_state(run) is None


def test_what_the_last_supervisor_told_is_not_told_of_the_next(run: Path) -> None:
    with control.locked(run):
        control.write_state(run, {"state": "ready", "parts": {}, "supervisor": 1})
        assert control.read_state(run) == {"state": "ready", "parts": {}, "supervisor": os.getpid()}
    with control.locked(run):
        assert control.read_state(run) == {"state": "starting", "parts": {}, "supervisor": os.getpid()}


def test_a_supervisor_is_stopped_though_its_state_cannot_be_read(run: Path, supervisor: int) -> None:
    (run / control.STATE_FILE).write_bytes(b"")

    # Only its parent can collect it: until then it is a zombie, which counts as ended.
    assert control.stop_running(run)
    assert not control.stop_running(run)


def test_a_supervisor_that_stands_still_is_told_at_once(run: Path, supervisor: int) -> None:
    os.kill(supervisor, signal.SIGSTOP)
    os.waitpid(supervisor, os.WUNTRACED)

    with pytest.raises(CannotRun, match=f"let it go on \\(kill -CONT {supervisor}\\)"):
        control.stop_running(run)


def test_a_supervisor_that_is_not_known_is_not_called_stopped(run: Path) -> None:
    with control.locked(run):
        (run / control.LOCK_FILE).write_bytes(b"")
        with pytest.raises(CannotRun, match="its process is not known"):
            control.stop_running(run)


def test_what_asks_for_other_numbers_of_processes_in_other_words_is_unreadable(run: Path) -> None:
    run.mkdir()
    for content in (b"", b"[]", b'{"health": null}', b'{"health": 1e400}', b"[" * 100_000):
        (run / control.SCALE_FILE).write_bytes(content)
        with pytest.raises(ValueError, match="validation error"):  # which the supervisor outlives
            control.asked_scale(run)


def test_one_works_alone_and_another_is_told_so(run: Path) -> None:
    with control.alone(run, "restore"):
        with pytest.raises(CannotRun) as refusal, control.alone(run, "restore"):
            pass
        with control.alone(run, "scale"):
            pass
    with control.alone(run, "restore"):
        pass
    assert refusal.value.code == "under_way"
