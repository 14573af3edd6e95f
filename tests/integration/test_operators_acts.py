"""Operators' acts through operations: planned, confirmed, approved, done once, signed."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from deploy.local import configuration as configurations
from deploy.local import control
from schemas.topics import OPERATIONS_FACTS, SERVICES, STEPS
from schemas.wire.envelope import HEADERS
from services.operations import plans as carrying
from services.operations.doors import ServiceDoors
from services.operations.plans import Plans
from services.operations.settings import Settings
from services.operations.store.plans import PlanStore
from services.operations.wiring import wire
from services.runtime import partition_alarms
from services.runtime.clock import SystemClock
from services.runtime.ids import new_id
from services.runtime.peers import internal_client
from services.runtime.process import running
from services.runtime.settings import PortSettings, RuntimeSettings
from tests.integration.test_poison import Reader, letters
from tests.support.commands import CommandResult, run_command
from tests.support.kafka import send_raw
from tests.support.plans import COMMAND, SECOND
from tests.support.platform import Space
from tests.support.poison import a_good_record
from tests.support.ports import free_port
from tests.support.processes import KILLED_BY_ITSELF, a_process
from tests.support.waiting import until

TOPIC = STEPS["police"]
HANDLER, MALFORMED = 3, 7


@dataclass
class Scene:
    """The arbiter with letters of two kinds, and the settings of whoever acts upon them."""

    space: Space
    settings: Settings
    reader: Reader
    bad: list[str]
    data: Path

    async def concert(self, *words: object) -> CommandResult:
        """The operator's command."""
        return await run_command(*words, "--data", self.data)

    async def waiting(self) -> dict[str, int]:
        """How many letters of this topic wait, by code."""
        rows = [row for row in await letters(self.space) if row.topic == TOPIC.name(self.space.namespace)]
        codes = [row.reason for row in rows if row.state == "waiting"]
        return {code: codes.count(code) for code in set(codes)}

    @asynccontextmanager
    async def plans(self) -> AsyncIterator[Plans]:
        """The same plans, for somebody who is signed in."""
        database, outbox = self.space.database("operations"), self.space.outbox("operations")
        tls = self.space.tls_settings("operations")
        url = self.settings.services["referrals"]
        doors = ServiceDoors({"referrals": internal_client(tls, "referrals", base_url=url)})
        opened = database.opener(lambda transaction: PlanStore(transaction, outbox))
        try:
            yield Plans(opened, doors, SystemClock(), rate=5, sign=lambda plan: plan.id)
        finally:
            await doors.close()
            await database.close()


class Unfit(Exception):
    """What a handler of a service that was deployed wrong raises."""


@pytest.fixture(scope="module")
async def scene(space: Space, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    topic, folder = TOPIC.name(space.namespace), tmp_path_factory.mktemp("acts")
    bad = [new_id("referral") for _ in range(HANDLER)]
    records = [a_good_record(one, topic=TOPIC) for one in bad]
    records += [(new_id("referral").encode(), tuple(HEADERS), b"{")] * MALFORMED
    arbiter, port = free_port(), free_port()
    of_arbiter = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=arbiter))
    async with running("referrals", of_arbiter, Reader(bad, Unfit).wire):
        await send_raw(space, "police", topic, records)

        async def are_set_aside() -> bool:
            return len([row for row in await letters(space) if row.topic == topic]) == len(records)

        await until(are_set_aside)
    reader = Reader()
    settings = space.settings(
        Settings, "operations", ports=PortSettings(internal=port, api=free_port()), letters_per_second=1,
        services={"referrals": f"https://127.0.0.1:{arbiter}"},
        receipt_key_file=space.platform.secrets.key_file("receipts"),
    )  # fmt: skip
    space.tls_settings("operator")
    with an_installation(space, folder / "data", port) as data:
        async with running("referrals", of_arbiter, reader.wire):
            yield Scene(space, settings, reader, bad, data)


