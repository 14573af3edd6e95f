"""The arbiter as a running service: real steps in, facts out, deadlines on its own clock, the directory."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.local import configuration as configurations
from deploy.local import control
from schemas.events.facts import FactBase
from schemas.events.governance import TIMERS, URGENCIES, document_hash
from schemas.events.referral import AcknowledgeReferral, StepBase
from schemas.topics import DIRECTORY_STATE, GOVERNANCE_STATE, INBOX, REFERRALS_FACTS, SERVICES, STEPS
from schemas.wire.body import Body
from schemas.wire.envelope import ReadEvent
from schemas.wire.topic import Topic
from services.cli.directory import NotAuthorised, import_directory
from services.cli.directory_source import DirectoryRow, read_directory
from services.referrals.domain.steps import decide
from services.referrals.settings import Settings
from services.referrals.wiring import wire
from services.runtime.peers import internal_client
from services.runtime.process import Parts, Runtime, running
from services.runtime.settings import PortSettings, RuntimeSettings
from services.runtime.subscription import OutboxEvent, Subscription
from tests.support.acts import acted
from tests.support.builders import (
    MATRIX,
    OWNER,
    RECEIVER,
    SCHOOL,
    SECTOR_OF,
    SERVICE,
    STRANGER,
    a_consent,
    a_protocol_current,
    a_step,
    an_agency,
    an_entry,
    an_id,
    an_offer,
    organization_of,
)
from tests.support.commands import run_command
from tests.support.kafka import a_bare_reader
from tests.support.platform import Space
from tests.support.poison import MisfiledStep
from tests.support.ports import free_port
from tests.support.shared import REPOSITORY
from tests.support.waiting import until

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
SOON = {timer: dict.fromkeys(URGENCIES, 3_600) for timer in TIMERS} | {
    "acknowledge": dict.fromkeys(URGENCIES, 3_600) | {"critical": 1},
    "answer": dict.fromkeys(URGENCIES, 3_600) | {"critical": 2},
    "next_step": dict.fromkeys(URGENCIES, 3_600) | {"critical": 1},
    "seal": dict.fromkeys(URGENCIES, 3_600) | {"priority": 1},
}
STATION = "22222222-0000-4000-8000-000000000002"
LESSONS = "33333333-0000-4000-8000-000000000003"
PROTOCOL = a_protocol_current(valid_from=NOW - DAY, valid_until=NOW + DAY, timers=SOON, matrix=MATRIX)


@dataclass
class Peer:
    """Another service as the arbiter meets it: what it sends, and what it is told."""

    runtime: Runtime
    heard: list[ReadEvent[Any]] = field(default_factory=list)

    async def send(self, topic: Any, *bodies: Body) -> None:
        """Send bodies, all in one transaction."""
        at = datetime.now(UTC)
        async with self.runtime.database.transaction() as transaction:
            outgoing = [OutboxEvent(topic, body, at) for body in bodies]
            await self.runtime.outbox.add(transaction, outgoing)

    def told(self, referral: str) -> list[FactBase]:
        """What it was told about a referral, in order."""
        return [event.body for event in self.heard if event.key == referral]


@asynccontextmanager
async def a_peer(space: Space, service: str, topics: Sequence[Any]) -> AsyncIterator[Peer]:
    made: list[Peer] = []

    async def keep(events: Sequence[ReadEvent[Any]], _work: Any) -> None:
        made[0].heard.extend(events)

    def wire_peer(runtime: Runtime, _settings: Any) -> Parts:
        made.append(Peer(runtime))
        return Parts(subscriptions=[Subscription((topic,), keep) for topic in topics])

    async with running(service, space.settings(RuntimeSettings, service), wire_peer):
        yield made[0]


@dataclass
class Stage:
    """The arbiter and everybody that it meets."""

    space: Space
    address: str
    sectors: dict[str, Peer]
    statistics: Peer
    governance: Peer

    async def ask(self, step: StepBase, sector: str | None = None) -> None:
        """Send a step through a sector, by default the asker's own."""
        name = sector or SECTOR_OF[step.agency]
        await self.sectors[name].send(STEPS[name], step)

    def told(self, agency: str, referral: str) -> list[tuple[str, int | None]]:
        """Name and number of what an agency's sector was told."""
        facts = self.sectors[SECTOR_OF[agency]].told(referral)
        return [(fact.type.removeprefix("referral."), fact.number) for fact in facts if fact.to == agency]

    async def until_told(self, agency: str, referral: str, name: str) -> list[tuple[str, int | None]]:
        """Wait until an agency was told a fact of that name."""
        await until(lambda: any(fact == name for fact, _ in self.told(agency, referral)))
        return self.told(agency, referral)


