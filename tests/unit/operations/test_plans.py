"""What becomes of plans: who must agree, how fast they go, what is refused, and kills at every line."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from schemas.wire.body import COUNT_MAX
from services.operations import plans as carrying
from services.operations.domain import refusals
from services.operations.domain.plans import MAY_BE, Plan, counts_of, receipt_of, shown
from services.operations.domain.roles import ROLES, Operator, OperatorRole, RoleLacksDeed
from services.runtime.acts import ACTS, needs_second
from services.runtime.errors import Refused
from tests.support.clock import NOON, StoppedClock
from tests.support.plans import COMMAND, SECOND, VIEWER, AService, TableInMemory, plans_over

CHOSEN = {"code": "handler"}
LETTERS = [f"dl_{number:03}" for number in range(51)]
SECOND_IS_NEEDED = {  # act → the most that one person does alone
    "redrive": 50, "discard": 0, "resume": None, "refill": None, "reset": None,
}  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("count", [1, 50, 51, 2_000])
@pytest.mark.parametrize("skips", [False, True])
def test_two_persons_are_needed_for_more_than_fifty_letters_a_discard_and_a_skip(
    act: str, count: int, *, skips: bool
) -> None:
    alone = SECOND_IS_NEEDED[act]

    assert needs_second(act, count, skips=skips) is (skips or (alone is not None and count > alone))


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


async def carried_out(table: TableInMemory, service: AService, clock: StoppedClock, rate: int = 5) -> int:
    """Seconds until nothing runs any more."""
    plans, begun = plans_over(table, service, clock, rate), clock.now()
    while any(one.state == "running" for one in table.rows.values()):
        await plans.carry_out()
        clock.forward(timedelta(seconds=0.3))
    return round((clock.now() - begun).total_seconds())


async def test_fifty_letters_are_redriven_by_one_person_at_the_plans_rate(clock: StoppedClock) -> None:
    table, service = TableInMemory(), AService(LETTERS[:50], bad=LETTERS[3:5])
    plans = plans_over(table, service, clock)

    plan = await plans.make(COMMAND, "redrive", "referrals", CHOSEN)
    assert (await plans.confirm(COMMAND, plan.id, "mended", 50)).state == "running"
    seconds = await carried_out(table, service, clock)

    plan = table.rows[plan.id]
    assert seconds == 9, "ten slices of five, a second apart"
    assert service.tried == LETTERS[:50], "each once, in order"
    assert (plan.state, plan.outcome, plan.receipt) == ("done", {"redriven": 48, "handler": 2}, "signed done")
    assert counts_of(plan) == {"planned": 50, "done": 48, "left": 2}
    assert [one.id for one in table.told] == [plan.id]


async def test_a_thousand_letters_keep_their_rate_within_a_twentieth(clock: StoppedClock) -> None:
    table, service = TableInMemory(), AService([f"dl_{number}" for number in range(1_000)])
    plans = plans_over(table, service, clock)
    plan = await plans.make(COMMAND, "redrive", "referrals", CHOSEN)
    await plans.confirm(COMMAND, plan.id, "mended", 1_000)
    await plans.approve(SECOND, plan.id)

    seconds = await carried_out(table, service, clock)

    assert abs(1_000 / seconds - 5) <= 0.25


@pytest.mark.parametrize(("act", "count"), [("redrive", 51), ("discard", 1)])
async def test_many_letters_and_any_discard_wait_for_another_person(
    clock: StoppedClock, act: str, count: int
) -> None:
    table, service = TableInMemory(), AService(LETTERS[:count])
    plans = plans_over(table, service, clock)
    plan = await plans.make(COMMAND, act, "referrals", CHOSEN)

    assert (await plans.confirm(COMMAND, plan.id, "mended", count)).state == "waits_for_second"
    await plans.carry_out()
    assert service.tried == []
    with pytest.raises(refusals.SamePerson):
        await plans.approve(COMMAND, plan.id)
    with pytest.raises(RoleLacksDeed):
        await plans.approve(VIEWER, plan.id)
    assert (await plans.approve(SECOND, plan.id)).state == "running"
    await carried_out(table, service, clock, rate=100)

    plan = table.rows[plan.id]
    assert service.tried == LETTERS[:count]
    assert (plan.confirmed_by, plan.approved_by) == ("command", "opr_second")
    assert receipt_of(plan, "here")["approved_by"] == "opr_second"


async def test_a_skip_waits_for_another_person_and_a_way_back_does_not(clock: StoppedClock) -> None:
    states = []
    for skips in (True, False):
        plans = plans_over(TableInMemory(), AService([], skips=skips), clock)
        plan = await plans.make(COMMAND, "reset", "referrals", {"topic": "a.b", "partition": 0, "to": 10})
        states.append((await plans.confirm(COMMAND, plan.id, "mended", 7)).state)

    assert states == ["waits_for_second", "running"]
    assert receipt_of(plan, "here")["range"] == {"following": 3, "to": 10}


async def test_what_is_said_to_a_plan_is_refused_by_name(clock: StoppedClock) -> None:
    table, service = TableInMemory(), AService(LETTERS[:3])
    plans = plans_over(table, service, clock)
    plan = await plans.make(COMMAND, "redrive", "referrals", CHOSEN)

    with pytest.raises(RoleLacksDeed):
        await plans.make(VIEWER, "redrive", "referrals", CHOSEN)
    for act, chosen in (("erase", CHOSEN), ("redrive", {}), ("redrive", CHOSEN | {"value": "Amina"})):
        with pytest.raises(refusals.ChoiceWrong):
            await plans.make(COMMAND, act, "referrals", chosen)
    with pytest.raises(refusals.NoSuchPlan):
        await plans.confirm(COMMAND, "plan_another", "mended", 3)
    with pytest.raises(refusals.PlanOfAnother):
        await plans.confirm(SECOND, plan.id, "mended", 3)
    with pytest.raises(refusals.CountDiffers):
        await plans.confirm(COMMAND, plan.id, "mended", 4)
    service.waiting.append("dl_new")
    with pytest.raises(refusals.CountChanged):
        await plans.confirm(COMMAND, plan.id, "mended", 3)
    service.waiting.pop()
    clock.forward(timedelta(minutes=30))
    with pytest.raises(refusals.PlanExpired):
        await plans.confirm(COMMAND, plan.id, "mended", 3)
    assert shown(table.rows[plan.id], clock.now())["state"] == "expired"
    assert service.tried == []


@pytest.mark.parametrize("word", MAY_BE)
async def test_a_word_that_a_state_does_not_allow_is_refused(clock: StoppedClock, word: str) -> None:
    for state in ("planned", "waits_for_second", "running", "paused", "done", "failed", "cancelled"):
        plan = Plan("plan_a", "redrive", "police", {}, 3, False, {}, {}, 5, "command", NOON, state)
        table = TableInMemory({plan.id: plan})
        plans, actor = plans_over(table, AService([]), clock), SECOND if word == "approval" else COMMAND
        say = plans.words.get(word, partial(plans.confirm, reason="mended", count=3))
        try:
            await say(actor, plan.id)
            is_refused = False
        except refusals.PlanStateWrong:
            is_refused = True
        except (refusals.CountChanged, KeyError):
            is_refused = False
        assert is_refused is (state not in MAY_BE[word]), state


async def test_whoever_made_too_many_plans_in_a_day_makes_no_more_and_keeps_nobody_from_it(
    clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "MADE_IN_A_DAY_MAX", 1)
    plans = plans_over(TableInMemory(), AService(LETTERS[:1]), clock)
    await plans.make(COMMAND, "redrive", "referrals", CHOSEN)

    with pytest.raises(refusals.TooManyPlans):
        await plans.make(COMMAND, "redrive", "referrals", CHOSEN)
    assert (await plans.make(SECOND, "redrive", "referrals", CHOSEN)).made_by == SECOND.pseudonym


async def begun(table: TableInMemory, service: AService, clock: StoppedClock) -> str:
    plans = plans_over(table, service, clock, rate=1)
    plan = await plans.make(COMMAND, "redrive", "referrals", CHOSEN)
    await plans.confirm(COMMAND, plan.id, "mended", len(service.waiting))
    return plan.id


class Killed(BaseException):
    """As a kill: whatever was not committed is gone."""


@pytest.mark.parametrize("point", ["plans.due", "plans.answered", "plans.noted", "plans.kept"])
async def test_a_plan_that_was_killed_at_any_line_goes_on_and_does_nothing_twice(
    clock: StoppedClock, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    table, service = TableInMemory(), AService(LETTERS[:4])
    struck: list[str] = []

    def strike(place: str) -> None:
        if place == point and len(struck) < 3:
            struck.append(place)
            raise Killed

    name = await begun(table, service, clock)
    monkeypatch.setattr(carrying, "crash_point", strike)
    while table.rows[name].state == "running":
        try:
            await plans_over(table, service, clock).carry_out()
        except Killed:
            continue
        finally:
            clock.forward(timedelta(seconds=1))

    plan = table.rows[name]
    assert struck == [point] * 3
    assert service.tried == LETTERS[:4]
    assert (plan.state, plan.done, sum((plan.outcome or {}).values())) == ("done", 4, 4)
    assert len(table.told) == 1


async def test_a_plan_stands_still_goes_on_and_ends_where_it_was_cancelled(clock: StoppedClock) -> None:
    table, service = TableInMemory(), AService(LETTERS[:4])
    name = await begun(table, service, clock)
    plans = plans_over(table, service, clock)

    await plans.carry_out()
    await plans.pause(COMMAND, name)
    for _ in range(3):
        clock.forward(timedelta(seconds=1))
        await plans.carry_out()
    assert (table.rows[name].state, service.tried) == ("paused", LETTERS[:1])
    await plans.resume(SECOND, name)
    await plans.carry_out()
    await plans.cancel(SECOND, name)
    clock.forward(timedelta(seconds=1))
    await plans.carry_out()

    plan = table.rows[name]
    assert service.tried == LETTERS[:2]
    assert (plan.state, plan.outcome, plan.receipt) == ("cancelled", {"redriven": 2}, "signed cancelled")
    assert len(table.told) == 1


async def test_a_service_that_is_away_is_asked_again_and_one_that_refuses_ends_the_plan(
    clock: StoppedClock,
) -> None:
    table, service = TableInMemory(), AService(LETTERS[:1], away=2)
    name = await begun(table, service, clock)
    plans = plans_over(table, service, clock)

    for _ in range(3):
        await plans.carry_out()
    assert table.rows[name].state == "running"
    assert service.away == 1, "not asked again at once"
    clock.forward(timedelta(seconds=30))
    assert [(one.rule, one.where) for one in plans.alarms()] == [("plan_waits", "referrals: redrive")]
    await plans.carry_out()
    service.refuses = Gone
    clock.forward(timedelta(seconds=5))
    await plans.carry_out()
    assert list(plans.alarms()) == []

    plan = table.rows[name]
    assert (plan.state, plan.failure, plan.receipt) == ("failed", "gone", "signed failed")
    assert len(table.told) == 1


@pytest.mark.parametrize("killed", [False, True])
async def test_a_plan_that_is_cancelled_before_an_answer_came_does_not_say_that_nothing_was_done(
    clock: StoppedClock, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    table, service = TableInMemory(), AService(LETTERS[:1], loses_answers=1)
    plans = plans_over(table, service, clock)
    plan = await plans.make(COMMAND, "discard", "referrals", CHOSEN)
    await plans.confirm(COMMAND, plan.id, "spoilt", 1)
    await plans.approve(SECOND, plan.id)
    if killed:
        service.loses_answers = 0
        monkeypatch.setattr(carrying, "crash_point", partial(strike_at, "plans.answered"))
        with pytest.raises(Killed):
            await plans.carry_out()
        monkeypatch.undo()
    else:
        await plans.carry_out()
    assert service.waiting == [], "it was done"

    await plans.cancel(COMMAND, plan.id)
    clock.forward(timedelta(seconds=5))
    await plans_over(table, service, clock).carry_out()

    ended = table.rows[plan.id]
    assert (ended.state, ended.failure) == ("cancelled", "unanswered")
    assert receipt_of(ended, "here")["failure"] == "unanswered"


def strike_at(point: str, place: str) -> None:
    if place == point:
        raise Killed


async def test_nobody_approves_the_word_of_somebody_whose_role_was_taken(clock: StoppedClock) -> None:
    table = TableInMemory(without_role={"opr_first"})
    plans, first = plans_over(table, AService(LETTERS), clock), Operator("opr_first", "redriver")
    plan = await plans.make(first, "discard", "referrals", CHOSEN)
    await plans.confirm(first, plan.id, "spoilt", len(LETTERS))

    with pytest.raises(refusals.ConfirmerLacksRole):
        await plans.approve(SECOND, plan.id)
    assert table.rows[plan.id].state == "waits_for_second"


def test_an_end_can_be_told_whatever_a_service_counted(clock: StoppedClock) -> None:
    plan = Plan(
        "plan_x", "reset", "referrals", {}, 1 << 62, False, {}, {}, 5, "opr_first", clock.now(),
        outcome={"back": 1 << 62, "left": 1 << 62},
    )  # fmt: skip

    assert set(counts_of(plan).values()) == {COUNT_MAX}


class Gone(Refused):
    """What a service says where nothing waits any more."""

    code, sentence = "gone", "nothing waits"


async def test_what_a_plan_shows_names_no_letter(clock: StoppedClock) -> None:
    table, service = TableInMemory(), AService(LETTERS[:3])
    plan = await plans_over(table, service, clock).make(COMMAND, "redrive", "referrals", CHOSEN)

    assert "dl_" not in str(shown(plan, clock.now()))
    assert "dl_" not in str(receipt_of(plan, "here"))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("act", ACTS)
async def test_only_whose_role_may_do_an_act_says_a_word_to_its_plan(
    clock: StoppedClock, role: OperatorRole, act: str
) -> None:
    person, first = Operator("opr_person", role), Operator("opr_first", "administrator")
    chosen = CHOSEN if act in ("redrive", "discard") else {"topic": "a.b", "partition": 0, "to": 1}
    chosen = {name: one for name, one in chosen.items() if name in ACTS[act].choice.model_fields}
    table = TableInMemory()
    plans = plans_over(table, AService(LETTERS), clock)
    name = (await plans.make(first, act, "referrals", chosen)).id
    waiting = replace(table.rows[name], state="waits_for_second", confirmed_by="opr_first", reason="mended")
    words: Mapping[str, Callable[[], Awaitable[Any]]] = {
        "make": lambda: plans.make(person, act, "referrals", chosen),
        "approve": lambda: plans.approve(person, name),
        "cancel": lambda: plans.cancel(person, name),
    }

    done = set()
    for word, say in words.items():
        table.rows[name] = waiting
        try:
            await say()
            done.add(word)
        except RoleLacksDeed:
            assert table.rows[name] == waiting
    assert done == (set(words) if act in ROLES[role] else set())