@contextmanager
def an_installation(space: Space, folder: Path, port: int) -> Iterator[Path]:
    """A data directory as a running supervisor leaves it for the command."""
    configurations.write(configurations.trial(folder))
    (folder / "certificates").symlink_to(space.platform.certificates.folder)
    with control.locked(folder / "run"):
        ports = dict.fromkeys((f"{service}_internal" for service in SERVICES), 1)
        control.write_state(folder / "run", {"ports": ports | {"operations_internal": port}})
        yield folder


def document_of(result: CommandResult) -> Any:
    """The JSON that a command printed; services of this process log to the same stdout."""
    found = re.search(r"^[\[{]\n.*?^[\]}]$", result.out, re.DOTALL | re.MULTILINE)
    assert found, result
    return json.loads(found[0])


REDRIVE = ("dead-letters", "redrive", "referrals", "handler")
DISCARD = ("dead-letters", "discard", "referrals", "malformed_json")


async def test_three_of_ten_letters_are_redriven_by_the_command_once_also_where_operations_is_killed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, before = TOPIC.name(scene.space.namespace), await scene.waiting()
    async with running("operations", scene.settings, wire):
        listed = await scene.concert("dead-letters", "list", "--json")
        planned = await scene.concert(*REDRIVE, "--topic", topic, "--json")
        plan = document_of(planned)
        wrong = await scene.concert("plans", "confirm", plan["id"], "--confirm", 4, "--reason", "mended")
        assert (wrong.code, scene.reader.seen) == (5, [])
    async with scene.plans() as plans:
        await plans.confirm(COMMAND, plan["id"], "mended", HANDLER)
    async with a_process("operations", scene.settings, CONCERT_CRASH_AT="plans.answered") as killed:
        assert await killed.wait() == KILLED_BY_ITSELF
    breaks = ["plans.due", "plans.noted", "plans.kept"]

    def break_off(place: str) -> None:
        if place in breaks:
            breaks.remove(place)
            raise RuntimeError

    monkeypatch.setattr(carrying, "crash_point", break_off)
    async with running("operations", scene.settings, wire):
        await until(lambda: _has_ended(scene, plan["id"]))
        assert breaks == []
        shown = document_of(await scene.concert("plans", "show", plan["id"], "--json"))
        key = await _receipt_key(scene)

    row = {"service": "referrals", "topic": topic, "code": "handler", "count": HANDLER}
    assert [one for one in document_of(listed) if row.items() <= one.items()]
    assert (plan["count"], plan["readable"], plan["needs_second"]) == (HANDLER, HANDLER, False)
    assert "Next, within half an hour" in planned.err
    assert sorted(scene.reader.seen) == sorted(scene.bad), "each once"
    assert await scene.waiting() == {"malformed_json": before["malformed_json"]}
    told = jws.deserialize_compact(shown["receipt"], OKPKey.import_key(key), algorithms=["Ed25519"])
    receipt = json.loads(told.payload or b"")
    expected = {
        "plan": plan["id"], "act": "redrive", "service": "referrals", "count": 3, "state": "done",
        "chosen": {"code": "handler", "topic": topic}, "outcome": {"redriven": 3}, "actor": "command",
    }  # fmt: skip
    assert expected.items() <= receipt.items()
    assert "reason" not in receipt
    assert await _acts(scene, "referrals", plan["id"]) == [("letters_redrive", "command", None, "mended")]
    assert await _acts(scene, "operations", plan["id"]) == [("plan_done", "command", None, "mended")]
    async with scene.space.transaction("operations") as transaction:
        facts = await transaction.rows(
            "SELECT o.topic FROM operator_act a, LATERAL (SELECT topic, key FROM outbox UNION ALL "
            "SELECT topic, key FROM outbox_sent) o WHERE a.plan = :plan AND o.key = a.id::bytea",
            plan=plan["id"],
        )
    assert [one.topic for one in facts] == [OPERATIONS_FACTS.name(scene.space.namespace)]