def offer(referral: str, **changes: Any) -> StepBase:
    return an_offer(referral, **{"urgency": "routine", "consent": {"expires_at": NOW + DAY}} | changes)


@pytest.fixture(scope="module")
async def stage(space: Space) -> AsyncIterator[Stage]:
    port = free_port()
    settings = space.settings(
        Settings, "referrals", ports=PortSettings(internal=port), look_for_due_every_seconds=0.1
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running("referrals", settings, wire))
        sectors = {}
        for sector in ("health", "police", "social_services"):
            topics = (INBOX[sector], DIRECTORY_STATE) if sector == "health" else (INBOX[sector],)
            sectors[sector] = await stack.enter_async_context(a_peer(space, sector, topics))
        statistics = await stack.enter_async_context(a_peer(space, "notifications", (REFERRALS_FACTS,)))
        governance = await stack.enter_async_context(a_peer(space, "governance", ()))
        stage = Stage(space, f"https://127.0.0.1:{port}", sectors, statistics, governance)
        await _set(stage)
        yield stage


async def _set(stage: Stage) -> None:
    """Admit the agencies, publish the protocol, register the service, and wait until an offer passes."""
    admitted = [an_agency(agency) for agency in SECTOR_OF]
    await stage.governance.send(GOVERNANCE_STATE, *admitted, PROTOCOL)
    async with internal_client(
        stage.space.tls_settings("operator"), "referrals", base_url=stage.address
    ) as client:
        places = ((SERVICE, RECEIVER), (STATION, STRANGER), (LESSONS, SCHOOL))
        entries = [an_entry(one, organization_of(agency), confirmed_at=NOW) for one, agency in places]
        content = [entry.model_dump(mode="json") for entry in entries]
        assert (await client.post("/v1/directory", json={"entries": content})).status_code == 200

    async def passes() -> bool:
        referral = an_id("referral")
        await stage.ask(offer(referral))
        await until(lambda: stage.sectors["social_services"].told(referral))
        return stage.told(OWNER, referral) == [("offered", 1)]

    await until(passes, within_seconds=60)


async def test_a_referral_crosses_two_sectors_and_each_is_told_every_fact_once(stage: Stage) -> None:
    referral = an_id("referral")

    await stage.ask(offer(referral))
    await stage.until_told(RECEIVER, referral, "offered")
    for verb in ("acknowledge", "accept", "start", "provide", "give_feedback"):
        await stage.ask(a_step(verb, RECEIVER, referral))
    await stage.until_told(OWNER, referral, "feedback_given")
    await stage.ask(a_step("close", OWNER, referral))
    await stage.until_told(RECEIVER, referral, "closed")
    await stage.ask(a_step("confirm_sealed", RECEIVER, referral))
    await stage.until_told(OWNER, referral, "sealed")

    names = [
        "offered", "acknowledged", "accepted", "started", "provided", "feedback_given", "closed",
        "seal_confirmed", "sealed",
    ]  # fmt: skip
    numbered = list(zip(names, range(1, 10), strict=True))
    assert stage.told(OWNER, referral) == numbered
    assert await stage.until_told(RECEIVER, referral, "sealed") == numbered
    await until(lambda: len(stage.statistics.told(referral)) == 9)
    facts = stage.statistics.told(referral)
    assert {fact.protocol for fact in facts} == {document_hash(PROTOCOL.document)}
    assert [fact.awaits for fact in facts] == [RECEIVER] * 5 + [OWNER, RECEIVER, None, None]
    for topic, reader in ((STEPS["health"], "referrals"), (INBOX["health"], "health")):
        assert {at % 60_000 for at in await timestamps(stage.space, reader, topic)} == {0}


async def timestamps(space: Space, user: str, topic: Topic) -> list[int]:
    """What the brokers say about when each record was made, in milliseconds."""
    partitions = range(topic.partitions_local)
    async with a_bare_reader(space, user, topic.name(space.namespace), partitions) as reader:
        found = await until(partial(reader.getmany, timeout_ms=200))
    return [record.timestamp for records in found.values() for record in records]


