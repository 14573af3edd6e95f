"""The access trail on a real database: permits, reports, storms, fences, restarts, tampering, rights."""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from schemas.events.access import ACTS, Access, Item, PermitAnswer, PermitRequest, PublishedProofs
from schemas.trail.bytes import encoded
from schemas.trail.notes import named_key, signed_checkpoint
from schemas.trail.permits import PermitBody, Question, Trust, check_permit, read_permit
from schemas.trail.tree import verify_inclusion
from schemas.wire.topic import source_of
from services.audit.settings import LogKeySettings, Settings, SignerSettings
from services.audit.wiring import wire, wire_signer
from services.runtime.errors import Unavailable
from services.runtime.identity import Identity
from services.runtime.ids import new_id
from services.runtime.operator_acts import OperatorActs, record
from services.runtime.peers import internal_client
from services.runtime.process import running
from services.runtime.settings import PortSettings
from tests.support.access import SUBJECT, an_access
from tests.support.platform import CELL, Space
from tests.support.ports import free_port
from tests.support.waiting import until

ORIGIN = "audit.localhost/demo/2026"
OTHER = "ref_" + "b" * 26
CASE = "sub_" + "c" * 26


class Trail:
    """One log with its own database, files and ports."""

    def __init__(self, space: Space, folder: Path, origin: str = ORIGIN) -> None:
        self.space = space
        self.origin = origin
        self.folder = folder
        self.port = free_port()
        made = space.platform.secrets
        self.keys = {name: made.key_file(name) for name in ("permit", "wrap", "log")}
        self.log_key = made.verification_key("log", origin)
        permit_key = named_key(made.verification_key("permit", f"{origin}/permit"))
        self.trust = Trust(origin, (permit_key,), named_key(self.log_key))

    def settings(self, port: int | None = None) -> Settings:
        return Settings(
            mode="local",
            cell=CELL,
            database=self.space.database_settings("audit"),
            tls=self.space.tls_settings("audit"),
            ports=PortSettings(internal=port or self.port),
            log=self.origin,
            permit_key_file=self.keys["permit"],
            wrap_key_file=self.keys["wrap"],
            audit=LogKeySettings(log_key=self.log_key),
        )

    def signer_settings(self) -> SignerSettings:
        return SignerSettings(
            mode="local",
            cell=CELL,
            database=self.space.database_settings("audit", "audit_sign"),
            log=self.origin,
            log_key_file=self.keys["log"],
            high_water_file=self.folder / "high_water",
        )

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        async with (
            running("audit", self.settings(), wire),
            running("audit", self.signer_settings(), wire_signer),
        ):
            yield

    def client(self, service: str) -> httpx2.AsyncClient:
        return internal_client(
            self.space.tls_settings(service), "audit", base_url=f"https://127.0.0.1:{self.port}", seconds=30
        )


def request(words: Access, *items: Item, idem: bytes | None = None) -> PermitRequest:
    return PermitRequest(
        idem=idem or secrets.token_bytes(16), nonce=secrets.token_bytes(16), access=words, items=items
    )


LIST: Final = an_access(act="list", subject=None)
ROWS: Final = [Item(subject=subject) for subject in (SUBJECT, OTHER, CASE)]


async def ask(client: httpx2.AsyncClient, asked: PermitRequest) -> httpx2.Response:
    return await client.post("/v1/permits", json=asked.plain())


async def register(client: httpx2.AsyncClient, *subjects: str, key: bytes = b"k" * 32) -> list[Any]:
    body = {"subjects": [{"id": one, "key": encoded(key), "retention": "standard"} for one in subjects]}
    answer = await told(client, "/v1/subjects", body)
    return list(answer.json()["results"])


async def permitted(
    trail: Trail, client: httpx2.AsyncClient, asked: PermitRequest, service: str = "health"
) -> PermitBody:
    """Ask until the trail is open, and check the permit as whoever shows something must."""
    answer = await until(lambda: _answered(client, asked))
    return checked(answer, asked, trail, service)


def checked(
    answer: httpx2.Response, asked: PermitRequest, trail: Trail, service: str = "health", **known: Any
) -> PermitBody:
    question = Question(
        source_of(CELL, service), asked.plain(), time.monotonic(), ACTS[asked.access.act].lists, **known
    )
    words = PermitAnswer.model_validate_json(answer.content).model_dump()
    return check_permit(words, question, trail.trust, now=time.monotonic())


async def _answered(client: httpx2.AsyncClient, asked: PermitRequest) -> httpx2.Response | None:
    answer = await ask(client, asked)
    if answer.status_code == 503:
        return None
    assert answer.status_code == 201, answer.text
    return answer


