"""The dispatch over a real database and a real mail server: what it does when mail is not taken."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deploy.local.certificates import Certificates
from schemas.events.facts import FactBase, ReferralAcknowledged
from schemas.events.unmet_need import UnmetNeedRecorded
from schemas.topics import REFERRALS_FACTS
from schemas.wire.envelope import ReadEvent
from services.notifications.channels import Mail, MailDispatcher
from services.notifications.domain.notice import Attempt, Desk, Notice, Result
from services.notifications.handlers import Work, write_notices
from services.notifications.settings import SmtpSettings
from services.notifications.store import NotificationStore
from services.notifications.wiring import mail_of
from services.runtime.database import Database
from services.runtime.errors import Unavailable
from services.runtime.ids import new_id
from tests.support.builders import an_event
from tests.support.clock import NOON, StoppedClock
from tests.support.governance import KEYS
from tests.support.mail_server import SENDER, MailServer, a_mail_server
from tests.support.platform import Space, TestPlatform

LEASE = timedelta(seconds=60)
DESKS = ("a@desk.example", "b@desk.example")


@dataclass(frozen=True, slots=True)
class Office:
    """A dispatch with a database of its own and a clock that stands still."""

    database: Database
    mail: Mail
    clock: StoppedClock

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        async with self.database.transaction() as transaction:
            yield Work(NotificationStore(transaction), self.clock, KEYS)

    async def sweep(self) -> list[tuple[str, str]]:
        """Sends what is due; gives the alarms that stand then."""
        dispatcher = MailDispatcher(self.work, self.work, self.mail.deliver, self.clock)
        await dispatcher.sweep()
        return [(alarm.rule, alarm.where) for alarm in dispatcher.alarms()]

    async def register(self, agency: str, mail: str, code: str = "night") -> None:
        async with self.work() as work:
            await work.store.register(Desk(agency, code, SecretStr(mail), "en"))

    async def add(self, agency: str, count: int = 1, desk: str = "night") -> list[Notice]:
        at = self.clock.now()
        made = [Notice(new_id("event"), new_id("referral"), agency, desk, at) for _ in range(count)]
        async with self.work() as work:
            await work.store.add(made)
        return made

    async def claim(self, at: datetime) -> Attempt | None:
        async with self.work() as work:
            return await work.store.claim(at=at, until=at + LEASE)

    async def settle(self, attempt: Attempt, result: Result, at: datetime) -> None:
        async with self.work() as work:
            await work.store.settle(attempt, result, at=at)

    async def refusing_since(self, agency: str = "agency-a") -> datetime | None:
        async with self.work() as work:
            [desk] = await work.store.desks_of(agency)
        return desk.undeliverable_since

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


@pytest.mark.parametrize(
    ("away", "trouble"),
    [(True, "SMTPConnectError"), (False, "SMTPSenderRefused")],
    ids=["away", "refusing the sender"],
)
async def test_a_server_that_takes_nothing_costs_one_attempt_a_sweep(
    office: Office, server: MailServer, away: bool, trouble: str
) -> None:
    await office.add("agency-a", 5)
    await office.add("agency-b", 5)
    if away:
        server.close()
    server.answers = {SENDER: "451 too much mail"}

    alarms = await office.sweep()

    found = [*await office.rows(), *await office.rows("agency-b")]
    assert {row[0] for row in found} == {"waiting"}
    assert sorted(row[1] for row in found) == [0] * 5 + [1] * 5
    assert alarms == [("mail_server_away", trouble)]


async def test_a_mail_that_one_process_brings_ends_the_alarm_of_all(office: Office) -> None:
    async def away(_attempt: Attempt) -> Result:
        raise Unavailable

    async def there(_attempt: Attempt) -> Result:
        return "taken"

    await office.add("agency-a", 1)
    first = MailDispatcher(office.work, office.work, away, office.clock)
    second = MailDispatcher(office.work, office.work, there, office.clock, first.hear_taken)
    await first.sweep()
    assert [alarm.rule for alarm in first.alarms()] == ["mail_server_away"]
    office.clock.forward(timedelta(seconds=5))
    await second.sweep()
    await first.sweep()

    assert (await office.rows(), list(first.alarms())) == ([("sent", 2, timedelta(seconds=5))], [])


@pytest.mark.parametrize(("answer", "attempts"), [("450 full", 30), ("550 no such box", 3)])
async def test_a_desk_that_never_takes_mail_is_given_up_and_shown(
    office: Office, server: MailServer, answer: str, attempts: int
) -> None:
    await office.add("agency-a")

    for _ in range(40):
        server.answers = {DESKS[0]: answer}
        alarms = await office.sweep()
        office.clock.forward(timedelta(hours=2))

    [(state, tried, _)] = await office.rows()
    assert (state, tried) == ("given_up", attempts)
    assert server.mails == []
    assert alarms == [("desk_undeliverable", "agency-a/night")]


async def test_a_refusing_address_is_told_from_the_first_no_until_it_is_another(
    office: Office, server: MailServer
) -> None:
    await office.add("agency-a")
    server.answers = {DESKS[0]: "550 no such box"}
    first = await office.sweep()
    refusing = await office.refusing_since()
    office.clock.forward(timedelta(minutes=1))
    await office.register("agency-a", DESKS[0])
    untouched = await office.refusing_since()
    await office.register("agency-a", "new@desk.example")
    corrected = await office.refusing_since()

    alarms = await office.sweep()  # without waiting for the next attempt at the old address

    assert first == [("desk_undeliverable", "agency-a/night")]
    assert refusing == untouched == NOON
    assert (corrected, alarms) == (None, [])
    assert [recipient for recipient, _ in server.mails] == ["new@desk.example"]


async def test_several_notices_for_one_desk_are_one_mail(office: Office, server: MailServer) -> None:
    await office.register("agency-a", "day@desk.example", "day")
    await office.add("agency-a")
    server.answers = {DESKS[0]: "450 later"}
    await office.sweep()
    office.clock.forward(timedelta(seconds=1))
    await office.add("agency-a", 40)
    await office.add("agency-a", 1, "day")
    await office.add("agency-b", 2)

    await office.sweep()

    assert sorted(recipient for recipient, _ in server.mails) == sorted([*DESKS, "day@desk.example"])
    assert {row[0] for row in await office.rows()} == {"sent"}  # also the one whose next attempt was later


async def test_a_notice_whose_reason_has_gone_is_not_sent(office: Office, server: MailServer) -> None:
    answered, moved, waiting = await office.add("agency-a", 3)
    async with office.work() as work:
        await work.store.drop(
            {
                answered.referral: None,
                moved.referral: ("agency-b", "night"),
                waiting.referral: ("agency-a", "night"),
            }
        )

    await office.sweep()

    assert [recipient for recipient, _ in server.mails] == [DESKS[0]]
    assert sorted(row[0] for row in await office.rows()) == ["moot", "moot", "sent"]


async def test_the_newest_fact_of_a_referral_says_whom_it_waits_for(office: Office) -> None:
    moved, ended, waiting = (new_id("referral") for _ in range(3))
    batches: list[list[tuple[str, str | None]]] = [
        [(moved, "agency-a"), (ended, "agency-a"), (waiting, "agency-a")],
        [(moved, "agency-a"), (ended, "agency-a"), (moved, "agency-b"), (ended, None)],
    ]

    for batch in batches:
        async with office.work() as work:
            await write_notices([_told(referral, agency) for referral, agency in batch], work)

    assert sorted(row[0] for row in await office.rows()) == ["moot", "moot", "waiting"]
    assert [row[0] for row in await office.rows("agency-b")] == ["waiting"]


async def test_a_need_that_no_service_answers_waits_for_no_desk(office: Office) -> None:
    need = UnmetNeedRecorded(unmet=new_id("unmet"), need="legal_aid", area="KE047", month="2026-11")

    async with office.work() as work:
        await write_notices([an_event(REFERRALS_FACTS, need), _told(new_id("referral"), "agency-a")], work)

    assert [row[0] for row in await office.rows()] == ["waiting"]


def _told(referral: str, agency: str | None) -> ReadEvent[FactBase]:
    fact = ReferralAcknowledged(referral=referral, awaits=agency, awaits_desk="night" if agency else None)
    return an_event(REFERRALS_FACTS, fact)


async def test_a_sweep_sends_so_many_mails_and_no_more(office: Office, server: MailServer) -> None:
    for number in range(60):
        await office.register("agency-c", "c@desk.example", f"desk-{number}")
        await office.add("agency-c", 1, f"desk-{number}")

    await office.sweep()

    assert len(server.mails) == 50


async def test_dispatches_at_once_send_each_mail_once(office: Office, server: MailServer) -> None:
    for number in range(40):
        await office.register("agency-c", f"c-{number}@desk.example", f"desk-{number}")
        await office.add("agency-c", 2, f"desk-{number}")

    await asyncio.gather(office.sweep(), office.sweep(), office.sweep())
    await office.sweep()

    assert {row[:2] for row in await office.rows("agency-c")} == {("sent", 1)}
    assert len(server.mails) == len({recipient for recipient, _ in server.mails}) == 40


async def test_a_second_notice_for_an_event_changes_nothing(office: Office, server: MailServer) -> None:
    notices = await office.add("agency-a")
    await office.sweep()

    async with office.work() as work:
        await work.store.add(notices)
    await office.sweep()

    assert len(server.mails) == 1


async def test_a_notice_stays_with_one_dispatch_until_its_time_is_over(office: Office) -> None:
    await office.add("agency-a")
    first = await office.claim(NOON)
    too_early = await office.claim(NOON + LEASE - timedelta(seconds=1))
    second = await office.claim(NOON + LEASE)

    assert too_early is None
    assert first
    assert second
    assert (first.numbers, second.numbers) == ({first.event: 1}, {first.event: 2})

    await office.settle(first, "not_now", NOON + LEASE)
    too_late = await office.rows()
    await office.settle(second, "taken", NOON + LEASE)
    await office.settle(second, "not_now", NOON + LEASE)

    assert too_late == [("sending", 2, 2 * LEASE)]
    assert await office.rows() == [("sent", 2, LEASE)]


@pytest.mark.parametrize(("authority", "trouble"), [("own", None), ("other", "SSLCertVerificationError")])
async def test_mail_is_encrypted_under_a_private_authority_or_not_sent(
    office: Office, tmp_path: Path, authority: str, trouble: str | None
) -> None:
    known = {name: Certificates(tmp_path / name, "test-mail") for name in ("own", "other")}
    for certificates in known.values():
        certificates.renew(["localhost"])
    offered = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    offered.load_cert_chain(known["own"].certificate_file("localhost"), known["own"].key_file("localhost"))
    await office.add("agency-a")

    async with a_mail_server(offered) as encrypting:
        smtp = SmtpSettings(
            host="localhost",
            port=encrypting.port,
            sender=SENDER,
            authority_file=known[authority].authority_file,
        )
        alarms = await replace(office, mail=mail_of(smtp)).sweep()

    assert alarms == ([("mail_server_away", trouble)] if trouble else [])
    assert len(encrypting.mails) == (0 if trouble else 1)


async def test_a_server_without_starttls_gets_no_mail(office: Office, server: MailServer) -> None:
    await office.add("agency-a")
    smtp = SmtpSettings(host="localhost", port=server.port, sender=SENDER)

    alarms = await replace(office, mail=mail_of(smtp)).sweep()

    assert [rule for rule, _ in alarms] == ["mail_server_away"]
    assert server.mails == []