async def test_one_letter_is_given_up_by_two_persons_alone(scene: Scene) -> None:
    before = await scene.waiting()
    async with running("operations", scene.settings, wire):
        found = [row for row in await letters(scene.space) if row.reason == "malformed_json"]
        one = (*DISCARD, "--id", found[0].id)
        unconfirmed = await scene.concert(*one, "--confirm", 1)
        waits = await scene.concert(*one, "--confirm", 1, "--reason", "a trial", "--json")
        plan = document_of(waits)
        himself = await scene.concert("plans", "approve", plan["id"])
        assert await scene.waiting() == before
        async with scene.plans() as plans:
            await plans.approve(SECOND, plan["id"])
        await until(lambda: _has_ended(scene, plan["id"]))

    assert (unconfirmed.code, waits.code, himself.code) == (2, 6, 3)
    assert "another person must approve" in waits.err
    assert "same_person" in himself.err
    assert await scene.waiting() == before | {"malformed_json": MALFORMED - 1}
    expected = ("letters_discard", "command", SECOND.pseudonym, "a trial")
    assert await _acts(scene, "referrals", plan["id"]) == [expected]


async def test_a_stopped_partition_goes_on_by_the_command_alone(scene: Scene) -> None:
    group, place = f"{scene.space.namespace}referrals", (TOPIC.name(scene.space.namespace), 2)
    resume = ("readers", "resume", "referrals", *place)
    async with scene.space.transaction("referrals") as transaction:
        await partition_alarms.raise_alarm(transaction, group, place, "topic_made_anew", "from 9 to 0")
    async with running("operations", scene.settings, wire):
        listed = await scene.concert("readers", "list")
        seen = await scene.concert(*resume)
        done = await scene.concert(*resume, "--confirm", 1, "--reason", "seen")
        again = await scene.concert(*resume, "--confirm", 1, "--reason", "seen")

    assert f"\nreferrals\ttopic_made_anew\t{place[0]}/2: from 9 to 0\t" in f"\n{listed.out}"
    silent = "civil_society, education, governance, health, notifications, police, social_services"
    assert f"no answer from {silent}" in listed.err
    assert [one.code for one in (listed, seen, done, again)] == [6, 0, 0, 4]
    assert "topic_made_anew\t1" in seen.out.splitlines()
    assert "ended\t1" in done.out.splitlines()


async def test_what_a_service_refuses_is_told_by_its_name(scene: Scene) -> None:
    async with running("operations", scene.settings, wire):
        nothing = await scene.concert("dead-letters", "redrive", "referrals", "no_such")
        nowhere = await scene.concert("offsets", "reset", "referrals", "concert.no", 0, "--to", 1)
        foreign = await scene.concert("refill", "referrals", "--topic", "concert.other.v1")
        unsent = await scene.concert("refill", "referrals")
        away = await scene.concert("dead-letters", "redrive", "health", "handler")
        listed = await scene.concert("readers", "list")
        async with _client(scene, "health") as stranger:
            refused = await stranger.get("/v1/plans")

    assert [one.code for one in (nothing, nowhere, foreign, unsent, away, listed)] == [4, 4, 4, 4, 4, 6]
    assert "nothing_kept" in unsent.err
    assert "nothing_waits" in nothing.err
    assert "no_such_offset" in nowhere.err
    assert "not_written" in foreign.err
    assert "no answer from" in listed.err
    assert (refused.status_code, refused.json()["code"]) == (403, "operator_only")


def _client(scene: Scene, name: str) -> httpx2.AsyncClient:
    address = f"https://127.0.0.1:{scene.settings.ports.internal}"
    return internal_client(scene.space.tls_settings(name), "operations", base_url=address)


async def _receipt_key(scene: Scene) -> Any:
    async with _client(scene, "operator") as client:
        return (await client.get("/v1/receipt-key")).json()


async def _has_ended(scene: Scene, name: str) -> bool:
    async with scene.space.transaction("operations") as transaction:
        rows = await transaction.rows("SELECT FROM plan WHERE id = :id AND ended_at IS NOT NULL", id=name)
    return bool(rows)


async def _acts(scene: Scene, service: str, plan: str) -> list[Any]:
    async with scene.space.transaction(service) as transaction:
        rows = await transaction.rows(
            "SELECT verb, actor, approved_by, reason FROM operator_act WHERE plan = :plan", plan=plan
        )
    return [tuple(row) for row in rows]
