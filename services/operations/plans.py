"""Plans of operators' acts: tried without effect, confirmed with a reason, approved by a second person, done.

A plan that runs is carried out slice by slice. Whoever is killed between a service's answer and the row that
notes it has the same slice asked for again; the service knows the plan, and answers the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from services.operations.domain import plans, refusals
from services.operations.domain.plans import Plan
from services.operations.domain.roles import RoleLacksDeed
from services.runtime.acts import ACTS, Rehearsal
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.crash import crash_point
from services.runtime.errors import Refused, Unavailable
from services.runtime.ids import new_id
from services.runtime.logs import log

MADE_IN_A_DAY_MAX: Final = 500
"""By one person: whoever makes too many keeps nobody else from it."""
A_DAY: Final = timedelta(days=1)
AWAY_FOR: Final = timedelta(seconds=30)
Change = Callable[[Plan, datetime], Plan]


class PlanActor(Protocol):
    """Who says something to a plan."""

    @property
    def pseudonym(self) -> str:
        """By what the trail knows the person."""

    def may(self, act: str) -> bool:
        """Whether one of the person's roles may do the act."""


class ActDoors(Protocol):
    """What services are asked; Unavailable may be asked again, Refused is their last word."""

    async def rehearse(self, service: str, act: str, chosen: Mapping[str, Any]) -> Rehearsal:
        """A dry run."""

    async def order(
        self, service: str, act: str, order: Mapping[str, Any], scope: Mapping[str, Any], count: int
    ) -> Mapping[str, int]:
        """Have it done, once for each plan and scope."""


class PlanRegister(Protocol):
    """Plans, within one transaction."""

    async def add(self, plan: Plan) -> None:
        """Keep a new plan."""

    async def find(self, name: str) -> Plan | None:
        """The plan of that id."""

    async def locked(self, name: str) -> Plan | None:
        """The same; until the commit nobody else says a word to it."""

    async def newest(self) -> Sequence[Plan]:
        """The newest plans."""

    async def due(self, now: datetime) -> Sequence[Plan]:
        """Plans of which a slice is due."""

    async def made_since(self, since: datetime, person: str) -> int:
        """How many this person made since then."""

    async def may(self, person: str, act: str) -> bool:
        """Whether this person's role may do the act now."""

    async def change(self, plan: Plan) -> None:
        """Keep what was said to a plan, or how far it is."""

    async def tell_end(self, plan: Plan, at: datetime) -> None:
        """Tell what came of a plan that had begun."""


