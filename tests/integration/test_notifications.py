"""Notifications: each fact that waits for a registered desk brings one mail, whatever dies on the way."""

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from schemas.events.facts import FactBase, ReferralAcknowledged
from schemas.events.governance import AgencyCurrent
from schemas.topics import GOVERNANCE_STATE, REFERRALS_FACTS
from schemas.wire.envelope import HEADERS
from services.notifications.api import described_app
from services.notifications.domain.notice import Desk
from services.notifications.settings import Settings, SmtpSettings
from services.notifications.store import NotificationStore
from services.notifications.wiring import wire
from services.runtime.ids import new_id
from services.runtime.openapi import document_of
from services.runtime.process import running
from services.runtime.settings import IssuerSettings, PortSettings
from tests.support.builders import an_agency
from tests.support.described import Description
from tests.support.governance import HOLDERS, signed
from tests.support.kafka import event_record, send_raw
from tests.support.mail_server import SENDER, MailServer, a_mail_server
from tests.support.platform import CELL, Space
from tests.support.ports import free_port
from tests.support.processes import KILLED_BY_ITSELF, a_process
from tests.support.tokens import signed_token
from tests.support.waiting import until

ISSUER = f"urn:concert:{CELL}:local-issuer"
DESCRIPTION = Description(document_of(described_app()))


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with a_mail_server() as made:
        yield made


def settings(space: Space, server: MailServer, port: int) -> Settings:
    return space.settings(
        Settings,
        "notifications",
        issuer=IssuerSettings(name=ISSUER, keys_file=space.platform.secrets.issuer_public_file()),
        smtp=SmtpSettings(host="127.0.0.1", port=server.port, sender=SENDER, encryption="none"),
        ports=PortSettings(api=port),
        sweep_every=timedelta(milliseconds=50),
    )


ClientOf = Callable[[str], httpx2.AsyncClient]


@asynccontextmanager
async def a_service(space: Space, server: MailServer, **changes: Any) -> AsyncIterator[ClientOf]:
    """The service in this process; gives clients of its API by agency."""
    port = free_port()
    chosen = settings(space, server, port).model_copy(update=changes)

    def client(agency: str) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {a_token(space, agency)}"}
        return httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers=headers,
            event_hooks={"response": [DESCRIPTION.check]},
        )

    async with running("notifications", chosen, wire):
        yield client


@pytest.fixture(scope="module")
async def client(space: Space) -> AsyncIterator[ClientOf]:
    """Clients of one service that only answers: it reads no facts and sends no mails."""
    async with a_mail_server() as server:
        idle = {"kafka": None, "sweep_every": timedelta(hours=1)}
        async with a_service(space, server, **idle) as client:
            yield client


def a_token(space: Space, agency: str, role: str = "caseworker", service: str = "notifications") -> str:
    key = space.platform.secrets.issuer_key_file()
    return signed_token(key, ISSUER, CELL, agency=agency, staff="staff-1", role=role, services=[service])


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def place(numbers: Iterator[int]) -> tuple[str, str]:
    """An agency of this test alone, and its desk's address."""
    number = next(numbers)
    return f"agency-{number}", f"desk-{number}@agency.example"


async def register(space: Space, agency: str, mail: str, code: str = "night", language: Any = "en") -> None:
    async with space.transaction("notifications") as transaction:
        await NotificationStore(transaction).register(Desk(agency, code, SecretStr(mail), language))


async def admit(space: Space, *agencies: AgencyCurrent) -> None:
    async with space.transaction("notifications") as transaction:
        await NotificationStore(transaction).keep_agencies(agencies)


def waiting(agency: str | None, desk: str | None = "night") -> FactBase:
    return ReferralAcknowledged(
        referral=new_id("referral"), state="acknowledged", awaits=agency, awaits_desk=desk if agency else None
    )


def record(fact: FactBase) -> tuple[bytes, bytes]:
    key, _, value = event_record(REFERRALS_FACTS, fact)
    return key, value


async def produce(space: Space, *records: tuple[bytes, bytes]) -> None:
    """Write facts as the arbiter does."""
    sent = [(key, HEADERS, value) for key, value in records]
    await send_raw(space, "referrals", REFERRALS_FACTS.name(space.namespace), sent)


async def rows(space: Space, sql: str, **parameters: Any) -> list[Any]:
    async with space.transaction("notifications", as_admin=True) as transaction:
        found = await transaction.rows(sql, **parameters)
    return list(found)


async def states(space: Space, agency: str) -> list[str]:
    found = await rows(space, "SELECT state FROM notice WHERE agency = :agency", agency=agency)
    return [row.state for row in found]


