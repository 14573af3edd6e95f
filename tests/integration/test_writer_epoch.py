"""An older database is noticed: by the file beside it; its neighbours give back what it lost."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from kafka import TopicPartition

from schemas.events.facts import ReferralAccepted
from schemas.events.referral import AcknowledgeReferral
from schemas.topics import INBOX, STEPS, written_by
from services.runtime import consumer, neighbours, partition_alarms, process, restoring, writer_epoch
from services.runtime.errors import Unavailable
from services.runtime.ids import new_id
from services.runtime.peers import internal_client
from services.runtime.process import Parts, ServiceProcess, running
from services.runtime.settings import PortSettings, RuntimeSettings
from services.runtime.subscription import OutboxEvent, Subscription
from services.runtime.transaction import Transaction
from services.runtime.writer_epoch import WriterEpoch, settle, settled
from tests.integration.test_receipts import written
from tests.support.platform import Space
from tests.support.poison import AT
from tests.support.ports import free_port
from tests.support.waiting import until

RULE = "neighbour_awaited"
READS = {"health": INBOX["health"], "referrals": STEPS["health"]}


class Killed(BaseException):
    """As a kill: nothing after it is done."""


@pytest.mark.parametrize(
    ("filed", "stored", "is_filed", "expected"),
    [
        (None, 1, False, 1),  # new, or from before there were epochs
        (1, 1, False, 1),  # killed between file and database, the first time
        (3, 3, True, 3),
        (None, 3, True, 4),  # the file is gone
        (2, 3, True, 4),  # the file is an older one
        (4, 3, True, 5),  # the database is
    ],
)
def test_the_epoch_goes_up_where_file_and_database_disagree(
    filed: int | None, stored: int, is_filed: bool, expected: int
) -> None:
    assert settled(filed, stored, is_filed=is_filed) == expected


async def acknowledged(space: Space, key: str) -> None:
    """A step of another sector, which nobody sends."""
    step = AcknowledgeReferral(referral=key, agency="north-clinic", duty="intake")
    async with space.transaction("police") as transaction:
        await space.outbox("police").add(transaction, [OutboxEvent(STEPS["police"], step, AT)])


async def test_an_older_database_raises_the_epoch_also_after_a_kill_and_its_events_are_numbered_above(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, database, key = tmp_path / "police", space.database("police"), new_id("referral")

    assert await settle(database, file) == WriterEpoch(1)
    await acknowledged(space, key)
    file.write_text("4\n")  # a restore has raised it; the database is of before

    def die(place: str) -> None:
        if place == "epoch.filed":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(writer_epoch, "crash_point", die)
        with pytest.raises(Killed):
            await settle(database, file)
    assert await settle(database, file) == WriterEpoch(6, is_restoring=True, was_raised=True)
    assert await settle(database, file) == WriterEpoch(6, is_restoring=True)
    assert file.read_text() == "6\n"

    await acknowledged(space, key)
    async with space.transaction("police") as transaction:
        rows = await transaction.rows("SELECT sequence, value FROM outbox ORDER BY id")
    assert [(row.sequence, b'"writerepoch":"6"' in row.value) for row in rows] == [
        (1, False),
        (5_000_001, True),
    ]
    await database.close()


class Neighbour:
    """One of two services that read each other, and what it has applied: keys and numbers, in order."""

    def __init__(self, space: Space, name: str, ports: dict[str, int]) -> None:
        self.space, self.name, self.ports = space, name, ports
        self.applied: list[tuple[str, int]] = []

    async def _take(self, events: Sequence[Any], work: Transaction) -> None:
        work.after_commit.append(lambda: self.applied.extend((one.key, one.sequence) for one in events))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ServiceProcess]:
        """The real runtime around it."""
        subscriptions = (Subscription((READS[self.name],), self._take),)
        writes = [topic for topic in written_by(self.name) if topic in READS.values()]
        addresses = {one: f"https://127.0.0.1:{port}" for one, port in self.ports.items()}
        port = PortSettings(internal=self.ports[self.name])
        settings = self.space.settings(RuntimeSettings, self.name, ports=port, neighbours=addresses)
        async with running(
            self.name, settings, lambda *_: Parts(subscriptions=subscriptions, writes=writes)
        ) as service:
            yield service


async def told(space: Space, key: str) -> None:
    """A fact of the arbiter about this referral."""
    body = ReferralAccepted(referral=key, to="north-clinic", number=2, appointment="this_week")
    async with space.transaction("referrals") as transaction:
        await space.outbox("referrals").add(transaction, [OutboxEvent(INBOX["health"], body, AT)])


def put_back(space: Space, copy: str) -> None:
    """The sector's database as it was when it was copied."""
    name, platform = space.database_name("health"), space.platform
    platform.loop.call(platform.drop_database(name))
    platform.loop.call(platform.make_database(name, "health", copy))


