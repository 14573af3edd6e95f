"""Roles on a real database: granted by the command, told to the trail, and gone at once when revoked."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import Request

from services.operations.console.entry import console_app, console_of, operator_in
from services.operations.grants_api import grant_routes
from services.operations.store.grants import GrantStore
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.transaction import Transaction
from services.runtime.web import create_app
from tests.support.consoles import Browser, IssuerStage
from tests.support.platform import Space

REASON = {"reason": "on call"}


class OperationsStage:
    """The command's door to roles, and the console."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.issuer = IssuerStage(folder)
        self.database = database
        internal = create_app("Operations", lambda _: None)
        internal.include_router(grant_routes(database.opener(self._grants)))
        self.command = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(internal), base_url="http://operations"
        )
        console = console_of(self.issuer.settings, database, self.issuer.client, self.issuer.clock)
        self.app = console_app(console)

        @self.app.get("/ops")
        async def page(request: Request) -> dict[str, str]:
            who = operator_in(await console.entry_of(request))
            return {"pseudonym": who.pseudonym, "role": who.role}

        self.browser = Browser(self.app, self.issuer)

    def _grants(self, transaction: Transaction) -> GrantStore:
        return GrantStore(transaction, SystemClock().now())

    async def grant(self, person: str, role: str) -> httpx2.Response:
        return await self.command.put(f"/v1/operators/{person}", json={"role": role, **REASON})

    async def revoke(self, person: str) -> httpx2.Response:
        return await self.command.post(f"/v1/operators/{person}/revocation", json=REASON)

    async def told(self) -> list[tuple[str, str]]:
        """What the trail will be told."""
        async with self.database.transaction() as transaction:
            rows = await transaction.rows("SELECT verb, counts FROM operator_act ORDER BY done_at")
        return [(row.verb, row.counts) for row in rows]


@pytest.fixture
async def stage(space: Space, tmp_path: Path) -> AsyncIterator[OperationsStage]:
    async with space.transaction("operations", as_admin=True) as transaction:
        await transaction.run("TRUNCATE operator_grant, operator_act, console_session CASCADE")
    database = space.database("operations")
    yield OperationsStage(tmp_path, database)
    await database.close()


async def test_a_role_opens_the_console_and_its_end_closes_it_in_every_browser(
    stage: OperationsStage,
) -> None:
    assert (await stage.browser.sign_in()).status_code == 403
    await stage.grant("p-1", "viewer")
    await stage.browser.sign_in()
    assert (await stage.browser.get("/ops")).json() == {"pseudonym": "p-1", "role": "viewer"}
    await stage.grant("p-1", "redriver")
    assert (await stage.browser.get("/ops")).json()["role"] == "redriver"

    assert (await stage.revoke("p-1")).json()["data"] == []
    async with stage.database.transaction() as transaction:
        assert not await transaction.rows("SELECT 1 FROM console_session")
    await stage.grant("p-1", "viewer")
    assert (await stage.browser.get("/ops")).status_code == 403


async def test_each_change_is_kept_for_the_trail_and_a_refused_one_changes_nothing(
    stage: OperationsStage,
) -> None:
    await stage.grant("p-1", "administrator")
    await stage.revoke("p-1")
    refused = [
        await stage.grant("command", "viewer"), await stage.grant("p-1", "root"),
        await stage.grant("Amina%20K", "viewer"), await stage.revoke("p-1"),
    ]  # fmt: skip

    assert [one.status_code for one in refused] == [422, 422, 422, 404]
    assert await stage.told() == [
        ("operator_grant", '{"administrator": 1}'),
        ("operator_revoke", '{"persons": 1}'),
    ]


async def test_whoever_has_no_role_is_told_who_can_grant_one(stage: OperationsStage) -> None:
    for person, role in (("p-7", "administrator"), ("p-8", "viewer"), ("p-9", "administrator")):
        await stage.grant(person, role)

    text = (await stage.browser.sign_in()).text

    assert [person for person in ("p-7", "p-8", "p-9") if f"<bdi>{person}</bdi>" in text] == ["p-7", "p-9"]
    assert "concert operators grant p-1 viewer" in text
    shown = (await stage.command.get("/v1/operators")).json()["data"]
    assert [(one["person"], one["role"]) for one in shown] == [
        ("p-7", "administrator"), ("p-8", "viewer"), ("p-9", "administrator"),
    ]  # fmt: skip