async def all_read(space: Space, *records: tuple[bytes, bytes]) -> bool:
    """Whether the service has taken every one of these records."""
    keys = [key for key, _ in records]
    found = await rows(
        space, "SELECT key FROM sequence_in WHERE key = ANY(CAST(:keys AS bytea[]))", keys=keys
    )
    return len(found) == len(set(keys))


async def test_each_fact_that_waits_for_a_registered_desk_is_told_to_it_once(
    space: Space, server: MailServer, place: tuple[str, str]
) -> None:
    agency, address = place
    desks = [f"desk-{number}" for number in range(5)]
    records = [record(waiting(agency, desk)) for desk in desks]
    others = [record(waiting(agency, "day")), record(waiting(agency + "-other")), record(waiting(None))]
    for desk in desks:
        await register(space, agency, address, desk)

    async with a_service(space, server):
        await produce(space, *records, *others, *records)
        await until(lambda: all_read(space, *records, *others))
        await until(lambda: len(server.to(address)) >= len(records))
        await until(lambda: _all_sent(space, agency))

    assert len(server.mails) == len(server.to(address)) == len(records)
    assert (
        len(await rows(space, "SELECT event FROM notice WHERE agency LIKE :agency", agency=f"{agency}%")) == 5
    )


async def _all_sent(space: Space, agency: str) -> bool:
    return set(await states(space, agency)) == {"sent"}


async def test_an_agency_sees_and_changes_its_own_desks_alone(
    space: Space, client: ClientOf, place: tuple[str, str]
) -> None:
    agency, address = place
    await admit(space, an_agency(agency), an_agency(agency + "-other"))
    async with client(agency) as own, client(agency + "-other") as other:
        created = await own.put("/v1/duty-desks/night", json={"mail": address, "language": "fr"})
        theirs = await other.put("/v1/duty-desks/night", json={"mail": "x@other.example", "language": "ar"})
        changed = await own.put("/v1/duty-desks/night", json={"mail": address, "language": "sw"})
        listed = await own.get("/v1/duty-desks")

    assert [created.status_code, theirs.status_code, changed.status_code] == [200] * 3
    assert listed.json() == {"data": [changed.json()], "next": None}
    assert changed.json() == {
        "code": "night", "mail": address, "language": "sw", "undeliverable_since": None,
    }  # fmt: skip


async def test_bad_input_is_refused_by_name_and_never_echoed(
    space: Space, client: ClientOf, place: tuple[str, str]
) -> None:
    agency, _ = place
    good = {"mail": "planted@desk.example", "language": "en"}
    bad_mails = [
        "planted",
        "a@planted",
        "planted@x.example\r\nBcc: y@z.example",
        "planted@x.example\t",
        "planted@x.example, other@x.example",
        "plänted@x.example",
        "planted@plänted.example",
        "p@" + "planted." * 40 + "example",
        "Planted <p@x.example>",
        "p" * 300,
    ]
    await admit(space, an_agency(agency))
    async with client(agency) as own:
        answers = [await own.put("/v1/duty-desks/night", json={**good, "mail": mail}) for mail in bad_mails]
        answers += [
            await own.put("/v1/duty-desks/night", json={**good, "language": "planted"}),
            await own.put("/v1/duty-desks/night", json={**good, "note": "planted"}),
            await own.put("/v1/duty-desks/Planted!", json=good),
        ]
        listed = await own.get("/v1/duty-desks")

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(422, "invalid")}
    assert not [answer for answer in answers if "lanted" in answer.text]
    assert listed.json()["data"] == []


async def test_an_agency_cannot_register_desks_without_end(
    space: Space, client: ClientOf, place: tuple[str, str]
) -> None:
    agency, address = place
    hundred = "SELECT :agency, 'desk-' || n, 'a@b.example', 'en' FROM generate_series(1, 100) AS n"
    await rows(space, f"INSERT INTO desk {hundred} RETURNING code", agency=agency)
    entry = {"mail": address, "language": "en"}
    await admit(space, an_agency(agency))

    async with client(agency) as own:
        one_more = await own.put("/v1/duty-desks/night", json=entry)
        known = await own.put("/v1/duty-desks/desk-7", json=entry)

    assert (one_more.status_code, one_more.json()["code"]) == (409, "too_many_desks")
    assert known.status_code == 200


