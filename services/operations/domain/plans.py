"""What becomes of a plan: which words may be said to it when, how fast it goes, what its receipt says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from schemas.wire.body import COUNT_MAX
from services.operations.domain import refusals
from services.runtime.acts import ACTS, needs_second

EXPIRY: Final = timedelta(minutes=30)
"""For so long a plan may be confirmed and approved: what waits may change."""
SLICE_EVERY: Final = timedelta(seconds=1)
ASKED_AGAIN: Final = timedelta(seconds=5)
"""When a service that did not answer is asked again."""
PLANNED, WAITS, RUNNING, PAUSED = "planned", "waits_for_second", "running", "paused"
UNANSWERED: Final = "unanswered"
"""Of a slice that was asked for: it may be done, until its service has answered."""
DONE, FAILED, CANCELLED, EXPIRED = "done", "failed", "cancelled", "expired"

MAY_BE: Final[Mapping[str, frozenset[str]]] = {
    "confirmation": frozenset({PLANNED}),
    "approval": frozenset({WAITS}),
    "pause": frozenset({RUNNING}),
    "resumption": frozenset({PAUSED}),
    "cancellation": frozenset({PLANNED, WAITS, RUNNING, PAUSED}),
}
"""What may be said to a plan, by the last word of its path → the states in which it may."""
ACHIEVED: Final = frozenset({"redriven", "discarded", "ended", "sent_again", "back", "skipped"})
"""Codes of an outcome that say that what was meant was done; any other says why it was not."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An act that was tried without effect, and what was said to it since; people by pseudonym."""

    id: str
    act: str
    service: str
    chosen: Mapping[str, Any]
    count: int
    skips: bool
    figures: Mapping[str, int]
    scope: Mapping[str, Any]
    rate: int
    made_by: str
    made_at: datetime
    state: str = PLANNED
    reason: str | None = None
    confirmed_by: str | None = None
    approved_by: str | None = None
    started_at: datetime | None = None
    next_at: datetime | None = None
    """When the next slice is due."""
    wish: str | None = None
    """The state that somebody wants it to be in before the next slice."""
    done: int = 0
    """How much of it is through: where a process that was killed goes on."""
    outcome: Mapping[str, int] | None = None
    failure: str | None = None
    """Why it did not end well; while it runs, that an answer is missing."""
    ended_at: datetime | None = None
    receipt: str | None = None

    @property
    def needs_second(self) -> bool:
        """Whether another person must approve it."""
        return needs_second(self.act, self.count, skips=self.skips)

    @property
    def expires_at(self) -> datetime:
        """Until when it may be begun."""
        return self.made_at + EXPIRY

    @property
    def size(self) -> int:
        """How much one slice is."""
        return self.rate if ACTS[self.act].is_sliced else self.count

    def state_at(self, now: datetime) -> str:
        """Its state; one that was not begun in time has expired."""
        return EXPIRED if self.state in (PLANNED, WAITS) and now >= self.expires_at else self.state


