"""A referral as one party sees it: the fold of the facts that were addressed to it, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import facts as contract
from schemas.events.codes import RefusalCode
from schemas.events.consent import ConsentRef
from schemas.events.life_cycle import Circumstances, PartyName, allowed_steps
from schemas.events.referral import STEPS
from schemas.ids import EventId, ReferralId
from schemas.wire.body import Instant, instant_text, listed
from services.runtime.errors import Invalid
from services.sector.domain.bodies import OfferRequest

FACTS_KEPT_MAX: Final = 50
"""How many of the last facts a view shows."""
CASE_REFERRALS_MAX: Final = 100
"""How many of its referrals, the newest, a case's page names."""
WITHOUT_OFFER: Final = frozenset({"withdrawn", "sealed"})
"""States in which the receiver no longer sees what was offered: releases have stopped.

After an end a withdrawal leaves the state as it is; the fact itself then takes the offer away.
"""
ASKED: Final = frozenset(kind.removeprefix("referral.") for kind, step in STEPS.items() if step.resource)
_STOPS: Final = frozenset({"referral.withdrawn", "referral.erasure_ordered"})
HOP: Final = frozenset({"referral", "to", "number", "state", "protocol", "awaits", "awaits_desk"})
"""What a fact says of the referral itself, and not of what was offered."""


@dataclass(frozen=True, slots=True)
class ReferralView:
    """One party's view of one referral; `number` is that of the last fact applied."""

    referral: str
    agency: str
    role: PartyName
    case: str | None = None
    subject_number: int | None = None
    """Which subject of the case this referral is in the trail; its owner alone knows."""
    consent: ConsentRef | None = None
    """Which consent it rests on; its owner alone knows."""
    request: OfferRequest | None = None
    """What its owner asked for: what a successor repeats, and who is asked next."""
    state: contract.StateName | None = None
    number: int = 0
    is_awaited: bool = False
    """Whether this party must act next; nobody must before the arbiter has answered."""
    protocol: str | None = None
    offer: Mapping[str, Any] | None = None
    facts: tuple[Mapping[str, Any], ...] = ()
    updated_at: datetime | None = None

    @property
    def feedback_allowed(self) -> bool:
        """Whether her consent lets the receiver tell the owner how it went."""
        return bool(self.offer and self.offer.get("feedback_allowed"))

    @property
    def allowed_steps(self) -> list[str]:
        """What this party may ask of it as it stands, of the steps that agencies ask for one by one."""
        told = [fact["type"] for fact in self.facts]
        is_late = any(fact.get("timer") == "feedback" for fact in self.facts)
        circumstances = Circumstances(
            state=self.state,
            feedback_allowed=self.feedback_allowed,
            is_feedback_late=is_late,
            is_withdrawn=not _STOPS.isdisjoint(told),
            is_narrowed=_stands("referral.consent_narrowed", "referral.narrowing_confirmed", told),
            is_erased=_stands("referral.erasure_ordered", "referral.erased", told),
        )
        return [step for step in allowed_steps(self.role, circumstances) if step in ASKED]


class ThinEvent(BaseModel):
    """That something happened to one of the agency's referrals; read it to learn more."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    type: Annotated[str, listed(contract.FACTS)]
    referral: ReferralId
    number: int
    state: contract.StateName | None
    at: Annotated[Instant, Field(json_schema_extra={"format": "date-time"})]
    """Cut to the minute."""
    code: RefusalCode | None = None
    """Why a step was refused."""
    step: EventId | None = None
    """Which step was refused."""


class FeedEvent(ThinEvent):
    """A thin event where it stands in an agency's feed."""

    position: int


def with_fact(view: ReferralView | None, fact: contract.FactBase, *, at: datetime) -> ReferralView | None:
    """The view after one more fact, None where the fact is a repeat; a gap or a stray fact is Invalid."""
    if fact.to is None or fact.number is None:
        raise Invalid("schema_mismatch", "/to" if fact.to is None else "/number")
    view = view or _first_sight(fact, fact.to)
    if fact.number <= view.number:
        return None
    if fact.number != view.number + 1:
        raise Invalid("schema_mismatch", "/number")
    return _moved(view, fact, at)


def thin_event(fact: contract.FactBase, *, at: datetime) -> ThinEvent:
    """What an agency is told of a fact in its feed, its time cut to the minute."""
    refusal = fact.model_dump(include={"code", "step"}) if isinstance(fact, contract.StepRefused) else {}
    return ThinEvent(
        type=fact.type,
        referral=fact.referral,
        number=fact.number or 0,
        state=fact.state,
        at=at.replace(second=0, microsecond=0),
        **refusal,
    )


def _first_sight(fact: contract.FactBase, to: str) -> ReferralView:
    if not isinstance(fact, contract.ReferralOffered) or fact.receiver != to:
        raise Invalid("schema_mismatch", "/referral")
    return ReferralView(referral=fact.referral, agency=to, role="receiver")


def _moved(view: ReferralView, fact: contract.FactBase, at: datetime) -> ReferralView:
    state = fact.state or view.state
    offer = view.offer
    if isinstance(fact, contract.ReferralOffered):
        offer = fact.model_dump(mode="json", exclude_none=True, exclude=set(HOP))
    has_stopped = state in WITHOUT_OFFER or isinstance(fact, contract.ReferralWithdrawn)
    moved = replace(
        view,
        state=state,
        number=fact.number or view.number,
        protocol=fact.protocol or view.protocol,
        offer=None if view.role == "receiver" and has_stopped else offer,
        facts=(*view.facts, _shown(fact, at))[-FACTS_KEPT_MAX:],
        updated_at=at,
    )
    waits_for = state and contract.awaited(state, feedback_allowed=moved.feedback_allowed)
    return replace(moved, is_awaited=waits_for == view.role)


def _stands(ordered: str, confirmed: str, told: Sequence[str]) -> bool:
    """Whether what was ordered last has not been confirmed since."""
    return ordered in told and confirmed not in told[len(told) - told[::-1].index(ordered) :]


def _shown(fact: contract.FactBase, at: datetime) -> Mapping[str, Any]:
    """A fact in the list of a view; what an offer carries stands in the view's `offer`, and only there."""
    named = {"type": fact.type, "at": instant_text(at)}
    if isinstance(fact, contract.ReferralOffered):
        return named | fact.model_dump(mode="json", exclude_none=True, include={"number", "state"})
    return named | fact.model_dump(mode="json", exclude_none=True, exclude={"referral", "to", "protocol"})