async def test_only_an_admitted_agency_has_a_desk_and_a_suspended_one_cannot_redirect_it(
    space: Space, server: MailServer, place: tuple[str, str]
) -> None:
    agency, address = place
    entry = {"mail": address, "language": "en"}

    async def put(client: httpx2.AsyncClient, mail: str = address, **claims: str) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {a_token(space, claims.pop('agency', agency), **claims)}"}
        answer = await client.put("/v1/duty-desks/night", json={**entry, "mail": mail}, headers=headers)
        return answer.status_code, answer.json().get("code")

    async with a_service(space, server) as client, client(agency) as own:
        before = await put(own)
        await say(space, an_agency(agency))
        await until(lambda: _is(own.get("/v1/duty-desks"), 200))
        nurse, planted = await put(own, role="nurse"), await put(own, role="planted")
        admitted, stranger = await put(own), await put(own, agency=agency + "-never")
        elsewhere = await put(own, service="health")
        await say(space, an_agency(agency, version=2, status="suspended"))
        await until(lambda: _is(own.get("/v1/duty-desks"), 403))
        redirected = await put(own, "elsewhere@agency.example")

    assert before == stranger == (403, "agency_not_admitted")
    assert (nurse, planted) == ((403, "role_forbids"), (403, "unknown_role"))
    assert elsewhere == (401, "unauthenticated")
    assert admitted == (200, "night")
    assert redirected == (403, "agency_inactive")
    found = await rows(space, "SELECT agency, mail FROM desk WHERE agency LIKE :agency", agency=f"{agency}%")
    assert [tuple(row) for row in found] == [(agency, address)]


async def test_what_two_holders_did_not_sign_is_set_aside_and_the_last_good_one_stays(
    space: Space, server: MailServer, place: tuple[str, str]
) -> None:
    agency, _ = place
    good = an_agency(agency)
    suspended = good.model_copy(update={"version": 4, "status": "suspended", "signatures": ()})
    bad = [
        signed(an_agency(agency, version=2, sector="police"), HOLDERS[0]),
        good.model_copy(update={"version": 3}),
        suspended.model_copy(update={"version": 3, "sector": "police"}),
    ]
    async with a_service(space, server) as client, client(agency) as own, client(agency + "-x") as other:
        await say(space, good, sequence=1)
        for place_in_order, body in enumerate(bad, 2):
            await say(space, body, sequence=place_in_order)
        await say(space, an_agency(agency + "-x"), sequence=1)
        await until(lambda: _is(other.get("/v1/duty-desks"), 200))
        await until(lambda: _is(own.get("/v1/duty-desks"), 200))
        set_aside = "SELECT reason, path FROM dead_letter WHERE key = :key ORDER BY sequence"
        letters = await rows(space, set_aside, key=agency.encode())
        before = await rows(space, "SELECT version, sector FROM agency WHERE id = :agency", agency=agency)
        await say(space, suspended, sequence=9)
        await until(lambda: _is(own.get("/v1/duty-desks"), 403))

    assert [tuple(row) for row in letters] == [
        ("signed_once", "data/signatures"),
        ("signature_mismatch", "data/signatures"),
        ("unsigned", "data/signatures"),
    ]
    assert [tuple(row) for row in before] == [(1, "health")]


async def say(space: Space, agency: AgencyCurrent, sequence: int | None = None) -> None:
    """Publish an agency as governance does."""
    record = event_record(GOVERNANCE_STATE, agency, sequence=sequence or agency.version)
    await send_raw(space, "governance", GOVERNANCE_STATE.name(space.namespace), [record])


async def _is(answer: Awaitable[httpx2.Response], status: int) -> bool:
    return (await answer).status_code == status


CRASHES = {  # crash point → how often the desk is told
    "consumer.handled": 1,
    "consumer.committed": 1,
    "notice.sending": 1,
    "notice.sent": 2,  # the stated window: taken by the server, not yet written down
}


@pytest.mark.parametrize("crash_at", CRASHES)
async def test_a_killed_process_loses_no_mail_and_repeats_one_in_the_stated_window_alone(
    space: Space, server: MailServer, place: tuple[str, str], tmp_path: Path, crash_at: str
) -> None:
    agency, address = place
    log = tmp_path / "log"
    desks = ("night", "day", "weekend")
    records = [record(waiting(agency, desk)) for desk in desks]
    for desk in desks:
        await register(space, agency, address, desk)

    chosen = settings(space, server, 0)
    async with a_process("notifications", chosen, log, CONCERT_CRASH_AT=crash_at) as process:
        await produce(space, *records)
        assert await process.wait() == KILLED_BY_ITSELF
    told_before = len(server.to(address))
    await rows(space, "UPDATE notice SET due_at = written_at WHERE state = 'sending' RETURNING 1")
    async with a_service(space, server):
        await until(lambda: all_read(space, *records))
        await until(lambda: _all_sent(space, agency))

    assert told_before == CRASHES[crash_at] - 1
    mails = server.to(address)
    assert len(set(mails)) == len(records)
    assert len(mails) == len(records) - 1 + CRASHES[crash_at]
    text = log.read_text()
    told = [
        address,
        *(json.loads(value)["id"] for _, value in records),
        *(key.decode() for key, _ in records),
    ]
    assert "service_started" in text
    assert not [word for word in told if word in text]
