"""One sector with its real database, the real broker, the real trail: what is taken, told, shown and lost."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiokafka import AIOKafkaProducer
from asyncpg import PostgresError

from schemas.events.facts import FactBase, ReferralOffered, StepRefused
from schemas.events.referral import OfferReferral, WithdrawReferral
from schemas.topics import DIRECTORY_STATE, GOVERNANCE_STATE, INBOX
from schemas.topics import STEPS as STEP_TOPICS
from schemas.wire.body import Body
from schemas.wire.envelope import HEADERS, read, write
from schemas.wire.hpke import new_pair
from schemas.wire.key_records import sign_key_record
from schemas.wire.topic import Topic, source_of
from services.audit.settings import LogKeySettings, Settings, SignerSettings
from services.audit.wiring import wire as wire_audit
from services.audit.wiring import wire_signer
from services.health.profile import PROFILE
from services.runtime.clock import SystemClock
from services.runtime.ids import new_id
from services.runtime.kafka import security
from services.runtime.process import running
from services.runtime.settings import IssuerSettings, PortSettings
from services.sector.settings import AuditSettings, SectorSettings, VaultAddress
from services.sector.vault.process import make_vault, serve
from services.sector.vault.settings import TrailKeys, VaultPlaces, VaultSettings
from services.sector.wiring import wire
from tests.support.builders import (
    RECEIVER,
    SERVICE,
    a_protocol_current,
    a_service,
    agency_key,
    an_agency,
    an_entry,
    organization_of,
)
from tests.support.platform import CELL, Space
from tests.support.ports import free_port
from tests.support.processes import KILLED_BY_ITSELF, a_process
from tests.support.scenes import CONSENT as SHORT_CONSENT
from tests.support.scenes import PERSONAL, SCOPE, an_offer_asked
from tests.support.tokens import signed_token
from tests.support.waiting import until

ORIGIN = "audit.localhost/demo/2026"
ISSUER = f"urn:concert:{CELL}:local-issuer"
HERE = source_of(CELL, "health")
OWN, OTHER = "quay-clinic", "hill-clinic"
FAR = "harbour-social"
CONSENT = SHORT_CONSENT | {"scope": SCOPE | {"expires_at": "2099-01-01T00:00:00Z"}}
numbers = itertools.count(1)


class Wire:
    """A sector, its trail, and clients of its API."""

    def __init__(self, space: Space, folder: Path) -> None:
        self.space = space
        self.folder = folder
        self.trail_port = free_port()
        self.api_port = free_port()

    def settings(self, **changes: Any) -> SectorSettings:
        made = self.space.platform.secrets
        return self.space.settings(
            SectorSettings,
            "health",
            ports=PortSettings(api=self.api_port),
            issuer=IssuerSettings(name=ISSUER, keys_file=made.issuer_public_file()),
            log=ORIGIN,
            trail_url=f"https://127.0.0.1:{self.trail_port}",
            audit=AuditSettings(
                permit_key=made.verification_key("permit", f"{ORIGIN}/permit"),
                log_key=made.verification_key("log", ORIGIN),
            ),
            signing_key_file=made.key_file("signing-health"),
            vault=VaultAddress(socket=self.folder / "vault.socket", key=made.public_key("vault-health")),
            peers={},
            report_every_seconds=0.1,
            **changes,
        )

    @asynccontextmanager
    async def vault(self) -> AsyncIterator[None]:
        made = self.space.platform.secrets
        settings = VaultSettings(
            mode="local",
            cell=CELL,
            log=ORIGIN,
            audit=TrailKeys(
                permit_key=made.verification_key("permit", f"{ORIGIN}/permit"),
                log_key=made.verification_key("log", ORIGIN),
            ),
            governance_keys_file=self.space.platform.governance_keys_file(),
            vault=VaultPlaces(folder=self.folder, signing_key_file=made.key_file("vault-health")),
        )
        task = asyncio.create_task(serve(make_vault("health", settings), self.folder))
        try:
            await until(lambda: _exists(self.folder / "vault.socket"))
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    @asynccontextmanager
    async def trail(self) -> AsyncIterator[None]:
        made = self.space.platform.secrets
        settings = Settings(
            mode="local",
            cell=CELL,
            database=self.space.database_settings("audit"),
            tls=self.space.tls_settings("audit"),
            ports=PortSettings(internal=self.trail_port),
            log=ORIGIN,
            permit_key_file=made.key_file("permit"),
            wrap_key_file=made.key_file("wrap"),
            audit=LogKeySettings(log_key=made.verification_key("log", ORIGIN)),
        )
        signer = SignerSettings(
            mode="local",
            cell=CELL,
            database=self.space.database_settings("audit", "audit_sign"),
            log=ORIGIN,
            log_key_file=made.key_file("log"),
            high_water_file=self.folder / "high_water",
        )
        async with running("audit", settings, wire_audit), running("audit", signer, wire_signer):
            yield

    def client(self, agency: str = OWN) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {self.token(agency)}", "concert-purpose": "care"}
        return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.api_port}", headers=headers, timeout=30)

    def token(self, agency: str) -> str:
        key = self.space.platform.secrets.issuer_key_file()
        who = {"agency": agency, "staff": "staff-1", "role": "caseworker"}
        return signed_token(key, ISSUER, CELL, services=["health"], **who)

    async def rows(self, sql: str, **parameters: Any) -> list[Any]:
        async with self.space.transaction("health", as_admin=True) as transaction:
            return list(await transaction.rows(sql, **parameters))

    async def produce(self, user: str, topic: Topic, *bodies: tuple[str, int, Body]) -> None:
        """Write events as their real writer does: key, sequence, body."""
        producer = AIOKafkaProducer(**security(self.space.kafka_settings(user)))
        await producer.start()
        try:
            for key, sequence, body in bodies:
                value = write(
                    topic,
                    body,
                    id=new_id("event"),
                    source=source_of(CELL, user),
                    sequence=sequence,
                    at=datetime.now(UTC),
                )
                name = topic.name(self.space.namespace)
                await producer.send_and_wait(name, value, key=key.encode(), headers=list(HEADERS))
        finally:
            await producer.stop()

    async def tell(self, *facts: tuple[int, FactBase]) -> None:
        await self.produce("referrals", INBOX["health"], *((fact.referral, at, fact) for at, fact in facts))

    async def offer(self, client: httpx2.AsyncClient, **changes: Any) -> httpx2.Response:
        case = (await self.post(client, "/v1/cases", {"reference": PERSONAL})).json()["id"]
        consent = await self.post(client, f"/v1/cases/{case}/consents", CONSENT)
        return await self.post(client, "/v1/referrals", offer_on(case, consent.json()["id"], **changes))

    async def post(self, client: httpx2.AsyncClient, path: str, body: Any, **headers: str) -> httpx2.Response:
        return await client.post(path, json=body, headers={"Idempotency-Key": f"k-{next(numbers)}"} | headers)

    async def steps(self) -> list[Any]:
        """Every step that left or is about to leave, in order."""
        found = await self.rows(
            "SELECT id, key, value FROM outbox UNION ALL SELECT id, key, value FROM outbox_sent ORDER BY id"
        )
        found = [row for row in found if not row.key.startswith(b"rcp_")]
        topic = STEP_TOPICS["health"]
        return [read(topic, HEADERS, row.key, row.value, cell=CELL, mode="local").body for row in found]


def offer_on(case: str, consent: str, **changes: Any) -> dict[str, Any]:
    return an_offer_asked(case, consent, **({"recipient": RECEIVER} | changes))


def offered(referral: str, to: str = OWN, number: int = 1) -> ReferralOffered:
    content = {
        "referral": referral, "to": to, "number": number, "state": "offered", "owner": FAR, "receiver": to,
        "needs": ["medical_care"], "feedback_allowed": True, "protocol": a_protocol_current().hash,
    }  # fmt: skip
    return ReferralOffered.model_validate(content)


def refused(referral: str, number: int, to: str = OWN) -> StepRefused:
    return StepRefused(
        referral=referral, to=to, number=number, step=new_id("event"), asked="start", code="wrong_state"
    )


@pytest.fixture(scope="module")
async def at_work(space: Space, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wire]:
    """Trail and sector running, two clinics admitted, one entry listed."""
    made = Wire(space, tmp_path_factory.mktemp("wire"))
    async with made.vault(), made.trail(), running("health", made.settings(), wire(PROFILE)):
        await admit(made)
        yield made


async def _exists(file: Path) -> bool:
    return file.exists()


async def admit(made: Wire) -> None:
    agencies = [an_agency(name, sector="health") for name in (OWN, OTHER, RECEIVER)]
    protocol = a_protocol_current()
    await made.produce(
        "governance",
        GOVERNANCE_STATE,
        *((one.agency, 1, one) for one in agencies),
        (protocol.document.id, 1, protocol),
    )
    await made.produce(
        "referrals", DIRECTORY_STATE, (SERVICE, 1, an_entry(organization=organization_of(OWN)))
    )
    async with made.client() as client:

        async def listed() -> bool:
            [entry] = (await client.get("/v1/services")).json().get("data") or [{}]  # 403 until it is known
            return bool(entry.get("agency") == OWN)

        await until(listed)


async def shown(client: httpx2.AsyncClient, path: str) -> httpx2.Response:
    """A look, once the trail knows its subjects."""

    async def look() -> httpx2.Response | None:
        answer = await client.get(path)
        return answer if answer.status_code != 503 else None

    found: httpx2.Response = await until(look)
    return found


async def test_an_offer_leaves_as_a_step_and_its_owner_sees_it_through_the_trail(at_work: Wire) -> None:
    async with at_work.client() as client:
        answer = await at_work.offer(client)
        assert answer.status_code == 202, answer.text
        referral = answer.json()["referral"]

        seen = await shown(client, f"/v1/referrals/{referral}")

    assert (seen.status_code, seen.headers["etag"], seen.json()["role"]) == (200, '"0"', "owner")
    [step] = [step for step in await at_work.steps() if step.referral == referral]
    assert isinstance(step, OfferReferral)
    assert step.consent.purpose == "care"


async def test_a_received_referral_is_told_awaited_shown_and_answered(at_work: Wire) -> None:
    referral = new_id("referral")
    async with at_work.client() as client:
        position = (await client.get("/v1/events")).json()["next"]
        waiting = asyncio.ensure_future(client.get(f"/v1/events?after={position}&wait=25"))
        await register(at_work, referral)
        await at_work.tell((1, offered(referral)))

        told = (await waiting).json()
        beyond = await client.get(f"/v1/events?after={told['next'] + 1000}")
        worklist = (await shown(client, "/v1/worklist")).json()
        seen = await client.get(f"/v1/referrals/{referral}")
        answer = await at_work.post(
            client,
            f"/v1/referrals/{referral}/acceptances",
            {"duty": "desk", "appointment": "today"},
            **{"If-Match": seen.headers["etag"]},
        )

    assert [(one["position"], one["referral"]) for one in told["data"]] == [(position + 1, referral)]
    assert (beyond.status_code, beyond.json()["code"]) == (422, "cursor_unreadable")
    assert referral in [row["referral"] for row in worklist["data"]]
    assert seen.json()["offer"]["needs"] == ["medical_care"]
    assert answer.status_code == 202
    assert [step.type for step in await at_work.steps() if step.referral == referral] == ["referral.accept"]


async def register(made: Wire, referral: str) -> None:
    """Let the trail know a referral whose owner is another sector."""
    from services.runtime.peers import internal_client

    tls = made.space.tls_settings("police")
    async with internal_client(tls, "audit", base_url=f"https://127.0.0.1:{made.trail_port}") as client:
        key = {"id": referral, "key": "A" * 43 + "=", "retention": "case"}
        answer = await client.post("/v1/subjects", json={"subjects": [key]})
        assert answer.json()["results"] == [{"id": referral}]


async def test_positions_of_a_feed_have_no_gap_and_no_repeat(at_work: Wire) -> None:
    referrals = [new_id("referral") for _ in range(20)]
    facts: list[tuple[int, FactBase]] = [(1, offered(one, OTHER)) for one in referrals]
    facts += [(at, refused(one, at, OTHER)) for one in referrals for at in (2, 3)]

    await at_work.tell(*facts)

    async with at_work.client(OTHER) as client:

        async def all_told() -> list[Any] | None:
            events = (await client.get("/v1/events")).json()["data"]
            return events if len(events) >= len(facts) else None

        events = await until(all_told)
    assert [one["position"] for one in events] == list(range(1, len(facts) + 1))
    for referral in referrals:
        assert [one["number"] for one in events if one["referral"] == referral] == [1, 2, 3]


async def test_a_fact_out_of_number_is_set_aside_and_the_rest_of_the_batch_goes_on(at_work: Wire) -> None:
    good, bad, foreign = (new_id("referral") for _ in range(3))
    await at_work.produce("governance", GOVERNANCE_STATE, (FAR, 1, an_agency(FAR)))

    await at_work.tell(
        (1, offered(bad)), (2, refused(bad, 4)), (1, offered(good)), (1, offered(foreign, FAR))
    )

    async def views() -> list[Any]:
        return await at_work.rows(
            "SELECT referral, number FROM referral_view WHERE referral = ANY(CAST(:all AS text[]))",
            all=[good, bad, foreign],
        )

    async def letters() -> list[Any]:
        return await at_work.rows(
            "SELECT reason, path FROM dead_letter WHERE key = ANY(CAST(:keys AS bytea[]))",
            keys=[bad.encode(), foreign.encode()],
        )

    await until(lambda: _reached(letters, 2))
    await until(lambda: _reached(views, 2))
    assert {tuple(row) for row in await letters()} == {
        ("schema_mismatch", "/number"),
        ("schema_mismatch", "/to"),
    }
    assert {tuple(row) for row in await views()} == {(good, 1), (bad, 1)}


async def _reached(count: Any, wanted: int) -> bool:
    return len(await count()) >= wanted


async def test_the_same_request_many_times_at_once_acts_once(at_work: Wire) -> None:
    async with at_work.client() as client:
        case = (await at_work.post(client, "/v1/cases", {"reference": PERSONAL})).json()["id"]
        consent = (await at_work.post(client, f"/v1/cases/{case}/consents", CONSENT)).json()["id"]
        headers = {"Idempotency-Key": f"same-{case}"}

        answers = await asyncio.gather(
            *(client.post("/v1/referrals", json=offer_on(case, consent), headers=headers) for _ in range(6))
        )

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 5
    referral = answers[0].json()["referral"]
    assert len([step for step in await at_work.steps() if step.referral == referral]) == 1


async def test_no_offer_leaves_behind_the_withdrawal_of_its_consent(at_work: Wire) -> None:
    async with at_work.client() as client:
        for _ in range(10):
            case = (await at_work.post(client, "/v1/cases", {"reference": PERSONAL})).json()["id"]
            consent = (await at_work.post(client, f"/v1/cases/{case}/consents", CONSENT)).json()["id"]
            body = offer_on(case, consent)
            referral = (await at_work.post(client, "/v1/referrals", body)).json()["referral"]

            answers = await asyncio.gather(
                at_work.post(client, "/v1/referrals", body),
                at_work.post(client, f"/v1/referrals/{referral}/withdrawals", {"duty": "desk"}),
                at_work.post(client, "/v1/referrals", body),
            )

            assert answers[1].status_code == 202
            assert {answer.status_code for answer in answers} <= {202, 403}
            own = {answer.json()["referral"] for answer in answers if answer.status_code == 202}
            kinds = [type(step) for step in await at_work.steps() if step.referral in own]
            assert kinds[kinds.index(WithdrawReferral) :] == [WithdrawReferral]
            after = await at_work.post(client, "/v1/referrals", body)
            assert (after.status_code, after.json()["code"]) == (403, "consent_does_not_cover")


async def test_a_consent_that_was_changed_behind_the_services_back_carries_no_offer(at_work: Wire) -> None:
    async with at_work.client() as client:
        case = (await at_work.post(client, "/v1/cases", {"reference": PERSONAL})).json()["id"]
        consent = (await at_work.post(client, f"/v1/cases/{case}/consents", CONSENT)).json()["id"]
        await at_work.rows(
            """UPDATE consent_version
            SET document = jsonb_set(document, '{scope,groups}', '["clinical", "legal"]')
            WHERE id = :id RETURNING id""",
            id=consent,
        )

        answer = await at_work.post(client, "/v1/referrals", offer_on(case, consent))

    assert (answer.status_code, answer.json()["code"]) == (403, "consent_does_not_cover")


FORBIDDEN = (
    "UPDATE consent_version SET signature = ''",
    "DELETE FROM consent_version",
    "DELETE FROM consent_withdrawal",
    "UPDATE consent_withdrawal SET withdrawn_at = now()",
    "DELETE FROM case_file",
    "DELETE FROM referral_view",
    "UPDATE feed_event SET code = ''",
    "DELETE FROM permit_used",
    "DELETE FROM idempotency",
    "UPDATE trail_outbox SET content = ''",
    "DROP TABLE case_file",
)


@pytest.mark.parametrize("sql", FORBIDDEN)
async def test_the_services_role_cannot_undo_what_must_stay(at_work: Wire, sql: str) -> None:
    database = at_work.space.database("health")
    try:
        with pytest.raises(PostgresError, match=r"permission denied|must be owner"):
            async with database.transaction() as transaction:
                await transaction.run(sql)
    finally:
        await database.close()


async def test_while_the_trail_is_away_nothing_is_shown_and_nothing_is_lost(
    platform: Any, tmp_path: Path
) -> None:
    space = Space(platform)
    made = Wire(space, tmp_path)
    settings = made.settings(reports_max=30)
    async with made.vault(), running("health", settings, wire(PROFILE)) as service:
        await admit(made)
        async with made.client() as client:
            answer = await made.offer(client)
            referral = answer.json()["referral"]
            withdrawn = await made.post(client, f"/v1/referrals/{referral}/withdrawals", {"duty": "desk"})
            looks = [await client.get(path) for path in (f"/v1/referrals/{referral}", "/v1/worklist")]

            assert (answer.status_code, withdrawn.status_code) == (202, 202)
            assert [look.status_code for look in looks] == [503, 503]
            assert all(referral not in look.text and "retry-after" in look.headers for look in looks)
            kinds = [row.kind for row in await reports(made)]  # the denials before it was admitted come first
            assert kinds[-5:] == ["subjects", "events", "subjects", "events", "events"]
            other = (await made.offer(client)).json()["referral"]

            async def is_full() -> bool:
                """Whether a further step is refused for what waits."""
                answer = await made.post(client, "/v1/cases", {"reference": PERSONAL})
                return bool(answer.json().get("code") == "outbox_full")

            async def has_room() -> bool:
                return not await is_full()

            await until(is_full)
            assert {alarm.rule for alarm in (await service.health.look()).alarms} >= {"reports_full"}
            withdrawn = await made.post(client, f"/v1/referrals/{other}/withdrawals", {"duty": "desk"})
            assert withdrawn.status_code == 202, "she is not kept waiting"
            async with made.trail():
                await until(has_room)
                seen = await shown(client, f"/v1/referrals/{referral}")
                await until(lambda: _nothing_left(made))

    assert seen.status_code == 200
    space.close()


async def test_an_erased_case_stays_gone_after_a_restart_of_sector_and_trail(
    platform: Any, tmp_path: Path
) -> None:
    space = Space(platform)
    made = Wire(space, tmp_path)
    erase = {"duty": "intake"}

    @asynccontextmanager
    async def restarted() -> AsyncIterator[httpx2.AsyncClient]:
        sector = running("health", made.settings(), wire(PROFILE))
        async with made.vault(), made.trail(), sector, made.client() as client:
            yield client

    async with restarted() as client:
        await admit(made)
        referral = (await made.offer(client)).json()["referral"]
        kept = (await made.offer(client)).json()["referral"]
        path = f"/v1/referrals/{referral}"
        case = f"/v1/cases/{(await shown(client, path)).json()['case']}"
        erased = await made.post(client, f"{case}/erasures", erase)
        await until(lambda: _nothing_left(made))
    async with restarted() as client:
        gone = [await client.get(one) for one in (path, case, f"{case}/holders")]
        gone.append(await made.post(client, f"{case}/erasures", erase))
        listed = (await shown(client, "/v1/referrals")).json()["data"]

    assert erased.status_code == 202
    assert [(one.status_code, one.json()["code"]) for one in gone] == [(410, "case_erased")] * 4
    assert [row["referral"] for row in listed] == [kept]
    space.close()


async def reports(made: Wire) -> Sequence[Any]:
    return await made.rows("SELECT kind, refused FROM trail_outbox ORDER BY id")


async def _nothing_left(made: Wire) -> bool:
    return not await reports(made)


CRASHES = ("permit.asked", "permit.checked", "permit.settled", "trail.sent", "trail.settled")


@pytest.fixture(scope="module")
async def prepared(
    platform: Any, at_work: Wire, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Wire, str]]:
    """A sector with a database of its own and one referral, which stands still."""
    space = Space(platform)
    made = Wire(space, tmp_path_factory.mktemp("prepared"))
    made.trail_port = at_work.trail_port
    async with made.vault():
        async with running("health", made.settings(), wire(PROFILE)), made.client() as client:
            await admit(made)
            referral = (await made.offer(client)).json()["referral"]
            await until(lambda: _nothing_left(made))
        yield made, referral
    space.close()


@pytest.mark.parametrize("crash_at", CRASHES)
async def test_a_killed_sector_shows_nothing_unrecorded_and_its_reports_all_arrive(
    prepared: tuple[Wire, str], tmp_path: Path, crash_at: str
) -> None:
    made, referral = prepared
    path, log = f"/v1/referrals/{referral}", tmp_path / "log"
    used = await used_permits(made)

    doomed = a_process("health", made.settings(), log, CONCERT_CRASH_AT=crash_at)
    async with doomed as process, made.client() as client:
        await until(lambda: _answers(client))
        answer = await _until_killed(client, path, process)
    used_by_the_killed = await used_permits(made) - used
    async with running("health", made.settings(), wire(PROFILE)), made.client() as client:
        seen = await shown(client, path)
        await until(lambda: _nothing_left(made))

    assert process.returncode == KILLED_BY_ITSELF
    assert seen.status_code == 200
    # What was answered is settled; what died before the commit has used nothing up and shown nothing.
    assert used_by_the_killed == (0 if crash_at in ("permit.asked", "permit.checked") else 1)
    assert (answer is not None) == crash_at.startswith("trail.")
    assert not [word for word in (PERSONAL, referral) if word in log.read_text()]


async def used_permits(made: Wire) -> int:
    return int((await made.rows("SELECT count(*) AS used FROM permit_used"))[0].used)


async def _answers(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/v1/events")).status_code == 200
    except httpx2.TransportError:
        return False


async def _until_killed(
    client: httpx2.AsyncClient, path: str, process: asyncio.subprocess.Process
) -> httpx2.Response | None:
    """Look once; gives the answer, or None where the process died over it."""
    try:
        answer = await client.get(path)
    except httpx2.TransportError:
        answer = None
    await asyncio.wait_for(process.wait(), 30)
    return answer


CLOSING = ("closure.recorded", "closure.completed")


async def test_harm_6_a_withdrawal_of_a_killed_sector_stands_and_is_told_all_the_same(
    prepared: tuple[Wire, str], tmp_path: Path
) -> None:
    made, _ = prepared
    log = tmp_path / "log"
    for crash_at in CLOSING:
        doomed = a_process("health", made.settings(), log, CONCERT_CRASH_AT=crash_at)
        async with doomed as process, made.client() as client:
            if crash_at == "closure.recorded":
                await until(lambda: _answers(client))
                referral = (await made.offer(client)).json()["referral"]
                with pytest.raises(httpx2.TransportError):
                    await made.post(client, f"/v1/referrals/{referral}/withdrawals", {"duty": "intake"})
                left = await made.rows("SELECT id, task, done_at FROM closure")
                assert [type(step) for step in await steps_of(made, referral)] == [OfferReferral]
                await made.rows("UPDATE closure SET recorded_at = recorded_at - interval '1 hour'")
            assert await asyncio.wait_for(process.wait(), 30) == KILLED_BY_ITSELF
    async with running("health", made.settings(), wire(PROFILE)):
        await until(lambda: _nothing_left(made))

    [row] = left
    assert (row.done_at, row.task is None) == (None, False)
    assert [type(step) for step in await steps_of(made, referral)] == [OfferReferral, WithdrawReferral]
    [done] = await made.rows("SELECT done_at IS NOT NULL AS is_done, task FROM closure")
    assert (done.is_done, done.task) == (True, None)


async def steps_of(made: Wire, referral: str) -> list[Any]:
    return [step for step in await made.steps() if step.referral == referral]


PULL: dict[str, Any] = {"purpose": "care", "groups": ["clinical"]}


async def with_packet(made: Wire, client: httpx2.AsyncClient) -> str:
    """A referral of a case whose packet was written; its owner may pull what it recorded itself."""
    keys = made.space.platform.secrets
    service = a_service(
        "health", signing_key=keys.public_key("signing-health"), vault_key=keys.public_key("vault-health")
    )
    now = SystemClock().now()
    protocol = a_protocol_current(
        id="quay-now",
        parties=(OWN, OTHER),
        valid_from=now - timedelta(days=1),
        valid_until=now + timedelta(days=1),
    )
    await made.produce(
        "governance", GOVERNANCE_STATE, ("health", 1, service), (protocol.document.id, 1, protocol)
    )
    case = (await made.post(client, "/v1/cases", {"reference": PERSONAL})).json()["id"]
    headers = {"Idempotency-Key": "packet"}
    await client.put(f"/v1/cases/{case}/packet/clinical", json={"pep": "given"}, headers=headers)
    consent = (await made.post(client, f"/v1/cases/{case}/consents", CONSENT)).json()["id"]
    referral = str((await made.post(client, "/v1/referrals", offer_on(case, consent))).json()["referral"])
    fact = offered(referral).model_copy(update={"owner": OWN, "receiver": OTHER, "protocol": protocol.hash})
    await made.produce("referrals", INBOX["health"], (referral, 1, fact))
    record = sign_key_record(
        agency_key(OWN),
        holder=OWN,
        suite=1,
        public=new_pair(1)[1],
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=1),
    )
    registered = await client.put(f"/v1/keys/{record.key}", json=record.model_dump(mode="json"))
    assert registered.status_code == 200, registered.text
    await until(lambda: _is_ready(made, referral))
    return referral


async def _is_ready(made: Wire, referral: str) -> bool:
    ready = "SELECT 1 FROM referral_view, service_key WHERE referral = :referral AND state = 'offered'"
    return bool(await made.rows(ready, referral=referral)) and await _nothing_left(made)


async def test_a_sector_killed_over_a_release_has_used_nothing_up_and_releases_again(
    prepared: tuple[Wire, str], tmp_path: Path
) -> None:
    made, _ = prepared
    async with running("health", made.settings(), wire(PROFILE)), made.client() as client:
        referral = await with_packet(made, client)
    path, used = f"/v1/referrals/{referral}/packet-pulls", await used_permits(made)

    for crash_at in ("release.permitted", "release.given"):
        doomed = a_process("health", made.settings(), tmp_path / "log", CONCERT_CRASH_AT=crash_at)
        async with doomed as process, made.client() as client:
            await until(partial(_answers, client))
            with suppress(httpx2.TransportError):  # it may have got the answer, or not
                await made.post(client, path, PULL)
            assert await asyncio.wait_for(process.wait(), 30) == KILLED_BY_ITSELF
        assert await used_permits(made) == used
        assert not await made.rows("SELECT 1 FROM release_made")
    async with running("health", made.settings(), wire(PROFILE)), made.client() as client:
        answer = await made.post(client, path, PULL)
        await until(lambda: _nothing_left(made))

    assert answer.status_code == 200, answer.text
    assert (await used_permits(made), len(await made.rows("SELECT 1 FROM release_made"))) == (used + 1, 1)