def choice_of(act: str, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is meant, in the form of the act; what is not given stands for any."""
    if act not in ACTS:
        raise refusals.ChoiceWrong
    try:
        choice = ACTS[act].choice.model_validate(dict(chosen))
    except ValidationError:
        raise refusals.ChoiceWrong from None
    return choice.model_dump(mode="json", exclude_none=True)


def check_may(plan: Plan, word: str, now: datetime) -> None:
    """Refuse a word that comes too late or too early."""
    state = plan.state_at(now)
    if state == EXPIRED:
        raise refusals.PlanExpired
    if state not in MAY_BE[word]:
        raise refusals.PlanStateWrong


def confirmed(plan: Plan, now: datetime, *, actor: str, reason: str, count: int) -> Plan:
    """The first person's word: it begins, or waits for the second."""
    check_may(plan, "confirmation", now)
    if actor != plan.made_by:
        raise refusals.PlanOfAnother
    if count != plan.count:
        raise refusals.CountDiffers
    plan = replace(plan, reason=reason, confirmed_by=actor)
    return replace(plan, state=WAITS) if plan.needs_second else begun(plan, now)


def approved(plan: Plan, now: datetime, *, actor: str) -> Plan:
    """The second person's word: it begins."""
    check_may(plan, "approval", now)
    if actor == plan.confirmed_by:
        raise refusals.SamePerson
    return begun(replace(plan, approved_by=actor), now)


def paused(plan: Plan, now: datetime) -> Plan:
    """It is to stand still once the slice in hand is through."""
    check_may(plan, "pause", now)
    return replace(plan, wish=PAUSED)


def resumed(plan: Plan, now: datetime) -> Plan:
    """It goes on from where it stood."""
    check_may(plan, "resumption", now)
    return replace(plan, state=RUNNING, next_at=now)


def cancelled(plan: Plan, now: datetime) -> Plan:
    """It goes no further; one that runs ends once the slice in hand is through."""
    check_may(plan, "cancellation", now)
    if plan.state == RUNNING:
        return replace(plan, wish=CANCELLED)
    return ended(plan, now, state=CANCELLED, failure=plan.failure)


def as_wished(plan: Plan, now: datetime) -> Plan:
    """Between two slices: as somebody wants it."""
    if plan.wish == PAUSED:
        return replace(plan, state=PAUSED, wish=None)
    # Whose answer was lost may have been done: the receipt must not say that nothing was.
    return ended(plan, now, state=CANCELLED, failure=plan.failure) if plan.wish else plan


def begun(plan: Plan, now: datetime) -> Plan:
    """It runs, its first slice due at once."""
    return replace(plan, state=RUNNING, started_at=now, next_at=now)


def slice_of(plan: Plan) -> Mapping[str, Any]:
    """What the next request is about: the next letters, or all that there is."""
    if not ACTS[plan.act].is_sliced:
        return plan.scope
    return {"ids": plan.scope["ids"][plan.done : plan.done + plan.size]}


def asked(plan: Plan, _now: datetime) -> Plan:
    """Before the next request goes out."""
    return replace(plan, failure=UNANSWERED)


def put_off(plan: Plan, now: datetime) -> Plan:
    """Its service does not answer: the same slice a little later."""
    return replace(plan, next_at=now + ASKED_AGAIN)


def went_on(plan: Plan, now: datetime, *, counts: Mapping[str, int]) -> Plan:
    """After the next slice; the pace is kept from slice to slice, and what was missed is not made up for."""
    outcome = dict(plan.outcome or {})
    for code, count in counts.items():
        outcome[code] = outcome.get(code, 0) + count
    done = min(plan.count, plan.done + plan.size)
    due = max((plan.next_at or now) + SLICE_EVERY, now)
    plan = replace(plan, done=done, outcome=outcome, next_at=due, failure=None)
    return ended(plan, now, state=DONE) if done == plan.count else plan


def ended(plan: Plan, now: datetime, *, state: str, failure: str | None = None) -> Plan:
    """It goes no further."""
    return replace(plan, state=state, ended_at=now, failure=failure)


def counts_of(plan: Plan) -> dict[str, int]:
    """What the trail and the facts are told of the outcome."""
    outcome = plan.outcome or {}
    done = sum(count for code, count in outcome.items() if code in ACHIEVED)
    counts = {"planned": plan.count, "done": done, "left": sum(outcome.values()) - done}
    # Whatever a service counted: an end that no event can hold would never be told, and the plan never end.
    return {name: min(count, COUNT_MAX) for name, count in counts.items()}


def receipt_of(plan: Plan, cell: str) -> Mapping[str, Any]:
    """What is signed once it has ended; no reason, for that is free text."""
    told = {
        "iss": cell,
        "plan": plan.id,
        "act": plan.act,
        "service": plan.service,
        "chosen": dict(plan.chosen),
        "range": None if ACTS[plan.act].is_about_letters else dict(plan.scope),
        "count": plan.count,
        "outcome": dict(plan.outcome or {}),
        "state": plan.state,
        "failure": plan.failure,
        "actor": plan.confirmed_by,
        "approved_by": plan.approved_by,
        "made_at": _moment(plan.made_at),
        "started_at": _moment(plan.started_at),
        "ended_at": _moment(plan.ended_at),
    }
    return {name: one for name, one in told.items() if one is not None}


def shown(plan: Plan, now: datetime) -> dict[str, Any]:
    """What whoever may look is shown: never the ids of what it is about."""
    rule = ACTS[plan.act]
    still = {code: count for code, count in plan.figures.items() if code != "readable"}
    return {
        "id": plan.id,
        "act": plan.act,
        "service": plan.service,
        "chosen": dict(plan.chosen),
        "count": plan.count,
        "figures": dict(plan.figures),
        "readable": plan.figures.get("readable") if rule.is_about_letters else None,
        "still": still if rule.is_about_letters else {},
        "skips": plan.skips,
        "rate_per_second": plan.rate if rule.is_sliced else None,
        "expires_at": plan.expires_at,
        "needs_second": plan.needs_second,
        "state": plan.state_at(now),
        "made_by": plan.made_by,
        "reason": plan.reason,
        "approved_by": plan.approved_by,
        "progress": dict(plan.outcome or {}),
        "failure": plan.failure if plan.ended_at else None,
        "receipt": plan.receipt,
    }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