async def test_a_database_put_back_loses_nothing_and_says_nothing_under_an_old_number(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(restoring, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(neighbours, "ROWS_MAX", 2)
    monkeypatch.setattr(neighbours, "SENT_ROWS_MAX", 2)
    monkeypatch.setattr(neighbours, "PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(process, "LOOK_SECONDS", 0.2)
    ports = {name: free_port() for name in READS}
    sector, arbiter = (Neighbour(space, name, ports) for name in READS)
    first, second, third = (new_id("referral") for _ in range(3))
    copy = f"{space.database_name('health')}_copy"

    async with arbiter.running():
        async with sector.running():
            await written(space, [first])
            await told(space, first)
            await until(lambda: arbiter.applied == [(first, 1)] and sector.applied == [(first, 1)])
        space.platform.loop.call(space.platform.make_database(copy, "health", space.database_name("health")))
        async with sector.running():
            await written(space, [first, second, third])  # one of them a withdrawal, answered 202
            await told(space, second)
            await until(lambda: len(arbiter.applied) == 4 and (second, 1) in sector.applied)
        put_back(space, copy)
        async with sector.running():  # unnoticed
            await written(space, [first])
            await until(lambda: _letters(space, "number_taken"))
            assert "writer_older" in {alarm.rule for _, alarm in await _standing(space)}
            assert len(arbiter.applied) == 4
    put_back(space, copy)
    with space.admin() as admin:  # the brokers do not hold it any more, the arbiter's outbox does
        name = INBOX["health"].name(space.namespace)
        admin.delete_records({TopicPartition(name, part): -1 for part in range(3)})
    async with space.transaction("health", as_admin=True) as transaction:
        await transaction.run("UPDATE writer SET epoch = epoch + 1, restoring = true")
    sector.applied.clear()

    deaths = iter(["restoring.begun", "restoring.numbered", "restoring.resent", "restoring.done"])
    due = next(deaths)

    def die(place: str) -> None:
        nonlocal due
        if place == due:
            due = next(deaths, "")
            raise Unavailable("as a kill, and a new start")

    monkeypatch.setattr(restoring, "crash_point", die)
    async with sector.running() as service:
        assert (await service.health.look()).reason == "restoring"
        await written(space, [first])
        async with arbiter.running():
            await until(lambda: (first, 1_000_001) in arbiter.applied)
            await until(lambda: _is_ready(service))
            assert (second, 1) in sector.applied
            await _strangers_learn_nothing(space, ports["referrals"])
            monkeypatch.setattr(neighbours, "PAUSE_SECONDS", 60)
            await _nobody_has_all_sent_again_and_again(space, ports["referrals"])
    async with space.transaction("health") as transaction:
        [row] = await transaction.rows("SELECT restoring, report FROM writer")
    report = json.loads(row.report)
    assert (row.restoring, report["epoch"], report["keys_ahead"]) == (False, 2, 2)
    assert report["events_sent_again"] >= 1
    assert due == ""
    assert arbiter.applied[4:] == [(first, 1_000_001)]
    space.platform.loop.call(space.platform.drop_database(copy))


async def _strangers_learn_nothing(space: Space, port: int) -> None:
    async with internal_client(
        space.tls_settings("police"), "referrals", base_url=f"https://127.0.0.1:{port}"
    ) as stranger:
        refused = await stranger.get("/v1/received", params={"from": "health"})
    assert refused.json()["code"] == "named_service_only"


async def _nobody_has_all_sent_again_and_again(space: Space, port: int) -> None:
    body = {"to": "health", "since": "2020-01-01T00:00:00Z"}
    answer = httpx2.Response(429)
    async with as_operator(space, "referrals", port) as operator:

        async def is_sent() -> bool:
            nonlocal answer
            answer = await operator.post("/v1/resend", json=body)
            return answer.is_success

        await until(is_sent)  # no more than a page
        assert (answer.json()["events"] <= 3, answer.json()["left"]["first"] > 0) == (True, True)
        again = await operator.post("/v1/resend", json=body | {"left": answer.json()["left"]})
    assert (again.status_code, again.json()["code"]) == (429, "sends_already")


def as_operator(space: Space, service: str, port: int) -> httpx2.AsyncClient:
    return internal_client(space.tls_settings("operator"), service, base_url=f"https://127.0.0.1:{port}")


async def test_a_neighbour_that_never_comes_to_an_end_is_named_and_a_person_lets_it_be(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_ever = "SELECT CAST(:topics AS text[]) IS NOT NULL AND CAST(:until AS bigint) >= 0 AS it_does"
    monkeypatch.setattr(neighbours, "_WAITING", for_ever)
    monkeypatch.setattr(restoring, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(restoring, "AWAITED_FOR", timedelta(0))
    ports = {name: free_port() for name in READS}
    sector, arbiter = (Neighbour(space, name, ports) for name in READS)
    async with space.transaction("health", as_admin=True) as transaction:
        await transaction.run("UPDATE writer SET restoring = true, report = NULL")

    async def is_named() -> bool:
        told = [alarm.where for alarm in (await service.health.look()).alarms if alarm.rule == RULE]
        return told == ["referrals"]

    async def goes_on() -> bool:
        return not await is_named()

    async with arbiter.running(), sector.running() as service:
        await until(is_named)
        async with as_operator(space, "health", ports["health"]) as operator:

            async def go_without(neighbour: str) -> int:
                body = {"neighbour": neighbour, "reason": "trial"}
                return (await operator.post("/v1/absences", json=body)).status_code

            assert await go_without("police") == 404, "nobody asks it"
            assert await go_without("referrals") == 200
            await until(goes_on)
    async with space.transaction("health") as transaction:
        [row] = await transaction.rows("SELECT report FROM writer")
        acts = await transaction.rows("SELECT verb FROM operator_act")
        await transaction.run("UPDATE writer SET restoring = false, state_at = NULL, report = NULL")
    assert json.loads(row.report)["without"] == ["referrals"]
    assert [act.verb for act in acts] == ["serve_without"]


async def _is_ready(service: ServiceProcess) -> bool:
    return (await service.health.look()).reason is None


async def _letters(space: Space, reason: str) -> bool:
    async with space.transaction("referrals") as transaction:
        return bool(await transaction.rows("SELECT 1 FROM dead_letter WHERE reason = :it", it=reason))


async def _standing(space: Space) -> Any:
    async with space.transaction("referrals") as transaction:
        return await partition_alarms.standing(transaction, f"{space.namespace}referrals")
