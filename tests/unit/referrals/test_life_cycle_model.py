"""Walks of allowed and forbidden moves with time, over the pure functions; invariants of every walk.

(a) her withdrawal wins, (b) strangers move nothing, (c) an end by her or by the owner delivers nothing,
(d) repeats and late steps revive nothing, (e) where nobody helps there is a successor or a counted need,
(f) one owner, (h) no clock pauses, (i) a receiver that is gone stops neither withdrawal nor cancellation.
"""

from datetime import timedelta
from functools import cache
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas.events.life_cycle import (
    ASKER,
    ENDED,
    LIVE,
    TERMINAL,
    UNHELPED,
    PartyName,
    Verb,
    allowed_steps,
)
from schemas.events.referral import STEPS, StepBase
from services.referrals.domain.gate import InForce
from services.referrals.domain.referral import Outcome, Referral, due
from services.referrals.domain.steps import decide
from tests.support.builders import (
    OWNER,
    RECEIVER,
    STRANGER,
    a_protocol,
    a_step,
    an_agency,
    an_entry,
    an_id,
    an_offer,
    asked,
    in_force,
)
from tests.support.clock import NOON

NAMES = sorted(name.removeprefix("referral.") for name in STEPS if name != "referral.offer")
SENDERS = {"owner": OWNER, "receiver": RECEIVER, "stranger": STRANGER}
PROTOCOL = a_protocol(valid_until=NOON + timedelta(days=4000))
HALVES = ("critical", "urgent", "priority", "routine")
MOVES_CLOCKS = ("narrow_consent", "withdraw", "order_erasure", "reoffer")
LASTING = {"expires_at": NOON + timedelta(days=4000)}


@cache
def with_receiver(status: str) -> InForce:
    """What is in force while the receiver is active, suspended, or gone."""
    agencies = [an_agency(name) for name in (OWNER, STRANGER)]
    if status != "gone":
        agencies.append(an_agency(RECEIVER, status=status))
    fresh = an_entry(confirmed_at=NOON + timedelta(days=3000))
    return in_force(agencies=agencies, entries=[fresh], protocols=[PROTOCOL])


