"""Notifications: each fact that waits for a registered desk brings one mail, whatever dies on the way."""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiokafka import AIOKafkaProducer
from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from schemas.events.governance import AgencyCurrent
from schemas.events.referral import FactBase, ReferralAcknowledged, ReferralOffered, ReferralWithdrawn
from schemas.topics import GOVERNANCE_STATE, REFERRALS_FACTS
from schemas.wire.envelope import HEADERS, write
from schemas.wire.topic import Topic, source_of
from services.notifications.api import described_app
from services.notifications.domain.mail import TEMPLATES
from services.notifications.domain.notice import Desk
from services.notifications.settings import Settings, SmtpSettings
from services.notifications.store import AgencyStore, DeskStore
from services.notifications.wiring import wire
from services.runtime.ids import new_id
from services.runtime.kafka import security
from services.runtime.openapi import document_of
from services.runtime.process import running
from services.runtime.settings import IssuerSettings, PortSettings
from tests.support.builders import an_agency
from tests.support.described import Description
from tests.support.mail_server import SENDER, MailServer, a_mail_server
from tests.support.platform import CELL, Space
from tests.support.ports import free_port
from tests.support.waiting import until

REPOSITORY = Path(__file__).parents[2]
ISSUER = f"urn:concert:{CELL}:local-issuer"
KILLED = 137
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


@asynccontextmanager
async def a_service(space: Space, server: MailServer) -> AsyncIterator[Callable[[str], httpx2.AsyncClient]]:
    """The service in this process; gives clients of its API by agency."""
    port = free_port()
    chosen = settings(space, server, port)

    def client(agency: str) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {a_token(space, agency)}"}
        return httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers=headers,
            event_hooks={"response": [DESCRIPTION.check]},
        )

    async with running("notifications", chosen, wire):
        yield client


def a_token(space: Space, agency: str, **changes: Any) -> str:
    key = ECKey.import_key(json.loads(space.platform.secrets.issuer_key_file().read_text()))
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": ISSUER,
        "aud": source_of(CELL, "notifications"),
        "iat": now,
        "exp": now + 300,
        "jti": new_id("event"),
        "sub": "staff-1",
        "act": {"client_id": "client-1"},
        "agency": agency,
        "role": "caseworker",
        **changes,
    }
    return jwt.encode({"alg": "ES384", "typ": "at+jwt", "kid": key.kid}, claims, key, algorithms=["ES384"])


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def place(numbers: Iterator[int]) -> tuple[str, str]:
    """An agency of this test alone, and its desk's address."""
    number = next(numbers)
    return f"agency-{number}", f"desk-{number}@agency.example"


async def register(space: Space, agency: str, mail: str, code: str = "night", language: Any = "en") -> None:
    database = space.database("notifications")
    async with database.transaction() as transaction:
        await DeskStore(transaction).register(Desk(agency, code, SecretStr(mail), language))
    await database.close()


async def admit(space: Space, *agencies: AgencyCurrent) -> None:
    database = space.database("notifications")
    async with database.transaction() as transaction:
        await AgencyStore(transaction).keep(agencies)
    await database.close()


def waiting(agency: str | None, desk: str | None = "night") -> FactBase:
    return ReferralAcknowledged(
        referral=new_id("referral"), state="acknowledged", awaits=agency, awaits_desk=desk if agency else None
    )


def record(fact: FactBase) -> tuple[bytes, bytes]:
    value = write(
        REFERRALS_FACTS,
        fact,
        id=new_id("event"),
        source=source_of(CELL, "referrals"),
        sequence=1,
        at=datetime.now(UTC),
    )
    return fact.referral.encode(), value


async def produce(space: Space, *records: tuple[bytes, bytes], topic: Topic = REFERRALS_FACTS) -> None:
    """Write records to a topic as its writer does."""
    producer = AIOKafkaProducer(**security(space.kafka_settings(topic.writer)))
    await producer.start()
    try:
        for key, value in records:
            await producer.send_and_wait(topic.name(space.namespace), value, key=key, headers=list(HEADERS))
    finally:
        await producer.stop()


async def rows(space: Space, sql: str, **parameters: Any) -> list[Any]:
    database = space.database_as_admin("notifications")
    async with database.transaction() as transaction:
        found = await transaction.rows(sql, **parameters)
    await database.close()
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


async def test_no_mail_tells_one_occasion_or_language_from_another(
    space: Space, server: MailServer, place: tuple[str, str]
) -> None:
    agency, _ = place
    referral = new_id("referral")
    expected = {"awaits": agency, "referral": referral}
    facts: list[FactBase] = []
    for language in TEMPLATES:
        await register(space, agency, f"{language}@{agency}.example", f"desk-{language}", language)
        facts.append(
            ReferralOffered(
                **{**expected, "referral": new_id("referral")},
                awaits_desk=f"desk-{language}",
                state="offered",
                needs=("legal_aid",),
                urgency="critical",
                minor=True,
                weapons=True,
            )
        )
    await register(space, agency, f"other@{agency}.example", "desk-other")
    facts.append(
        ReferralWithdrawn(
            **expected,
            awaits_desk="desk-other",
            state="withdrawn",
            stop_contact=True,
            seal_by_at=datetime.now(UTC) + timedelta(days=1),
        )
    )
    events = [record(fact) for fact in facts]

    async with a_service(space, server):
        await produce(space, *events)
        await until(lambda: len(server.mails) >= len(facts))

    contents = [content for _, content in server.mails]
    assert len({len(content) for content in contents}) == 1
    told = [fact.referral for fact in facts] + [json.loads(value)["id"] for _, value in events]
    hidden = [*told, "legal", "critical", "withdrawn", "offered", "minor"]
    assert not [word for word in hidden for content in contents if word.encode() in content]


