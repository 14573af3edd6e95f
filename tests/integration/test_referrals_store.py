"""The arbiter's SQL on the real database: locks, numbers without gap, and what is in force."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from schemas.events.facts import FACTS, FactBase
from schemas.events.governance_keys import SignatureFault
from schemas.events.life_cycle import State
from schemas.events.referral import StepBase
from schemas.events.unmet_need import ReportUnmetNeed
from schemas.topics import DIRECTORY_STATE, GOVERNANCE_STATE, STEPS, TOPICS
from schemas.wire.envelope import HEADERS, ReadEvent, read
from services.referrals import store
from services.referrals.domain.referral import Outcome
from services.referrals.domain.steps import decide
from services.referrals.handlers import (
    Work,
    answer_steps,
    decide_steps,
    expire_and_remind,
    keep_agencies_and_protocols,
)
from services.referrals.store import LostUpdate, ReferralStore
from services.runtime.database import Database
from services.runtime.errors import Invalid, Unavailable
from services.runtime.identity import Identity
from services.runtime.outbox import Outbox
from services.runtime.transaction import Transaction
from tests.support.builders import (
    OWNER,
    RECEIVER,
    SECTOR_OF,
    SERVICE,
    STRANGER,
    a_protocol_current,
    a_referral,
    a_step,
    an_agency,
    an_entry,
    an_event,
    an_id,
    an_offer,
    asked,
    in_force,
    organization_of,
)
from tests.support.clock import NOON, StoppedClock
from tests.support.governance import KEYS
from tests.support.platform import CELL, Space

OUTBOX = Outbox(Identity("referrals", CELL))
TOPIC_OF = {topic.name(): topic for topic in TOPICS}


@pytest.fixture(scope="module")
async def database(space: Space) -> AsyncIterator[Database]:
    database = space.database("referrals")
    async with database.transaction() as transaction:
        surroundings = ReferralStore(transaction, OUTBOX, {})
        await surroundings.keep_agencies([an_agency(agency) for agency in SECTOR_OF])
        await surroundings.keep_protocols([a_protocol_current()])
        await surroundings.keep_entries([an_entry()], NOON)
    yield database
    await database.close()


def work_in(transaction: Transaction, clock: StoppedClock | None = None) -> Work:
    return Work(ReferralStore(transaction, OUTBOX, {}), clock or StoppedClock(), KEYS)


async def decided(database: Database, *steps: StepBase) -> None:
    async with database.transaction() as transaction:
        await decide_steps([asked(step) for step in steps], work_in(transaction))


async def written(database: Database, referral: str) -> list[ReadEvent[Any]]:
    """The events about one referral in the outbox, in order."""
    sql = "SELECT topic, key, value FROM outbox WHERE key = :key ORDER BY id"
    async with database.transaction() as transaction:
        rows = await transaction.rows(sql, key=referral.encode())
    return [read(TOPIC_OF[row.topic], HEADERS, row.key, row.value, cell=CELL, mode="local") for row in rows]


async def told(database: Database, referral: str, agency: str) -> list[tuple[str, int | None]]:
    facts = [event.body for event in await written(database, referral)]
    return [
        (fact.type.removeprefix("referral."), fact.number)
        for fact in facts
        if isinstance(fact, FactBase) and fact.to == agency
    ]


async def state_of(database: Database, referral: str) -> str:
    async with database.transaction() as transaction:
        found = (await ReferralStore(transaction, OUTBOX, {}).load([referral]))[referral]
    assert found is not None
    return str(found.state)


async def test_a_history_over_several_batches_numbers_each_party_without_gap(database: Database) -> None:
    referral = an_id("referral")
    offer, accept = an_offer(referral), a_step("accept", referral=referral)

    await decided(database, offer, accept, accept)
    await decided(database, a_step("accept", STRANGER, referral))
    await decided(database, a_step("withdraw", OWNER, referral), a_step("confirm_sealed", referral=referral))

    assert await told(database, referral, OWNER) == [
        ("offered", 1), ("accepted", 2), ("withdrawn", 3), ("seal_confirmed", 4), ("sealed", 5),
    ]  # fmt: skip
    assert await told(database, referral, RECEIVER) == [
        ("offered", 1), ("accepted", 2), ("step_refused", 3), ("withdrawn", 4), ("seal_confirmed", 5),
        ("sealed", 6),
    ]  # fmt: skip
    assert await told(database, referral, STRANGER) == [("step_refused", 1)]
    assert await state_of(database, referral) == "sealed"


async def test_the_oldest_offer_that_nobody_answered_is_told_by_when_it_was_made(database: Database) -> None:
    old, older, probe = (an_id("referral") for _ in range(3))
    for referral, year in ((old, "2020"), (older, "2019"), (probe, "2018")):
        await decided(database, an_offer(referral))
        async with database.transaction() as transaction:
            await transaction.run(
                "UPDATE referral SET deadlines = replace(deadlines, :now, :then) WHERE id = :id",
                now='"since_at":"2026',
                then=f'"since_at":"{year}',
                id=referral,
            )
    await decided(database, a_step("accept", referral=older))

    async with database.transaction() as transaction:
        await transaction.run(
            "INSERT INTO agency SELECT 'probe-health', version, sector, organization, status, "
            """document || '{"probe": true}' FROM agency WHERE id = :owner""",
            owner=OWNER,
        )
        await transaction.run("UPDATE referral SET owner = 'probe-health' WHERE id = :id", id=probe)
        since = await ReferralStore(transaction, OUTBOX, {}).unanswered_since()
        await transaction.run("SET LOCAL enable_seqscan = off")  # the table is small here
        plan = await transaction.rows(f"EXPLAIN {store._UNANSWERED}")

    assert since == NOON.replace(year=2020)
    assert "referral_unanswered" in str(plan)


async def test_each_fact_names_the_step_that_caused_it(database: Database) -> None:
    step = asked(an_offer(an_id("referral")))

    async with database.transaction() as transaction:
        await decide_steps([step], work_in(transaction))

    assert {event.caused_by for event in await written(database, step.key)} == {step.id}


def an_unmet_need(**changes: Any) -> ReadEvent[Any]:
    content = {
        "unmet": an_id("unmet"),
        "need": "safe_shelter",
        "access_needs": ("wheelchair",),
        "area": "KE047",
    }
    return an_event(STEPS["health"], ReportUnmetNeed.model_validate(content | changes))


async def test_a_need_that_no_service_answers_is_counted_once_by_its_month(database: Database) -> None:
    first, repeated = an_unmet_need(), an_unmet_need()

    for clock in (StoppedClock(NOON), StoppedClock(NOON + timedelta(days=40))):
        async with database.transaction() as transaction:
            await answer_steps(
                [first, asked(an_offer(an_id("referral"))), repeated], work_in(transaction, clock)
            )

    events = await written(database, first.key)
    assert [(event.type, event.body.month) for event in events] == [
        ("org.concert.referral.unmet_need_recorded.v1", f"{NOON:%Y-%m}")
    ]
    assert events[0].body.model_dump() == first.body.model_dump() | {"month": f"{NOON:%Y-%m}"}


@pytest.mark.parametrize("wrong", [{"need": "time_travel"}, {"access_needs": ("time_travel",)}])
async def test_a_need_that_no_list_has_is_not_counted(database: Database, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        async with database.transaction() as transaction:
            await answer_steps([an_unmet_need(unmet=an_id("unmet", "wrong"), **wrong)], work_in(transaction))

    assert await written(database, an_id("unmet", "wrong")) == []


async def test_what_was_loaded_is_what_was_saved(database: Database) -> None:
    referral = a_referral(State.WITHDRAWN, id=an_id("referral"), hop=3, attempt=2)
    async with database.transaction() as transaction:
        fact = FACTS["referral.reminded"](referral=referral.id, timer="acknowledge")
        await ReferralStore(transaction, OUTBOX, {}).save([Outcome(referral, (fact,), NOON)], in_force())

    async with database.transaction() as transaction:
        loaded = await ReferralStore(transaction, OUTBOX, {}).load(
            [referral.id, an_id("referral", "unknown")]
        )

    assert loaded == {referral.id: referral, an_id("referral", "unknown"): None}


async def test_an_update_that_another_process_overtook_is_tried_again_not_lost(database: Database) -> None:
    referral = an_id("referral")
    await decided(database, an_offer(referral), a_step("accept", referral=referral))

    async with database.transaction() as transaction:
        stale = await ReferralStore(transaction, OUTBOX, {}).load([referral])
        outcome = Outcome(stale[referral], (FACTS["referral.started"](referral=referral),), NOON)
        with pytest.raises(LostUpdate):
            await ReferralStore(transaction, OUTBOX, {}).save([outcome], in_force())


async def test_a_withdrawal_that_meets_the_creation_of_its_referral_in_another_process_wins(
    database: Database,
) -> None:
    referral, successor = an_id("referral"), an_id("referral")
    await decided(database, an_offer(referral), a_step("decline", referral=referral))
    redirection = asked(a_step("redirect", OWNER, referral, successor=successor))

    async def overtaken() -> None:
        async with database.transaction() as transaction:
            store = ReferralStore(transaction, OUTBOX, {})
            known = await store.load([referral, successor])
            await decided(database, a_step("withdraw", OWNER, successor))  # another process, just then
            outcome = decide(known[referral], redirection, in_force(), at=NOON, successor=known[successor])
            assert outcome.successor is not None
            await store.save([outcome, outcome.successor], in_force())

    with pytest.raises(LostUpdate):  # the batch rolls back, is tried again, and finds what she said
        await overtaken()
    async with database.transaction() as transaction:
        await decide_steps([redirection], work_in(transaction))

    assert (await state_of(database, referral), await state_of(database, successor)) == (
        "declined", "withdrawn",
    )  # fmt: skip
    assert [name for name, _ in await told(database, successor, OWNER)] == ["withdrawn"]
    assert await told(database, successor, RECEIVER) == []


WITHDRAWN = {
    "accept": ["offered", "accepted", "withdrawn"],
    "withdraw": ["offered", "withdrawn", "step_refused"],
}
"""What the receiver is told where an acceptance and a withdrawal meet, by the one that came first."""


@pytest.mark.parametrize("first", WITHDRAWN)
@pytest.mark.parametrize("processes", [1, 2])
async def test_withdrawal_wins_in_either_order_in_one_batch_and_between_two_processes(
    database: Database, first: str, processes: int
) -> None:
    referral = an_id("referral")
    await decided(database, an_offer(referral))
    steps = [a_step("accept", referral=referral), a_step("withdraw", OWNER, referral)]
    before, behind = steps if first == "accept" else reversed(steps)

    if processes == 1:
        await decided(database, before, behind)
    else:
        async with database.transaction() as transaction:
            await decide_steps([asked(before)], work_in(transaction))
            waiting = asyncio.create_task(decided(database, behind))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done, "the second must wait for the row's lock"
        await waiting

    assert await state_of(database, referral) == "withdrawn"
    assert [name for name, _ in await told(database, referral, RECEIVER)] == WITHDRAWN[first]


async def test_two_sweepers_at_once_expire_each_referral_once(database: Database) -> None:
    referrals = [an_id("referral") for _ in range(40)]
    await decided(database, *(an_offer(referral) for referral in referrals))
    late = StoppedClock(NOON + timedelta(hours=2))

    async def sweep() -> int:
        async with database.transaction() as transaction:
            return await expire_and_remind(work_in(transaction, late))

    while sum(await asyncio.gather(sweep(), sweep())):
        pass

    for referral in referrals:
        assert await told(database, referral, RECEIVER) == [("offered", 1), ("expired", 2)]
    async with database.transaction() as transaction:
        assert await transaction.rows("SELECT 1 FROM referral WHERE due_at <= :at", at=late.now()) == []


async def test_a_sweeper_takes_no_more_than_it_was_told(database: Database) -> None:
    await decided(database, *(an_offer(an_id("referral")) for _ in range(3)))

    async with database.transaction() as transaction:
        found = await ReferralStore(transaction, OUTBOX, {}).due(NOON + timedelta(hours=2), 2)

    assert len(found) == 2


async def test_the_newest_version_is_tried_first_whatever_order_they_come_in(database: Database) -> None:
    new, old = a_protocol_current(id="pier", version=2), a_protocol_current(id="pier", version=1)
    suspended = an_agency("pier-clinic", version=3, status="suspended")

    async with database.transaction() as transaction:
        surroundings = ReferralStore(transaction, OUTBOX, {})
        await surroundings.keep_protocols([new])
        await surroundings.keep_protocols([old])
        await surroundings.keep_agencies([suspended, an_agency("pier-clinic", version=2)])
        await surroundings.keep_agencies([an_agency("pier-clinic", version=1)])
        known = await surroundings.in_force(["pier-clinic", "nobody"], [SERVICE], [old.hash])

    assert known.current.index(new.hash) < known.current.index(old.hash)
    assert known.protocols[old.hash] == old.document
    assert not known.agencies["pier-clinic"].is_active
    assert known.agencies[RECEIVER].organization == organization_of(RECEIVER)
    assert known.entries[SERVICE].desk == "front-desk"


async def test_a_protocol_that_is_not_what_its_hash_says_is_never_used(database: Database) -> None:
    forged = a_protocol_current(id="forged").model_copy(update={"hash": "0" * 64})
    event = an_event(GOVERNANCE_STATE, forged)

    with pytest.raises(SignatureFault, match="hash_wrong"):
        async with database.transaction() as transaction:
            await keep_agencies_and_protocols([event], work_in(transaction))


async def test_entries_are_published_when_they_are_new_or_changed_only(database: Database) -> None:
    entry = an_entry("33333333-0000-4000-8000-000000000003")

    async def keep(title: str) -> int:
        async with database.transaction() as transaction:
            changed = entry.model_copy(update={"title": title})
            return await ReferralStore(transaction, OUTBOX, {}).keep_entries([changed], NOON)

    assert [await keep("Day clinic"), await keep("Day clinic"), await keep("Night clinic")] == [1, 0, 1]
    async with database.transaction() as transaction:
        rows = await transaction.rows("SELECT topic FROM outbox WHERE key = :key", key=entry.service.encode())
    assert [row.topic for row in rows] == [DIRECTORY_STATE.name()] * 2


@pytest.mark.parametrize("table", ["referral", "addressed", "agency", "protocol", "directory_entry"])
async def test_the_service_cannot_delete(database: Database, table: str) -> None:
    with pytest.raises(Exception, match="permission denied"):
        async with database.transaction() as transaction:
            await transaction.run(f"DELETE FROM {table}")


RACED = 200
RACES = (("accept", RECEIVER), ("start", RECEIVER), ("withdraw", OWNER), ("provide", RECEIVER))
"""What four processes decide at the same time, each about all referrals, in orders of their own."""


async def lost_races(database: Database, seed: str) -> int:
    """How many withdrawals were refused, undone, or followed by anything but refusals."""
    referrals = [an_id("referral", f"{seed} {number}") for number in range(RACED)]
    await decided(database, *(an_offer(referral) for referral in referrals))

    async def ask(verb: str, agency: str) -> None:
        order = random.Random(verb).sample(referrals, RACED)
        at = 0
        while at < RACED:
            steps = [a_step(verb, agency, referral) for referral in order[at : at + 20]]
            with suppress(Unavailable):  # another process was faster: the same batch again
                await decided(database, *steps)
                at += 20

    await asyncio.gather(*(ask(verb, agency) for verb, agency in RACES))
    lost = 0
    async with database.transaction() as transaction:
        states = await ReferralStore(transaction, OUTBOX, {}).load(referrals)
    for referral in referrals:
        names, numbers = zip(*await told(database, referral, RECEIVER), strict=True)
        assert numbers == tuple(range(1, len(numbers) + 1))
        behind = names[names.index("withdrawn") + 1 :] if "withdrawn" in names else ("lost",)
        found = states[referral]
        lost += found is None or found.state is not State.WITHDRAWN or not {"step_refused"}.issuperset(behind)
    return lost


async def test_harm_7_of_200_withdrawals_that_meet_other_steps_in_four_processes_none_is_lost(
    database: Database,
) -> None:
    assert await lost_races(database, "locked") == 0


async def test_harm_7_withdrawals_are_lost_where_the_arbiter_locks_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, control in (("_LOAD", "FOR UPDATE"), ("_SAVE", "WHERE r.version < excluded.version")):
        assert control in getattr(store, name)
        monkeypatch.setattr(store, name, getattr(store, name).replace(control, ""))

    assert await lost_races(database, "unlocked") > 0
