"""`concert up`, `status` and `down` as an operator uses them: exit codes, processes, nothing left."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.local import control
from deploy.local.places import temporary_directory
from deploy.local.processes import PROCESSES
from services.cli.installed import READY, installed
from services.runtime import administration
from tests.support.shared import REPOSITORY

WITHIN_SECONDS = 90.0
pytestmark = pytest.mark.timeout(240)


def concert(*words: str) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    command = [sys.executable, "-m", "services.cli", *words]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def until(holds: Callable[[], Any], within_seconds: float = WITHIN_SECONDS) -> Any:
    """Wait for a condition and give what it returned."""
    ends = time.monotonic() + within_seconds
    while not (found := holds()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return found


def status(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(concert("status", "--json", "--data", str(data)).stdout)
    return found


def last_told(data: Path) -> dict[str, Any]:
    """What a supervisor last wrote; quicker than a command, for whoever asks again and again."""
    try:
        found: dict[str, Any] = json.loads((data / "run" / control.STATE_FILE).read_text())
    except FileNotFoundError:
        return {"supervisor": None, "state": "stopped", "parts": {}}
    return found


def pids(data: Path) -> list[int]:
    """Every process whose output goes into the data directory, and the supervisor."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            output = (folder / "fd" / "1").readlink()
        except OSError:
            continue
        if output.is_relative_to(data / "logs"):
            found.append(int(folder.name))
    return found


def kill_all(data: Path) -> None:
    for pid in pids(data):
        with contextlib.suppress(ProcessLookupError):  # parts die with the supervisor
            os.kill(pid, signal.SIGKILL)
    until(lambda: not pids(data))


@contextlib.contextmanager
def a_topic(data: Path, name: str) -> Iterator[None]:
    """A topic that no table knows, for as long as the block."""
    installation = installed(data)
    with administration.connect(*installation.kafka_admin) as admin:
        admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})
        yield
        admin.delete_topics([name])


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory that every part may reach; whatever still runs there afterwards is ended."""
    with temporary_directory("concert-up-") as folder:
        yield folder
        kill_all(folder)


def test_up_leaves_everything_running_recovers_from_any_death_and_down_leaves_no_process(data: Path) -> None:
    data.chmod(0o2755)
    started = concert("up", "--detach", "--data", str(data))
    assert started.returncode == 0, started.stderr
    told = status(data)
    first_log = (data / "logs" / "up.log").read_text()
    scaled = concert("scale", "health=2", "--data", str(data))
    two = status(data)
    again = concert("up", "--detach", "--data", str(data))
    plan = concert("topology", "plan", "--data", str(data))
    with a_topic(data, "concert.stray.v1"):
        differing = concert("topology", "plan", "--data", str(data))
        applied = concert("topology", "apply", "--data", str(data))
    readers = concert("readers", "list", "--data", str(data))
    server = told["parts"]["postgres"]["pid"]
    session = (Path("/proc") / f"{server}/task/{server}/children").read_text().split()[-1]
    os.kill(int(session), signal.SIGSTOP)  # as one that hangs in I/O: it does not see its server's end
    os.kill(told["supervisor"], signal.SIGKILL)
    until(lambda: not pids(data))
    dead = status(data)
    foreground = in_foreground(data)
    until(lambda: is_ready(data, foreground))
    recovered = status(data)
    down = concert("down", "--data", str(data))

    assert started.stdout == ""
    assert (told["is_well"], told["alarms"]) == (True, [])
    assert set(told["parts"]) == {"kafka", "postgres", *(each.name for each in PROCESSES)}
    assert (scaled.returncode, two["is_well"], two["parts"]["health-2"]["state"]) == (0, True, READY)
    assert (again.returncode, again.stderr) == (5, f"concert: Concert already runs in {data}.\n")
    assert first_log
    assert (data / "logs" / "up.log").read_text().startswith(first_log)
    assert (plan.returncode, plan.stdout) == (0, "The brokers are as the table says.\n")
    assert (differing.returncode, differing.stdout) == (5, "topic_unknown concert.stray.v1\n")
    assert (applied.returncode, "left: topic_unknown concert.stray.v1" in applied.stdout) == (5, True)
    assert (readers.returncode, readers.stdout) == (0, "Nothing stands over any partition.\n")
    assert [alarm["rule"] for alarm in dead["alarms"]] == ["not_running"]
    assert recovered["is_well"] is True
    assert recovered["ports"] == two["ports"]
    assert recovered["parts"].keys() == two["parts"].keys()
    assert (down.returncode, foreground.wait(WITHIN_SECONDS)) == (0, 0)
    assert stat.S_IMODE(data.stat().st_mode) == 0o2755, "a folder that was given keeps its mode"
    assert pids(data) == []
    assert concert("status", "--data", str(data)).returncode == 1
    assert concert("down", "--data", str(data)).returncode == 0


def is_ready(data: Path, supervisor: subprocess.Popen[bytes]) -> bool:
    told = last_told(data)
    return (told["supervisor"], told["state"]) == (supervisor.pid, READY)


def in_foreground(data: Path, *, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """`concert up`, which stays."""
    command = [sys.executable, "-m", "services.cli", "up", "--data", str(data), *more]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_an_up_that_ctrl_c_or_a_signal_stops_before_it_is_ready_ends_with_130(data: Path) -> None:
    foreground = in_foreground(data)
    until(lambda: last_told(data)["supervisor"] == foreground.pid)
    foreground.send_signal(signal.SIGINT)

    background = in_foreground(data, more=("--detach",))
    until(lambda: last_told(data)["supervisor"] not in (None, foreground.pid))
    background.terminate()

    assert (foreground.wait(WITHIN_SECONDS), background.wait(WITHIN_SECONDS)) == (130, 130)
    assert pids(data) == []


def test_a_port_that_the_operator_named_and_somebody_else_uses_ends_with_exit_5(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (data / "concert.toml").write_text(f"[ports]\nhealth_api = {port}\n")

        refused = concert("up", "--data", str(data))

    assert refused.returncode == 5
    assert refused.stderr.strip().splitlines() == [f"concert: Port {port}, named for health_api, is in use."]
    assert pids(data) == []


def test_a_token_is_refused_where_the_installation_has_an_issuer_of_its_own(data: Path) -> None:
    (data / "concert.toml").write_text(
        'mode = "test"\ngovernance_keys_file = "public"\n'
        '[issuer]\nname = "urn:example:issuer"\nkeys_file = "keys"\n'
    )
    words = ("token", "--agency", "harbour-clinic", "--staff", "s-1", "--role", "nurse", "--data", str(data))

    refused = concert(*words)

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "mode `local` only" in refused.stderr
