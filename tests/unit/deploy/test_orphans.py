"""No session of a database server outlives whoever kept it running, not even one that stands still."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local import orphans
from deploy.local.postgres import Postgres
from deploy.local.secrets import Secrets

KILLED_WITHIN_SECONDS = 20.0


@contextmanager
def stopped_session(tmp_path: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a session of a server, and does not run on."""
    program = tmp_path / "postgres"
    if not program.exists():
        shutil.copy(shutil.which("sleep") or "", program)
    folder.mkdir(exist_ok=True)
    with subprocess.Popen([program, "60"], cwd=folder, start_new_session=True) as process:
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield process
        finally:
            process.kill()


def ends(process: subprocess.Popen[bytes]) -> bool:
    return process.wait(KILLED_WITHIN_SECONDS) == -signal.SIGKILL


@pytest.mark.parametrize("way", ["the supervisor is gone", "the server is killed"])
def test_a_session_that_stands_still_is_ended_and_another_clusters_is_not(tmp_path: Path, way: str) -> None:
    server = Postgres(tmp_path / "data", tmp_path / "log", 1, Secrets(tmp_path / "secrets"), tmp_path)
    server.folder.mkdir()
    with (
        stopped_session(tmp_path, server.cluster) as session,
        stopped_session(tmp_path, tmp_path / "other") as other,
    ):
        if way == "the server is killed":
            server.kill()
        else:
            command = [sys.executable, "-I", "-S", orphans.__file__, str(server.cluster)]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as guard:
                assert session.poll() is None
                assert guard.stdin
                guard.stdin.close()
        assert ends(session)
        assert other.poll() is None
