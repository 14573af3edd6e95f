"""Whole batches through the handlers, over twins in memory."""

from datetime import timedelta

import pytest

from schemas.events.governance import AgencyCurrent, ProtocolCurrent
from schemas.topics import GOVERNANCE_STATE
from services.referrals.domain.life_cycle import State
from services.referrals.domain.referral import Referral
from services.referrals.handlers import Work, decide_steps, expire_and_remind, keep_agencies_and_protocols
from services.runtime.errors import Invalid
from services.runtime.subscription import Received
from tests.support.builders import (
    OWNER,
    a_protocol_current,
    a_referral,
    a_step,
    an_agency,
    an_id,
    an_offer,
    asked,
    in_force,
)
from tests.support.clock import NOON, StoppedClock
from tests.support.memory import MemoryReferrals, MemorySurroundings


def work_on(*referrals: Referral) -> tuple[Work, MemoryReferrals, StoppedClock]:
    kept, clock = MemoryReferrals(*referrals), StoppedClock()
    return Work(kept, MemorySurroundings(in_force()), clock), kept, clock


async def test_a_batch_is_answered_in_the_order_in_which_it_came() -> None:
    work, referrals, _ = work_on()
    steps = [an_offer(), a_step("acknowledge"), a_step("accept"), a_step("start"), a_step("withdraw", OWNER)]

    await decide_steps([asked(step) for step in steps], work)

    assert [fact.type for fact in referrals.facts] == [
        "referral.offered", "referral.acknowledged", "referral.accepted", "referral.started",
        "referral.withdrawn",
    ]  # fmt: skip


async def test_an_acceptance_behind_a_withdrawal_is_refused_aloud() -> None:
    work, referrals, _ = work_on(a_referral(State.OFFERED))

    await decide_steps([asked(a_step("withdraw", OWNER)), asked(a_step("accept"))], work)

    assert [fact.type for fact in referrals.facts] == ["referral.withdrawn", "referral.step_refused"]


async def test_a_withdrawal_behind_an_acceptance_wins_too() -> None:
    work, referrals, _ = work_on(a_referral(State.OFFERED))

    await decide_steps([asked(a_step("accept")), asked(a_step("withdraw", OWNER))], work)

    assert [fact.type for fact in referrals.facts] == ["referral.accepted", "referral.withdrawn"]
    assert next(iter(referrals.kept.values())).state == "withdrawn"


async def test_each_fact_names_the_step_that_caused_it() -> None:
    work, referrals, _ = work_on(a_referral(State.OFFERED))
    step = asked(a_step("accept"))

    await decide_steps([step], work)

    assert [outcome.caused_by for outcome in referrals.outcomes] == [step.id]


async def test_the_clock_reminds_and_expires_and_says_how_many_were_due() -> None:
    other = a_referral(id=an_id("referral", "other"), answer_by_at=NOON + timedelta(minutes=20))
    work, referrals, clock = work_on(a_referral(), other)

    clock.forward(timedelta(minutes=15))
    assert await expire_and_remind(work) == 2
    clock.forward(timedelta(minutes=5))
    assert await expire_and_remind(work) == 1
    assert await expire_and_remind(work) == 0

    assert [fact.type for fact in referrals.facts] == [
        "referral.reminded", "referral.reminded", "referral.expired",
    ]  # fmt: skip


def heard(body: AgencyCurrent | ProtocolCurrent) -> Received[AgencyCurrent | ProtocolCurrent]:
    return Received(an_id("event"), "governance", GOVERNANCE_STATE, "any", 1, NOON, None, body)


async def test_agencies_and_protocols_are_kept() -> None:
    surroundings = MemorySurroundings(in_force())
    work = Work(MemoryReferrals(), surroundings, StoppedClock())

    await keep_agencies_and_protocols([heard(an_agency()), heard(a_protocol_current())], work)

    assert (surroundings.agencies, surroundings.protocols) == ([an_agency()], [a_protocol_current()])


async def test_a_protocol_that_is_not_what_its_hash_says_is_never_used() -> None:
    surroundings = MemorySurroundings(in_force())
    forged = a_protocol_current().model_copy(update={"hash": "0" * 64})

    with pytest.raises(Invalid, match="schema_mismatch"):
        await keep_agencies_and_protocols(
            [heard(forged)],
            Work(MemoryReferrals(), surroundings, StoppedClock()),
        )

    assert not surroundings.protocols