async def told(client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> httpx2.Response:
    """What the trail says, once it says more than that it is closed for a moment: the machine may be busy."""

    async def once() -> httpx2.Response | None:
        answer = await client.post(path, json=body)
        return answer if answer.status_code != 503 else None

    answer: httpx2.Response = await until(once)
    return answer


@pytest.fixture(scope="module")
async def trail(space: Space, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trail]:
    trail = Trail(space, tmp_path_factory.mktemp("trail"))
    async with trail.up():
        async with trail.client("health") as client:
            await until(lambda: _open(client))
            await register(client, SUBJECT, CASE)
        yield trail


async def _open(client: httpx2.AsyncClient) -> bool:
    return (await ask(client, request(LIST))).status_code == 201


async def test_an_owner_gets_tags_that_only_its_key_makes(trail: Trail) -> None:
    asked = request(an_access(subject=CASE))
    async with trail.client("health") as client:
        answer = await told(client, "/v1/permits", asked.plain())

    assert checked(answer, asked, trail, tag_key=b"k" * 32).count == 1


async def test_a_storm_of_one_request_is_one_entry(trail: Trail) -> None:
    asked = request(an_access())
    async with trail.client("health") as client:
        answers = await asyncio.gather(*(until(lambda: _answered(client, asked)) for _ in range(200)))
    permits = [PermitAnswer.model_validate_json(answer.content).permit for answer in answers]

    assert len({read_permit(permit.body).index for permit in permits}) == 1


async def test_a_repeated_list_gets_its_items_again(trail: Trail) -> None:
    asked = request(LIST, Item(subject=SUBJECT), Item(subject=CASE))
    async with trail.client("health") as client:
        first = PermitAnswer.model_validate_json((await told(client, "/v1/permits", asked.plain())).content)
        again = await permitted(trail, client, asked)
        second = PermitAnswer.model_validate_json((await told(client, "/v1/permits", asked.plain())).content)

    assert again.count == 3
    assert second.items == first.items
    assert second.opening == first.opening


async def test_an_idem_belongs_to_its_caller_and_to_one_body(trail: Trail) -> None:
    asked = request(an_access())
    other = request(an_access(purpose="supervision"), idem=asked.idem).plain()
    async with trail.client("health") as health, trail.client("police") as police:
        await told(health, "/v1/permits", asked.plain())
        refused = await told(health, "/v1/permits", other)
        permitted_to_another = await told(police, "/v1/permits", other)

    assert (refused.status_code, refused.json()["code"]) == (409, "idem_conflict")
    assert permitted_to_another.status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "code", "places"),
    [
        (request(LIST, *ROWS).plain(), 409, "subject_unknown", ["/items/1/subject"]),
        (request(an_access(purpose=None)).plain(), 422, "detail_invalid", ["/access/purpose"]),
        (request(an_access()).plain() | {"nonce": "short"}, 422, "invalid", ["#/body/nonce"]),
    ],
)
async def test_what_is_wrong_is_named_and_gets_no_permit(
    trail: Trail, body: dict[str, Any], status: int, code: str, places: list[str]
) -> None:
    async with trail.client("health") as client:
        answer = await told(client, "/v1/permits", body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [error["pointer"] for error in answer.json().get("errors", [])] == places


async def test_an_outcome_stands_under_its_intent_and_for_its_caller_alone(trail: Trail) -> None:
    async with trail.client("health") as health, trail.client("police") as police:
        intent = await permitted(trail, health, request(an_access()))
        report = {
            "outcomes": [
                {
                    "idem": encoded(secrets.token_bytes(16)),
                    "origin": ORIGIN,
                    "intent": intent.index,
                    "result": "released",
                    "happened": "2026-03-02T12:00:00.000Z",
                }
            ]
        }
        own = await told(health, "/v1/outcomes", report)
        again = await told(health, "/v1/outcomes", report)
        foreign = await told(police, "/v1/outcomes", report)

    assert own.json()["results"][0]["index"] > intent.index
    assert again.json() == own.json()
    assert foreign.json()["results"][0]["problem"]["code"] == "not_yours"


async def test_events_are_answered_one_by_one(trail: Trail) -> None:
    consent = {"id": "cns_" + "d" * 26, "version": 1}
    given = an_access(act="consent", consent=consent, subject=CASE, explain=None).plain()
    event = {"mode": "with", "happened": "2026-03-02T12:00:00.000Z"}
    body = {
        "events": [
            {**event, "idem": encoded(secrets.token_bytes(16)), "access": given},
            {**event, "idem": encoded(secrets.token_bytes(16)), "access": an_access().plain()},
        ]
    }
    async with trail.client("health") as client, trail.client("police") as police:
        first, second = (await told(client, "/v1/events", body)).json()["results"]
        foreign = (await told(police, "/v1/events", {"events": body["events"][:1]})).json()["results"]

    assert first["origin"] == ORIGIN
    assert foreign[0]["problem"]["code"] == "not_yours"
    assert second["problem"] == {
        "status": 422,
        "code": "detail_invalid",
        "detail": "give what this act needs at the place named in errors",
        "pointer": "/access/act",
    }


async def test_a_subject_is_registered_once_by_its_owner(trail: Trail) -> None:
    subject = "ref_" + "e" * 26
    async with trail.client("health") as health, trail.client("police") as police:
        answers = [
            await register(health, subject),
            await register(health, subject),
            await register(health, subject, key=b"x" * 32),
            await register(police, subject),
        ]

    assert [one[0].get("id") or one[0]["problem"]["code"] for one in answers] == [
        subject,
        subject,
        "idem_conflict",
        "not_yours",
    ]


@pytest.mark.parametrize("service", ["referrals", "notifications", "operator"])
async def test_a_service_that_is_no_sector_registers_nothing(trail: Trail, service: str) -> None:
    subject = new_id("referral")
    body = {"subjects": [{"id": subject, "key": encoded(b"x" * 32), "retention": "standard"}]}
    async with trail.client(service) as other, trail.client("health") as health:
        answer = await told(other, "/v1/subjects", body)
        owner = await register(health, subject)

    assert (answer.status_code, answer.json()["code"]) == (403, "not_yours")
    assert owner == [{"id": subject}]


async def test_checkpoints_are_signed_in_blocks_while_the_log_grows(trail: Trail) -> None:
    async with trail.client("health") as client:
        permit = await permitted(trail, client, request(an_access()))

        async def covered() -> str | None:
            note = (await client.get("/log/demo/2026/checkpoint")).text
            return note if signed_checkpoint(note, trail.trust.log_key).size > permit.index else None

        note = await until(covered)

    assert signed_checkpoint(note, trail.trust.log_key).size % 16 == 0


async def test_what_is_published_is_proved_to_whoever_asks(trail: Trail) -> None:
    async with trail.client("health") as client:
        permit = await permitted(trail, client, request(an_access()))
        asked = {"indexes": [permit.index, 2**40]}

        async def proved() -> PublishedProofs | None:
            answer = await told(client, "/v1/proofs", asked)
            found = PublishedProofs.model_validate_json(answer.content)
            return found if found.proofs else None

        found: PublishedProofs = await until(proved)

    head = signed_checkpoint(found.checkpoint, trail.trust.log_key)
    [proof] = found.proofs  # of what will never be there, nothing
    assert verify_inclusion(permit.leaf, permit.index, head.size, proof.path, head.root)


@pytest.mark.parametrize(
    "path",
    ["tile/0/001", "tile/0/000.p/256", "tile/0/0", "tile/9/000", "tile/entries/x000/000", "tile/0/../0"],
)
async def test_what_is_not_published_is_not_found(trail: Trail, path: str) -> None:
    async with trail.client("health") as client:
        assert (await client.get(f"/log/demo/2026/{path}")).status_code == 404


async def test_an_operators_act_is_one_event_of_the_trail_without_its_reason(trail: Trail) -> None:
    database, plan = trail.space.database("referrals"), new_id("plan")
    async with trail.client("referrals") as own, trail.client("operator") as operator:
        acts = OperatorActs(database, Identity("referrals", CELL), own)
        async with database.transaction() as transaction:
            people = {"actor": "opr_first", "approved_by": "opr_second"}
            await record(transaction, "refill", {"events": 3}, reason="a disk was lost", plan=plan, **people)
        await until(lambda: _is_told(acts))
        async with database.transaction() as transaction:  # as a kill after the trail has answered
            again = "UPDATE operator_act SET told_at = NULL WHERE reason = 'a disk was lost' RETURNING id"
            [act] = await transaction.rows(again)
        await until(lambda: _is_told(acts))
        asked = {"idem": encoded(b"o" * 16), "purpose": "oversight", "size": 2**40}
        opened = (await operator.post("/v1/openings", json=asked)).text
    await database.close()

    details = [json.loads(base64.b64decode(json.loads(line)["detail"])) for line in opened.splitlines()]
    [told] = [detail for detail in details if detail.get("act") == "operator"]
    assert (told["verb"], told["counts"], told["rid"]) == ("refill", {"events": 3}, act.id)
    assert (told["plan"], told["second"]) == (plan, "opr_second")
    assert told["actor"] == {"client": source_of(CELL, "operations"), "id": "opr_first"}
    assert told["service"] == source_of(CELL, "referrals")
    assert "disk" not in str(told)


async def _is_told(acts: OperatorActs) -> bool:
    try:
        return not await acts.sweep()
    except Unavailable:  # closed for a moment: the machine may be busy
        return False
