"""The postman over a real database and a real mail server: what he does when mail is not taken."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from services.notifications.channels import Mail, Postman
from services.notifications.domain.notice import Attempt, Desk, Notice, Settled, settled
from services.notifications.handlers import Notices
from services.notifications.store import DeskStore, NoticeStore
from services.runtime.database import Database
from services.runtime.ids import new_id
from tests.support.clock import NOON, StoppedClock
from tests.support.mail_server import SENDER, MailServer, a_mail_server
from tests.support.platform import Space, TestPlatform

LEASE = timedelta(seconds=60)
DESKS = ("a@desk.example", "b@desk.example")


@dataclass(frozen=True, slots=True)
class Office:
    """A postman with a database of his own and a clock that stands still."""

    database: Database
    mail: Mail
    clock: StoppedClock

    @asynccontextmanager
    async def notices(self) -> AsyncIterator[Notices]:
        async with self.database.transaction() as transaction:
            yield NoticeStore(transaction)

    async def sweep(self) -> None:
        await Postman(self.notices, self.mail.deliver, self.clock, LEASE).sweep()

    async def register(self, agency: str, mail: str) -> None:
        async with self.database.transaction() as transaction:
            await DeskStore(transaction).register(Desk(agency, "night", SecretStr(mail), "en"))

    async def add(self, agency: str, count: int = 1) -> None:
        async with self.notices() as notices:
            await notices.add([Notice(new_id("event"), agency, "night", NOON) for _ in range(count)])

    async def claim(self, at: datetime) -> Attempt | None:
        async with self.notices() as notices:
            return await notices.claim(at=at, until=at + LEASE)

    async def settle(self, attempt: Attempt, outcome: Settled) -> None:
        async with self.notices() as notices:
            await notices.settle(attempt, outcome)

    async def rows(self, agency: str = "agency-a") -> list[Any]:
        async with self.database.transaction() as transaction:
            found = await transaction.rows(
                "SELECT state, attempts, due_at - written_at AS wait FROM notice WHERE agency = :agency",
                agency=agency,
            )
        return [tuple(row) for row in found]


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with a_mail_server() as made:
        yield made


@pytest.fixture
async def office(platform: TestPlatform, server: MailServer) -> AsyncIterator[Office]:
    own = Space(platform)
    database = own.database("notifications")
    office = Office(database, server.mail, StoppedClock())
    for agency, mail in zip(("agency-a", "agency-b"), DESKS, strict=True):
        await office.register(agency, mail)
    yield office
    await database.close()
    own.close()


async def test_a_changed_address_counts_for_notices_that_wait(office: Office, server: MailServer) -> None:
    await office.add("agency-a")
    await office.register("agency-a", "new@desk.example")

    await office.sweep()

    assert [recipient for recipient, _ in server.mails] == ["new@desk.example"]


async def test_a_mail_that_was_not_taken_waits_and_holds_up_no_other(
    office: Office, server: MailServer
) -> None:
    server.answers = {DESKS[0]: "450 later"}
    await office.add("agency-a")
    await office.add("agency-b")

    await office.sweep()
    await office.sweep()

    assert [recipient for recipient, _ in server.mails] == [DESKS[1]]
    assert await office.rows() == [("waiting", 1, timedelta(seconds=5))]

    office.clock.forward(timedelta(seconds=5))
    await office.sweep()

    assert [recipient for recipient, _ in server.mails] == [DESKS[1], DESKS[0]]
    assert await office.rows() == [("sent", 2, timedelta(seconds=5))]


@pytest.mark.parametrize("away", [True, False], ids=["away", "refusing the sender"])
async def test_a_server_that_takes_nothing_costs_one_attempt_a_sweep(
    office: Office, server: MailServer, away: bool
) -> None:
    await office.add("agency-a", 5)
    if away:
        server.close()
    server.answers = {SENDER: "451 too much mail"}

    await office.sweep()

    assert {row[0] for row in await office.rows()} == {"waiting"}
    assert sum(row[1] for row in await office.rows()) == 1


async def test_a_desk_that_never_takes_mail_is_given_up_in_the_end(
    office: Office, server: MailServer
) -> None:
    await office.add("agency-a")

    for _ in range(40):
        server.answers = {DESKS[0]: "550 no such box"}
        await office.sweep()
        office.clock.forward(timedelta(hours=1))

    [(state, attempts, _)] = await office.rows()
    assert (state, attempts) == ("given_up", 30)
    assert server.mails == []


async def test_a_sweep_sends_so_many_mails_and_no_more(office: Office, server: MailServer) -> None:
    await office.add("agency-a", 60)

    await office.sweep()

    assert len(server.mails) == 50


async def test_postmen_at_once_send_each_mail_once(office: Office, server: MailServer) -> None:
    await office.add("agency-a", 40)

    await asyncio.gather(office.sweep(), office.sweep(), office.sweep())

    assert {row[:2] for row in await office.rows()} == {("sent", 1)}
    names = {re.findall(rb"\r\nMessage-ID: (<[^>]+>)\r\n", content)[0] for _, content in server.mails}
    assert len(names) == len(server.mails) == 40


async def test_a_second_notice_for_an_event_changes_nothing(office: Office, server: MailServer) -> None:
    notice = Notice(new_id("event"), "agency-a", "night", NOON)
    async with office.notices() as notices:
        await notices.add([notice])
    await office.sweep()

    async with office.notices() as notices:
        await notices.add([notice])
    await office.sweep()

    assert len(server.mails) == 1


async def test_a_notice_stays_with_one_postman_until_his_time_is_over(office: Office) -> None:
    await office.add("agency-a")
    first = await office.claim(NOON)
    too_early = await office.claim(NOON + LEASE - timedelta(seconds=1))
    second = await office.claim(NOON + LEASE)

    assert too_early is None
    assert first
    assert second
    assert (first.number, second.number, second.event) == (1, 2, first.event)

    await office.settle(first, settled(1, was_taken=False, at=NOON + LEASE))
    too_late = await office.rows()
    await office.settle(second, settled(2, was_taken=True, at=NOON + LEASE))
    await office.settle(second, settled(2, was_taken=False, at=NOON + LEASE))

    assert too_late == [("sending", 2, 2 * LEASE)]
    assert await office.rows() == [("sent", 2, LEASE)]