class Plans:
    """What people and the command say to plans, and what carries them out."""

    def __init__(
        self,
        open_store: Callable[[], AbstractAsyncContextManager[PlanRegister]],
        doors: ActDoors,
        clock: Clock,
        *,
        rate: int,
        sign: Callable[[Plan], str],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`sign` makes the receipt of an ended plan; `wake` has what is due looked for now."""
        self._open = open_store
        self._doors = doors
        self._clock = clock
        self._rate = rate
        self._sign = sign
        self.wake = wake
        self._away: dict[str, Alarm] = {}

    async def make(self, actor: PlanActor, act: str, service: str, chosen: Mapping[str, Any]) -> Plan:
        """Try an act without effect, and keep what it would do as a plan."""
        chosen = plans.choice_of(act, chosen)
        if not actor.may(act):
            raise RoleLacksDeed
        now = self._clock.now()
        async with self._open() as store:
            if await store.made_since(now - A_DAY, actor.pseudonym) >= MADE_IN_A_DAY_MAX:
                raise refusals.TooManyPlans
        found = await self._doors.rehearse(service, act, chosen)
        plan = Plan(
            new_id("plan"), act, service, chosen, found.count, found.skips, found.figures, found.scope,
            rate=self._rate, made_by=actor.pseudonym, made_at=now,
        )  # fmt: skip
        async with self._open() as store:
            await store.add(plan)
        log().info("plan_made", route=act, count=plan.count)
        return plan

    async def show(self, name: str) -> Plan:
        """A plan as it stands."""
        async with self._open() as store:
            return _there(await store.find(name))

    async def newest(self) -> Sequence[Plan]:
        """The newest plans."""
        async with self._open() as store:
            return await store.newest()

    async def confirm(self, actor: PlanActor, name: str, reason: str, count: int) -> Plan:
        """The first person's word; it begins, or waits for the second person."""
        confirm = partial(plans.confirmed, actor=actor.pseudonym, reason=reason, count=count)
        plan = confirm(await self.show(name), self._clock.now())
        if ACTS[plan.act].is_about_letters:
            found = await self._doors.rehearse(plan.service, plan.act, plan.chosen)
            if set(found.scope["ids"]) != set(plan.scope["ids"]):
                raise refusals.CountChanged
        return await self._say(actor, name, confirm)

    async def approve(self, actor: PlanActor, name: str) -> Plan:
        """The second person's word; it begins."""
        return await self._say(actor, name, partial(plans.approved, actor=actor.pseudonym), by_two=True)

    async def pause(self, actor: PlanActor, name: str) -> Plan:
        """Let it stand still after the slice in hand."""
        return await self._say(actor, name, plans.paused)

    async def resume(self, actor: PlanActor, name: str) -> Plan:
        """Let it go on."""
        return await self._say(actor, name, plans.resumed)

    async def cancel(self, actor: PlanActor, name: str) -> Plan:
        """Let it go no further."""
        return await self._say(actor, name, plans.cancelled)

    @property
    def words(self) -> Mapping[str, Callable[[PlanActor, str], Awaitable[Plan]]]:
        """All that is said to a plan by a word alone, by the last word of its path."""
        return {
            "approval": self.approve,
            "pause": self.pause,
            "resumption": self.resume,
            "cancellation": self.cancel,
        }

    async def carry_out(self) -> bool:
        """One slice of each plan that is due; a service that is away holds up its own plans alone."""
        async with self._open() as store:
            due = await store.due(self._clock.now())
        failures = await asyncio.gather(*(self._go_on(plan) for plan in due), return_exceptions=True)
        for failure in failures:
            if isinstance(failure, BaseException):
                raise failure
        return False

    def alarms(self) -> Iterator[Alarm]:
        """Plans whose service has not answered for long."""
        now = self._clock.now()
        return (one for one in list(self._away.values()) if now - one.since >= AWAY_FOR)

    async def _go_on(self, plan: Plan) -> None:
        crash_point("plans.due")  # nothing was asked yet
        if plan.wish:
            self._away.pop(plan.id, None)
            await self._note(plan, plans.as_wished)
            return
        if plan.failure is None and not await self._note(plan, plans.asked):
            return
        order = {
            "plan": plan.id,
            "actor": plan.confirmed_by,
            "approved_by": plan.approved_by,
            "reason": plan.reason,
        }
        scope = plans.slice_of(plan)
        try:
            counts = await self._doors.order(plan.service, plan.act, order, scope, plan.count)
        except Refused as refused:
            self._away.pop(plan.id, None)
            await self._note(plan, partial(plans.ended, state=plans.FAILED, failure=refused.code))
            return
        except Unavailable:
            log().warning("plan_waits", route=plan.act, peer=plan.service)
            where = f"{plan.service}: {plan.act}"
            self._away.setdefault(plan.id, Alarm("plan_waits", where, self._clock.now()))
            await self._note(plan, plans.put_off)
            return
        self._away.pop(plan.id, None)
        crash_point("plans.answered")  # done and not noted: asked for again, and answered the same
        await self._note(plan, partial(plans.went_on, counts=counts))

    async def _note(self, before: Plan, change: Change) -> bool:
        """Keep how far a plan is, unless another process has; its end is told in the same transaction."""
        now = self._clock.now()
        async with self._open() as store:
            plan = _there(await store.locked(before.id))
            if (plan.state, plan.done) != (plans.RUNNING, before.done):
                return False
            plan = await self._kept(store, change(plan, now), now)
            crash_point("plans.noted")  # rolls back: the same slice again
        crash_point("plans.kept")  # the next slice is due in its turn
        if plan.ended_at:
            log().warning("plan_ended", route=plan.act, status=plan.state, error_code=plan.failure)
        return True

    async def _kept(self, store: PlanRegister, plan: Plan, now: datetime) -> Plan:
        """A plan that has ended after it had begun is told of, and gets its receipt."""
        if plan.ended_at and plan.started_at:
            plan = replace(plan, receipt=self._sign(plan))
            await store.tell_end(plan, now)
        await store.change(plan)
        return plan

    async def _say(self, actor: PlanActor, name: str, change: Change, *, by_two: bool = False) -> Plan:
        now = self._clock.now()
        async with self._open() as store:
            plan = _there(await store.locked(name))
            if not actor.may(plan.act):
                raise RoleLacksDeed
            said = change(plan, now)
            # Two persons are two who may: a role that was taken since takes back the first one's word.
            if by_two and not await store.may(plan.confirmed_by or "", plan.act):
                raise refusals.ConfirmerLacksRole
            plan = await self._kept(store, said, now)
        log().warning("plan_told", route=plan.act, status=plan.state)
        self.wake()
        return plan


def _there(plan: Plan | None) -> Plan:
    if plan is None:
        raise refusals.NoSuchPlan
    return plan