class LifeCycleWalk(RuleBasedStateMachine):
    """One chain of referrals, whatever anybody asks of it in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.at = NOON
        self.known: dict[str, Referral] = {}
        self.seen: dict[str, list[str]] = {}
        self.followed: dict[str, str] = {}
        self.names = [an_id("referral", f"hop {number}") for number in range(1, 8)]
        self.receiver = "active"

    @initialize(urgency=st.sampled_from(HALVES), feedback=st.booleans())
    def offer(self, urgency: str, feedback: bool) -> None:
        self.urgency = urgency
        consent: dict[str, Any] = {"feedback": feedback, **LASTING}
        self.ask(an_offer(self.names[0], urgency=urgency, consent=consent), "owner")

    @rule(days=st.sampled_from([0.001, 0.02, 0.3, 2.0, 40.0]))
    def wait(self, days: float) -> None:
        self.at += timedelta(days=days)

    @rule(status=st.sampled_from(["active", "suspended", "gone"]))
    def change_receiver(self, status: str) -> None:
        self.receiver = status

    @rule(verb=st.sampled_from(NAMES), sender=st.sampled_from(sorted(SENDERS)), place=st.integers(0, 6))
    def step(self, verb: str, sender: str, place: int, following: str = "") -> None:
        referral = self.names[min(place, len(self.known))]
        following = following or self.names[min(len(self.known), len(self.names) - 1)]
        more: dict[str, Any] = {"successor": following, "urgency": self.urgency} if verb == "redirect" else {}
        if verb in ("redirect", "reoffer"):
            more["consent"] = an_offer(consent=LASTING).consent
        self.ask(a_step(verb, SENDERS[sender], referral, **more), sender)

    @rule(pick=st.integers(0, 99), days=st.sampled_from([0.0, 0.001, 0.01]))
    @precondition(lambda self: self.known)
    def go_on(self, pick: int, days: float) -> None:
        """A step that the table allows on the newest referral, so that walks come far."""
        self.at += timedelta(days=days)
        place = len(self.known) - 1
        now = self.known[self.names[place]].circumstances(self.at)
        parties: tuple[PartyName, ...] = ("owner", "receiver")
        moves = [(party, verb) for party in parties for verb in allowed_steps(party, now)]
        moves = [(party, verb) for party, verb in moves if Verb(verb) not in _STOPPING] or moves
        if moves:
            party, verb = moves[pick % len(moves)]
            self.step(verb, party, place)

    @rule(verb=st.sampled_from(["withdraw", "order_erasure"]))
    @precondition(lambda self: any(one.state in UNHELPED for one in self.known.values()))
    def stop_before_it_is_there(self, verb: str) -> None:
        """Her withdrawal overtakes the redirection that would create what it names."""
        if len(self.known) < len(self.names):
            following = self.names[len(self.known)]
            self.ask(a_step(verb, OWNER, following), "owner")
            self.step("redirect", "owner", len(self.known) - 2, following)

    @rule()
    @precondition(lambda self: self.known)
    def tick(self) -> None:
        for referral in list(self.known.values()):
            if referral.protocol and (outcome := due(referral, PROTOCOL, at=self.at)):
                assert outcome.referral is not None
                assert referral.state not in UNHELPED or outcome.referral.state is referral.state, "(e)"
                self.keep(referral, outcome, None, "clock")

    def ask(self, step: StepBase, sender: str) -> None:
        in_force_now = with_receiver(self.receiver)
        before = self.known.get(step.referral)
        successor = self.known.get(getattr(step, "successor", ""))
        outcome = decide(before, asked(step), in_force_now, at=self.at, successor=successor)
        self.keep(before, outcome, step, sender)
        again = decide(
            self.known.get(step.referral), asked(step), in_force_now, at=self.at,
            successor=self.known.get(getattr(step, "successor", "")),
        )  # fmt: skip
        repeatable = {"narrow_consent", "report_break_glass"}  # these move no state, and may come again
        verb = step.type.removeprefix("referral.")
        if outcome.refusal is None and verb not in repeatable:
            assert again.refusal is not None, f"(d) {verb} twice"

    def keep(self, before: Referral | None, outcome: Outcome, step: StepBase | None, sender: str) -> None:
        now = outcome.referral
        if now is None or now is before:
            assert not outcome.facts
            assert outcome.refusal or now is before
            return
        verb = step.type.removeprefix("referral.") if step else "clock"
        told = [fact.type.removeprefix("referral.") for fact in outcome.facts]
        assert told, "nothing changes in silence"
        if before is not None:
            self.check_move(before, now, verb, sender, told, is_refused=outcome.refusal is not None)
        if outcome.successor is not None:
            new = outcome.successor.referral
            assert new is not None
            assert before is not None
            assert (new.owner, new.hop) == (before.owner, before.hop + 1), "(f)"
            assert set(new.groups) <= set(before.groups)
            assert new.hop <= 5
            assert new.id not in self.known, "(a) what she withdrew is never created"
            self.known[new.id], self.followed[before.id] = new, new.id
            self.seen[new.id] = ["offered"]
        self.known[now.id] = now
        self.seen.setdefault(now.id, []).extend(told)

    def check_move(
        self, before: Referral, now: Referral, verb: str, sender: str, told: list[str], *, is_refused: bool
    ) -> None:
        assert now.owner == before.owner, "(f)"
        assert sender != "stranger", "(b)"
        assert is_refused or verb == "clock" or ASKER[Verb(verb)] == sender, "(b)"
        assert before.state not in TERMINAL or now.state in (before.state, "sealed"), "(d)"
        for name, running in before.deadlines.items():
            if name in now.deadlines and verb not in (
                "narrow_consent",
                "withdraw",
                "order_erasure",
                "reoffer",
            ):
                assert now.deadlines[name].by_at == running.by_at, "(h)"
        if not is_refused and verb in ("withdraw", "order_erasure") and before.state in LIVE:
            assert now.state == "withdrawn", "(a)"
        if not is_refused and verb in ("withdraw", "cancel", "order_erasure"):
            assert not {"provided", "started"} & set(told), "(c)"
        if before.state in UNHELPED and now.state not in UNHELPED:
            assert now.state in ("redirected", "closed_unmet", "withdrawn", "offered"), "(e)"

    @invariant()
    def nobody_is_forgotten(self) -> None:
        for referral in self.known.values():
            if referral.protocol and referral.state != "sealed":
                assert referral.due_at is not None, "a clock runs wherever somebody must still act"
            if referral.state == "redirected":
                assert self.followed[referral.id] in self.known, "(e)"
            if referral.state in ENDED | {"sealed"} and "declined" in self.seen[referral.id]:
                ends = {"redirected", "closed_unmet", "withdrawn", "erasure_ordered"}
                assert ends & set(self.seen[referral.id]), "(e)"

    @invariant()
    def she_and_the_owner_can_always_stop_it(self) -> None:
        for status in ("suspended", "gone"):
            for referral in self.known.values():
                if referral.state in LIVE:
                    step = asked(a_step("withdraw", OWNER, referral.id))
                    outcome = decide(referral, step, with_receiver(status), at=self.at)
                    assert outcome.referral is not None
                    assert outcome.referral.state == "withdrawn", "(a), (i)"
                if referral.state in ("offered", "acknowledged", "accepted"):
                    step = asked(a_step("cancel", OWNER, referral.id))
                    outcome = decide(referral, step, with_receiver(status), at=self.at)
                    assert outcome.refusal is None, "(i)"


_STOPPING = {Verb.WITHDRAW, Verb.ORDER_ERASURE, Verb.CANCEL, Verb.NARROW_CONSENT}
TestLifeCycleWalk = LifeCycleWalk.TestCase
TestLifeCycleWalk.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)  # fmt: skip
