"""While the database's disk is full nothing is answered but problems, and nothing that was is lost."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx2
import pytest

from deploy.local import keeper
from deploy.local.keeper import PartKeeper
from deploy.local.places import cache_directory, temporary_directory
from deploy.local.postgres import Postgres
from deploy.local.secrets import Secrets
from services.runtime.database import Database
from services.runtime.settings import DatabaseSettings
from services.runtime.web import create_app
from tests.fault.disks import Disk, mounted, why_no_disk
from tests.support.ports import free_port
from tests.support.waiting import until

LEFT_BYTES: Final = 4 << 20
"""Room for rows, and none for a new segment of the log in which they are answered for."""


@asynccontextmanager
async def database_on(disk: Disk, folder: Path, said: list[str]) -> AsyncIterator[Database]:
    """A server of its own on the disk, kept running."""
    secrets, port = Secrets(folder / "secrets"), free_port()
    part = Postgres(disk.mount_point, folder / "postgres.log", port, secrets, cache_directory())
    kept = PartKeeper(part, said.append, lambda: None)
    keeping = asyncio.create_task(kept.keep(()))
    await kept.ready.wait()
    url = part.url.replace("postgresql:", "postgresql+asyncpg:")
    password_file = secrets.password_file("database", "postgres")
    database = Database(DatabaseSettings(url=url, password_file=password_file), application="tests", pool=4)
    try:
        yield database
    finally:
        await database.close()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await part.stop()


async def test_what_was_answered_outlives_a_full_disk_and_all_goes_on_once_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if why := why_no_disk():
        pytest.skip(why)
    monkeypatch.setattr(keeper, "FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(keeper, "FAILING_FROM_DEATHS", 2)
    accepted, refused, said = set[int](), list[httpx2.Response](), list[str]()
    app = create_app("rows", lambda _request: "test")
    with temporary_directory("concert-full-") as folder, mounted(folder / "image", folder / "disk") as disk:
        async with database_on(disk, folder, said) as database:

            @app.post("/rows/{number}", status_code=202)
            async def keep(number: int) -> None:
                async with database.transaction() as transaction:
                    await transaction.run("INSERT INTO kept VALUES (:n, :v)", n=number, v=os.urandom(100))
                    await transaction.run("SELECT pg_switch_wal()")  # the next begins another segment

            async with database.transaction() as transaction:
                await transaction.run("CREATE TABLE kept (number int PRIMARY KEY, value bytea)")
            async with httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app=app), base_url="http://rows.example"
            ) as client:

                async def ask() -> bool:
                    number = len(accepted) + len(refused)
                    answer = await client.post(f"/rows/{number}")
                    if answer.status_code == 202:
                        accepted.add(number)
                    else:
                        refused.append(answer)
                    return answer.status_code == 202

                assert await ask()
                disk.fill(LEFT_BYTES)

                async def is_told() -> bool:
                    await ask()
                    return any(line.startswith("postgres cannot live, for its disk is full") for line in said)

                await until(is_told, within_seconds=60)
                disk.free()
                await until(ask, within_seconds=60)

            async with database.transaction() as transaction:
                rows = await transaction.rows("SELECT number FROM kept")

    assert accepted <= {row.number for row in rows}
    assert refused
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"]
