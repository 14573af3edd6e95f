"""What somebody is about to see, as the trail is asked for it; and what is shown once it has agreed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeVar

from schemas.events.access import Access, Explanation, Item
from schemas.wire.body import instant_text
from services.runtime.errors import NotFound
from services.sector.domain.refusals import ConsentDoesNotCover
from services.sector.domain.requests import Asker
from services.sector.domain.views import ReferralView
from services.sector.handlers.work import Case, Work

Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class Look:
    """One look, not yet allowed."""

    access: Access
    items: tuple[Item, ...] = ()


class TrailGate(Protocol):
    """Shows what a look is for once the trail holds it; raises TrailUnavailable."""

    async def __call__(self, look: Look, load: Callable[[Work], Awaitable[Shown]]) -> Shown:
        """Ask, check, load and settle; `load` runs inside the transaction that uses the permit up."""


async def look_at_referral(referral: str, by: Asker, purpose: str, work: Work) -> Look:
    """The look at one referral: its owner sees its own case, the receiver what it was offered, for that."""
    view = await own_view(referral, by, work)
    asked_for = view.offer and view.offer.get("purpose")
    if view.role == "receiver" and asked_for and asked_for != purpose:
        raise ConsentDoesNotCover
    access = _access(
        "view",
        by,
        purpose,
        basis="own_case" if view.role == "owner" else "referral",
        subject=view.referral,
        referral=view.referral,
        consent=view.consent,
        protocol=await work.register.protocol_with(view.protocol) if view.protocol else None,
        explain=(Explanation(code=f"is_{view.role}", ref=view.referral),),
    )
    return Look(access)


async def own_view(referral: str, by: Asker, work: Work) -> ReferralView:
    """The asker's view of a referral; unknown and not theirs are the same."""
    for view in await work.views.find([referral], by.agency):
        if view.case is not None:
            await work.cases.find(view.case, by.agency)  # an erased case takes its referrals with it
        return view
    raise NotFound


ListCode = Literal["awaits_agency", "is_owner", "is_receiver"]
"""Why an agency is shown a list: what awaits it, what it owns, what it was asked."""


def look_at_list(code: ListCode, items: Sequence[Item], by: Asker, purpose: str) -> Look:
    """The look at a list: an item for each row about to be shown; none is a look too."""
    basis = "own_case" if code == "is_owner" else "referral"
    access = _access("list", by, purpose, basis=basis, explain=(Explanation(code=code),))
    return Look(access, tuple(items))


async def look_at_case(case: str, by: Asker, purpose: str, work: Work) -> Look:
    """The look at an agency's own case."""
    own = await work.cases.find(case, by.agency)
    access = _access(
        "view", by, purpose, basis="own_case", subject=own.subject, explain=(Explanation(code="is_owner"),)
    )
    return Look(access)


def row_of(view: ReferralView) -> Mapping[str, Any]:
    """A referral as a row of a list."""
    own = {"case": view.case, "consent": view.consent and view.consent.model_dump()}
    return {
        "referral": view.referral,
        "role": view.role,
        **(own if view.role == "owner" else {}),
        "state": view.state,
        "number": view.number,
        "awaits_you": view.is_awaited,
        "allowed_steps": view.allowed_steps,
        "offer": view.offer,
        "updated_at": view.updated_at and instant_text(view.updated_at),
    }


def page_of(view: ReferralView) -> Mapping[str, Any]:
    """A referral alone: the row, and the last facts."""
    return {**row_of(view), "protocol": view.protocol, "facts": list(view.facts)}


def case_row(case: Case) -> Mapping[str, Any]:
    """A case as a row of a list."""
    return {"id": case.id, "reference": case.reference, "opened_at": instant_text(case.opened_at)}


async def case_page(case: str, by: Asker, work: Work) -> Mapping[str, Any]:
    """A case as its agency sees it."""
    own = await work.cases.find(case, by.agency)
    consents = await work.cases.consents(case)
    return {
        **case_row(own),
        "consents": [{"document": document, "withdrawn": withdrawn} for document, withdrawn in consents],
        "referrals": await work.views.of_case(case),
    }


async def holders_of(case: str, by: Asker, work: Work) -> Sequence[Mapping[str, Any]]:
    """Who was given what of a case, and whether its copy is sealed."""
    own = await work.cases.find(case, by.agency)
    held = await work.packets.holders(own.id)
    views = await work.views.find({one.referral for one in held}, by.agency)
    sealed = {view.referral for view in views if view.state == "sealed"}
    return [
        asdict(one) | {"released_at": instant_text(one.released_at), "sealed": one.referral in sealed}
        for one in held
    ]


def _access(act: str, by: Asker, purpose: str, **more: Any) -> Access:
    return Access(act=act, purpose=purpose, actor=by.actor, agency=by.agency, **more)
