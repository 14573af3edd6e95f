"""The vault as a process: shut off from every network, unreadable, its socket for its own account alone."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from schemas.trail.bytes import subject_key
from schemas.trail.notes import vkey
from schemas.wire.packets import CASE_KEY
from schemas.wire.signed import check_signature
from services.sector.domain.refusals import VaultUnavailable
from services.sector.vault.faults import VaultRefusal
from services.sector.vault.process import listening
from services.sector.vault.requests import FRAME_BYTES_MAX, framed
from services.sector.vault.settings import SOCKET
from services.sector.vault_client import VaultClient
from tests.support.governance import KEYS_TEXT
from tests.support.vault_scene import CASE_SECRET, LOG, ORIGIN, PERMITS, VAULT_KEY, a_wrap, public

ROOT: Final = Path(__file__).resolve().parents[3]
LOOK: Final = """
import ctypes, resource, sys
from services.sector.vault import process
process.harden()
drivers = {"sqlalchemy", "asyncpg", "aiokafka", "kafka", "fastapi", "uvicorn", "httpx2", "joserfc"}
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3), sorted(drivers & {*sys.modules}))
print(process.is_network_reachable())
"""


@dataclass(frozen=True)
class Running:
    """A vault's process and its folder."""

    process: subprocess.Popen[bytes]
    folder: Path
    environment: dict[str, str]

    @property
    def socket(self) -> Path:
        return self.folder / "vault.socket"


def started(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "services.social_services", "vault"]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def said(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout
    return process.stdout.readline().decode()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("a-folder-so-deep-that-no-socket-could-be-bound-by-its-path" + "-" * 60)
    (folder / "vault.key").write_text("dmF1bHQuLi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4uLi4=")
    (folder / "governance.json").write_bytes(KEYS_TEXT)
    environment = {
        "PYTHONPATH": str(ROOT),
        "CONCERT_MODE": "test",
        "CONCERT_CELL": "test-unit",
        "CONCERT_LOG": ORIGIN,
        "CONCERT_AUDIT__PERMIT_KEY": vkey(PERMITS.public),
        "CONCERT_AUDIT__LOG_KEY": vkey(LOG.public),
        "CONCERT_GOVERNANCE_KEYS_FILE": str(folder / "governance.json"),
        "CONCERT_VAULT__FOLDER": str(folder / "state"),
        "CONCERT_VAULT__SIGNING_KEY_FILE": str(folder / "vault.key"),
    }
    process = started(environment)
    line = said(process)
    while "vault_started" not in line:
        assert line, "the vault ended"
        line = said(process)
    yield Running(process, folder / "state", environment)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_it_reaches_no_network_leaves_no_core_and_loads_no_driver() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    limits, reachable = done.stdout.splitlines()
    assert limits == "(0, 0) 0 []"  # no core, not dumpable, no driver
    if reachable == "True":
        pytest.skip("this machine lets no process have a network of its own")
    assert reachable == "False"


async def test_its_memory_is_locked_or_it_says_that_it_is_not(running: Running) -> None:
    client = VaultClient(running.socket)
    is_locked = (await client.status())["is_locked"]
    await client.close()

    # Whoever runs as root, or without a limit, may lock; elsewhere the vault goes on without.
    held = Path(f"/proc/{running.process.pid}/status").read_text().partition("VmLck:")[2].split()[0]
    assert (int(held) > 0) == is_locked
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY or os.geteuid() == 0:
        assert is_locked


def test_its_folder_and_socket_are_its_owners_alone(running: Running) -> None:
    assert running.folder.stat().st_mode & 0o777 == 0o700
    assert running.socket.stat().st_mode & 0o777 == 0o600


async def test_a_service_asks_it_over_its_socket(running: Running) -> None:
    client = VaultClient(running.socket)
    intake = (await client.intake())[0]
    case = a_wrap(intake, CASE_KEY, CASE_SECRET)

    keys = await asyncio.gather(*(client.subject(case, number) for number in range(20)))

    check_signature(intake, public(VAULT_KEY))
    assert keys == [subject_key(CASE_SECRET, number) for number in range(20)]
    assert (await client.adopt([case]))[0] is not None
    assert await client.closed([], 0) == []
    assert (await client.status())["closed"] is None
    with pytest.raises(VaultRefusal, match="does not belong"):
        await client.subject(case.model_copy(update={"version": "2"}), 1)
    await client.close()


async def test_a_restarted_vault_answers_at_once_and_one_that_is_away_is_unavailable(
    tmp_path: Path,
) -> None:
    client = VaultClient(tmp_path / SOCKET)
    for life in ("first", "second"):

        def answer(_content: bytes, life: str = life) -> bytes:
            return b'{"ok":{"life":"%b"}}' % life.encode()

        async with listening(answer, tmp_path):
            told = await asyncio.gather(*(client.status() for _ in range(3)))
        assert [one["life"] for one in told] == [life] * 3
    for away in (client, VaultClient(tmp_path / "nowhere" / SOCKET)):
        with pytest.raises(VaultUnavailable):
            await away.status()
    await client.close()


def asked(running: Running, raw: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        folder = os.open(running.folder, os.O_PATH)
        client.connect(f"/proc/self/fd/{folder}/vault.socket")
        os.close(folder)
        client.settimeout(5)
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while more := client.recv(65536):
            received += more
        return received


def test_a_frame_too_long_or_cut_short_gets_no_answer_and_harms_nobody(running: Running) -> None:
    assert asked(running, (FRAME_BYTES_MAX + 1).to_bytes(4) + b"x") == b""
    assert asked(running, framed(b'{"op":"status"}')[:-1]) == b""
    assert asked(running, b"\0\0") == b""
    assert b'"malformed"' in asked(running, framed(b"no json"))
    assert b'"ok"' in asked(running, framed(b'{"op":"status"}'))


def test_a_second_vault_over_the_same_state_does_not_start(running: Running) -> None:
    second = started(running.environment)

    assert second.wait(20) == 1
    assert b"BlockingIOError" in second.communicate()[0]
    assert b'"ok"' in asked(running, framed(b'{"op":"status"}'))


def test_mode_live_names_who_holds_the_keys(running: Running) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.social_services", "vault"],
        env=running.environment | {"CONCERT_MODE": "live"}, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 1
    assert "CONCERT_VAULT__KEY_PROVIDER" in done.stderr