async def test_a_withdrawal_wins_against_an_acceptance_in_either_order(stage: Stage) -> None:
    referrals = [an_id("referral") for _ in range(12)]
    for referral in referrals:
        await stage.ask(offer(referral))
    for referral in referrals:
        await stage.until_told(RECEIVER, referral, "offered")

    steps = [(a_step("accept", RECEIVER, one), a_step("withdraw", OWNER, one)) for one in referrals]
    await asyncio.gather(*(stage.ask(step) for pair in steps for step in pair))

    for referral in referrals:
        await stage.until_told(OWNER, referral, "withdrawn")
        told = await stage.until_told(RECEIVER, referral, "withdrawn")
        await until(lambda referral=referral: len(stage.told(RECEIVER, referral)) == 3)  # type: ignore[misc]
        told = stage.told(RECEIVER, referral)
        assert [number for _, number in told] == [1, 2, 3]
        assert [name for name, _ in told] in (
            ["offered", "accepted", "withdrawn"],
            ["offered", "withdrawn", "step_refused"],
        )


async def test_a_withdrawal_that_came_before_its_offer_wins_also_once_the_offer_is_redriven(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    referral = an_id("referral")

    def decide_but_no_offer(known: Any, asked: Any, *more: Any, **named: Any) -> Any:
        if asked.key == referral and asked.type.endswith(".offer.v1"):
            raise RuntimeError
        return decide(known, asked, *more, **named)

    monkeypatch.setattr("services.referrals.handlers.decide", decide_but_no_offer)
    await stage.ask(offer(referral))
    await stage.ask(a_step("withdraw", OWNER, referral))
    letters = "SELECT state FROM dead_letter WHERE key = :key ORDER BY sequence"
    await until(lambda: _states(stage, letters, referral, ["waiting"] * 2))
    monkeypatch.undo()
    operations = stage.space.tls_settings("operations")
    async with internal_client(operations, "referrals", base_url=stage.address) as client:
        done = await acted(client, "redrive", code="handler")
    await until(lambda: _states(stage, letters, referral, ["redriven"] * 2))

    assert done == (200, {"redriven": 1})
    told = await stage.until_told(OWNER, referral, "step_refused")
    assert "offered" not in dict(told)
    assert not stage.told(RECEIVER, referral)


async def _states(stage: Stage, sql: str, referral: str, expected: list[str]) -> bool:
    async with stage.space.transaction("referrals") as transaction:
        rows = await transaction.rows(sql, key=referral.encode())
    return [row.state for row in rows] == expected


async def test_harm_6_a_holder_whose_consumer_is_gone_is_named_overdue_and_her_withdrawal_stands(
    stage: Stage,
) -> None:
    referral, consent = an_id("referral"), {"recipient": SCHOOL, "expires_at": NOW + DAY}
    a_school = partial(a_peer, stage.space, "education", (INBOX["education"],))
    async with a_school() as holder:
        await stage.ask(offer(referral, service=LESSONS, consent=consent, urgency="priority"))
        await until(lambda: holder.told(referral))
        await holder.send(STEPS["education"], a_step("accept", SCHOOL, referral))
        await stage.until_told(OWNER, referral, "accepted")

    await stage.ask(a_step("withdraw", OWNER, referral))  # nobody reads that at the holder's
    await stage.until_told(OWNER, referral, "seal_overdue")
    async with a_school() as holder:
        await until(lambda: [fact.type for fact in holder.told(referral)][1:2] == ["referral.seal_overdue"])
        for verb in ("start", "confirm_sealed"):
            await holder.send(STEPS["education"], a_step(verb, SCHOOL, referral))
        await stage.until_told(OWNER, referral, "sealed")
        # The holder's facts travel on a topic of their own: they may come later than the owner's.
        await until(lambda: [fact.type for fact in holder.told(referral)][-1:] == ["referral.sealed"])
        heard = [fact.type.removeprefix("referral.") for fact in holder.told(referral)]

    assert (heard[0], {*heard[1:]} - {"seal_overdue"}) == (
        "withdrawn", {"step_refused", "seal_confirmed", "sealed"},
    )  # fmt: skip
    overdue = [one for one in stage.statistics.told(referral) if one.type == "referral.seal_overdue"]
    assert {one.awaits for one in overdue} == {SCHOOL}


async def test_without_a_single_notice_the_clock_reminds_expires_and_then_keeps_after_the_owner(
    stage: Stage,
) -> None:
    """Harm 9: nobody reads, no mail goes out; she does not wait unseen all the same."""
    referral = an_id("referral")

    await stage.ask(offer(referral, urgency="critical"))
    await until(lambda: stage.told(OWNER, referral)[-1:] == [("reminded", 5)])
    await stage.ask(a_step("accept", RECEIVER, referral))
    await stage.until_told(RECEIVER, referral, "step_refused")

    told = [(fact.type, getattr(fact, "timer", None)) for fact in stage.statistics.told(referral)[:5]]
    assert told == [
        ("referral.offered", None),
        ("referral.reminded", "acknowledge"),
        ("referral.expired", "answer"),
        ("referral.reminded", "next_step"),
        ("referral.reminded", "next_step"),
    ]
    assert [name for name, _ in stage.told(RECEIVER, referral)][:5] == [
        "offered", "reminded", "expired", "reminded", "reminded",
    ]  # fmt: skip
    assert {fact.awaits for fact in stage.statistics.told(referral)[2:5]} == {OWNER}
    assert stage.sectors["health"].told(referral)[5].model_dump()["code"] == "too_late"


async def test_nobody_helped_so_another_service_is_asked_and_the_two_receivers_share_no_name(
    stage: Stage,
) -> None:
    """Harm 15: whoever has the stores of both finds neither id, nor cause, nor time in the other one."""
    referral, successor = an_id("referral"), an_id("referral")
    await stage.ask(offer(referral))
    await stage.until_told(RECEIVER, referral, "offered")
    await stage.ask(a_step("decline", RECEIVER, referral))
    await stage.until_told(OWNER, referral, "declined")
    again = a_step(
        "redirect", OWNER, referral, successor=successor, service=STATION, urgency="routine",
        consent=a_consent(recipient=STRANGER, expires_at=NOW + DAY, groups=("contact",)),
    )  # fmt: skip

    await stage.ask(again)
    await stage.until_told(STRANGER, successor, "offered")
    await stage.until_told(RECEIVER, referral, "redirected")

    assert stage.told(OWNER, referral)[-1] == ("redirected", 3)
    assert stage.told(OWNER, successor) == [("offered", 1)]
    first, second = stage.sectors["health"].heard, stage.sectors["police"].heard
    old = [event for event in first if event.key == referral][-1]
    new = next(event for event in second if event.key == successor)
    assert (old.body.successor, old.body.hop, new.body.hop, new.body.count) == (None, None, None, None)
    assert (old.caused_by, new.caused_by) == (None, None)
    assert old.at != new.at
    assert referral not in repr(second)
    assert successor not in repr(first)


async def test_a_strangers_step_is_refused_in_its_own_inbox_only(stage: Stage) -> None:
    referral = an_id("referral")
    await stage.ask(offer(referral))
    await stage.until_told(RECEIVER, referral, "offered")

    await stage.ask(a_step("accept", STRANGER, referral))
    await stage.ask(
        a_step("accept", RECEIVER, referral), sector="police"
    )  # forged: police does not speak for it
    await until(lambda: len(stage.sectors["police"].told(referral)) == 2)
    await stage.ask(a_step("accept", RECEIVER, referral))
    await stage.until_told(OWNER, referral, "accepted")

    refused = [fact.model_dump(exclude_none=True) for fact in stage.sectors["police"].told(referral)]
    assert [fact["code"] for fact in refused] == ["not_a_party", "not_a_party"]
    assert [fact.get("number") for fact in refused] == [1, None]
    assert all("state" not in fact and "protocol" not in fact for fact in refused)
    assert stage.told(OWNER, referral) == [("offered", 1), ("accepted", 2)]
    assert [name for name, _ in await stage.until_told(RECEIVER, referral, "accepted")] == [
        "offered",
        "accepted",
    ]


async def test_52_steps_under_others_keys_are_set_aside_and_stop_nothing(stage: Stage) -> None:
    before, afterwards = an_id("referral"), an_id("referral")
    lying = [an_id("referral") for _ in range(52)]
    step = AcknowledgeReferral(referral=before, agency=RECEIVER, duty="intake")
    foreign = [MisfiledStep(**step.model_dump(), filed_under=key) for key in lying]

    # Nothing good between them: one record that is applied begins the count of bugs anew.
    await stage.sectors["social_services"].send(STEPS["social_services"], *foreign)

    database = stage.space.database_as_admin("referrals")
    sql = "SELECT reason, path FROM dead_letter WHERE key = ANY(CAST(:keys AS bytea[]))"

    async def letters() -> Sequence[Any] | None:
        async with database.transaction() as transaction:
            rows = await transaction.rows(sql, keys=[key.encode() for key in lying])
        return rows if len(rows) == len(lying) else None

    try:
        assert {tuple(row) for row in await until(letters)} == {("key_mismatch", "referral")}
    finally:
        await database.close()
    await stage.ask(offer(afterwards))
    await stage.until_told(OWNER, afterwards, "offered")
    assert stage.told(OWNER, lying[0]) == []


async def test_the_operator_imports_the_directory_and_sectors_hear_of_each_service_once(stage: Stage) -> None:
    path = REPOSITORY / "deploy" / "local" / "directory"
    async with internal_client(
        stage.space.tls_settings("operator"), "referrals", base_url=stage.address
    ) as client:
        first = await import_directory(path, client, NOW)
        second = await import_directory(path, client, NOW)

    assert (first.read, first.taken, first.changed, first.refused) == (19, 19, 19, [])
    assert (second.taken, second.changed) == (19, 0)

    ours = {one.entry.service for one in read_directory(path, NOW) if isinstance(one, DirectoryRow)}

    def heard() -> list[str]:
        return [event.key for event in stage.sectors["health"].heard if event.key in ours]

    await until(lambda: len(heard()) >= 19)
    assert sorted(heard()) == sorted(ours)


@contextmanager
def an_installation(stage: Stage, folder: Path, port: int) -> Iterator[Path]:
    """A data directory as a running supervisor leaves it for the command."""
    configurations.write(configurations.trial(folder))
    (folder / "certificates").symlink_to(stage.space.platform.certificates.folder)
    with control.locked(folder / "run"):
        nobody_there = dict.fromkeys((f"{service}_internal" for service in SERVICES), 1)
        control.write_state(folder / "run", {"ports": nobody_there | {"referrals_internal": port}})
        yield folder


async def test_the_command_says_what_was_taken_and_refused(stage: Stage, tmp_path: Path) -> None:
    stage.space.tls_settings("operator")
    page = tmp_path / "page.json"
    house = {"id": "77777777-0000-4000-8000-000000000007", "name": "Harbour House"}
    good = {"id": "66666666-0000-4000-8000-000000000006", "name": "Refuge", "status": "active"}
    good |= {"assured_date": "2026-02-01"}
    page.write_text(json.dumps([good | {"organization": house}, good, {"name": "Planted"}]))
    refused = tmp_path / "refused.json"
    refused.write_text(json.dumps({"page_number": 1, "total_pages": 10, "contents": [good]}))
    port = int(stage.address.rpartition(":")[2])

    with an_installation(stage, tmp_path / "data", port) as data:
        results = [
            await run_command("directory", "import", *words, "--data", data)
            for words in ([page], [page, "--json"], [refused], [tmp_path / "nowhere"])
        ]
    with an_installation(stage, tmp_path / "closed", free_port()) as data:
        results.append(await run_command("directory", "import", page, "--data", data))
    results.append(await run_command("directory", "import", page, "--data", tmp_path / "nothing-runs"))

    assert [result.code for result in results] == [0, 0, 1, 4, 6, 1]
    assert results[0].out.splitlines() == [
        "1 services taken, 1 of them new or changed.", "2 refused:", "      1  organization: missing",
        "      1  service: not_a_service",
    ]  # fmt: skip
    report = json.loads(results[1].out)
    assert (report["read"], report["taken"], report["changed"], report["refused"]) == (3, 1, 0, 2)
    assert "refused.json is page 1 of 10; the others are imported like it." in results[2].out
    assert not [result for result in results if "Planted" in result.out + result.err]


@pytest.mark.parametrize("name", ["health", "governance"])
async def test_no_service_but_the_operators_command_changes_the_directory(stage: Stage, name: str) -> None:
    async with internal_client(stage.space.tls_settings(name), "referrals", base_url=stage.address) as client:
        answer = await client.post("/v1/directory", json={"entries": [an_entry().model_dump(mode="json")]})
        with pytest.raises(NotAuthorised):
            await import_directory(REPOSITORY / "deploy" / "local" / "directory", client, NOW)

    assert (answer.status_code, answer.json()["code"]) == (403, "operator_only")


async def test_a_batch_is_judged_entry_by_entry_and_values_are_not_echoed(stage: Stage) -> None:
    good = an_entry("44444444-0000-4000-8000-000000000004", confirmed_at=NOW).model_dump(mode="json")
    bad = good | {"service": "55555555-0000-4000-8000-000000000005", "desk": "Planted Desk"}
    async with internal_client(
        stage.space.tls_settings("operator"), "referrals", base_url=stage.address
    ) as client:
        answer = await client.post("/v1/directory", json={"entries": [bad, good]})
        too_many = await client.post("/v1/directory", json={"entries": [good] * 501})
        unknown = await client.post("/v1/directory", json={"entries": [good], "more": "Planted"})

    assert answer.json() == {
        "taken": 1,
        "changed": 1,
        "refused": [{"row": 1, "field": "desk", "code": "invalid"}],
    }
    assert (too_many.status_code, unknown.status_code) == (422, 422)
    assert not any("Planted" in text for text in (answer.text, too_many.text, unknown.text))