async def test_an_agency_sees_and_changes_its_own_desks_alone(
    space: Space, server: MailServer, place: tuple[str, str]
) -> None:
    agency, address = place
    await admit(space, an_agency(agency), an_agency(agency + "-other"))
    async with a_service(space, server) as client, client(agency) as own, client(agency + "-other") as other:
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
    space: Space, server: MailServer, place: tuple[str, str]
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
    async with a_service(space, server) as client, client(agency) as own:
        answers = [await own.put("/v1/duty-desks/night", json={**good, "mail": mail}) for mail in bad_mails]
        answers += [
            await own.put("/v1/duty-desks/night", json={**good, "language": "planted"}),
            await own.put("/v1/duty-desks/night", json={**good, "note": "planted"}),
            await own.put("/v1/duty-desks/Planted!", json=good),
        ]
        twice = await own.put(
            "/v1/duty-desks/night",
            content='{"mail":"planted","mail":"planted"}',
            headers={"content-type": "application/json"},
        )
        listed = await own.get("/v1/duty-desks")

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(422, "invalid")}
    assert (twice.status_code, twice.json()["code"]) == (400, "malformed")
    assert not [answer for answer in [*answers, twice] if "lanted" in answer.text]
    assert listed.json()["data"] == []


async def test_an_agency_cannot_register_desks_without_end(
    space: Space, server: MailServer, place: tuple[str, str]
) -> None:
    agency, address = place
    for number in range(100):
        await register(space, agency, address, f"desk-{number}")
    entry = {"mail": address, "language": "en"}
    await admit(space, an_agency(agency))

    async with a_service(space, server) as client, client(agency) as own:
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
        await say(space, an_agency(agency, version=2, status="suspended"))
        await until(lambda: _is(own.get("/v1/duty-desks"), 403))
        redirected = await put(own, "elsewhere@agency.example")

    assert before == stranger == (403, "agency_not_admitted")
    assert (nurse, planted) == ((403, "role_forbids"), (403, "unknown_role"))
    assert admitted == (200, "night")
    assert redirected == (403, "agency_inactive")
    found = await rows(space, "SELECT agency, mail FROM desk WHERE agency LIKE :agency", agency=f"{agency}%")
    assert [tuple(row) for row in found] == [(agency, address)]


async def say(space: Space, agency: AgencyCurrent) -> None:
    """Publish an agency as governance does."""
    value = write(
        GOVERNANCE_STATE,
        agency,
        id=new_id("event"),
        source=source_of(CELL, "governance"),
        sequence=agency.version,
        at=datetime.now(UTC),
    )
    await produce(space, (agency.agency.encode(), value), topic=GOVERNANCE_STATE)


async def _is(answer: Awaitable[httpx2.Response], status: int) -> bool:
    return (await answer).status_code == status


async def test_nobody_is_answered_without_a_token_for_this_service(
    space: Space, server: MailServer, place: tuple[str, str]
) -> None:
    agency, _ = place
    foreign = a_token(space, agency, aud=source_of(CELL, "health"))
    async with a_service(space, server) as client, client(agency) as own:
        answers = [
            await own.get("/v1/duty-desks", headers={"authorization": header})
            for header in ("", "Bearer nothing", f"Bearer {foreign}")
        ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "unauthenticated")}


def environment(chosen: Settings, crash_at: str) -> Mapping[str, str]:
    assert chosen.kafka
    return {
        "PATH": os.environ["PATH"],
        "CONCERT_MODE": chosen.mode,
        "CONCERT_CELL": chosen.cell,
        "CONCERT_DATABASE__URL": chosen.database.url,
        "CONCERT_DATABASE__PASSWORD_FILE": str(chosen.database.password_file),
        "CONCERT_KAFKA__BOOTSTRAP": chosen.kafka.bootstrap,
        "CONCERT_KAFKA__USER": chosen.kafka.user,
        "CONCERT_KAFKA__PASSWORD_FILE": str(chosen.kafka.password_file),
        "CONCERT_KAFKA__NAMESPACE": chosen.kafka.namespace,
        "CONCERT_ISSUER__NAME": chosen.issuer.name,
        "CONCERT_ISSUER__KEYS_FILE": str(chosen.issuer.keys_file),
        "CONCERT_SMTP__HOST": chosen.smtp.host,
        "CONCERT_SMTP__PORT": str(chosen.smtp.port),
        "CONCERT_SMTP__SENDER": chosen.smtp.sender,
        "CONCERT_SMTP__ENCRYPTION": chosen.smtp.encryption,
        "CONCERT_CRASH_AT": crash_at,
    }


@asynccontextmanager
async def a_process(space: Space, server: MailServer, log: Path, crash_at: str = "") -> AsyncIterator[Any]:
    """The service as a process of its own, ended at the end."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.notifications",
            "run",
            cwd=REPOSITORY,
            env=environment(settings(space, server, 0), crash_at),
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


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

    async with a_process(space, server, log, crash_at) as process:
        await produce(space, *records)
        assert await process.wait() == KILLED
    told_before = len(server.to(address))
    await rows(space, "UPDATE notice SET due_at = written_at WHERE state = 'sending' RETURNING 1")
    async with a_process(space, server, log):
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


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM desk",
        "DELETE FROM notice",
        "UPDATE message_key SET key = ''",
        "INSERT INTO message_key (key) VALUES ('')",
        "DELETE FROM message_key",
    ],
)
async def test_the_service_has_no_right_that_it_does_not_need(space: Space, statement: str) -> None:
    database = space.database("notifications")

    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.transaction() as transaction:
            await transaction.run(statement)

    await database.close()
