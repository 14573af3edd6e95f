"""What somebody is about to see, as the trail is asked for it; and what is shown once it has agreed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.events.access import Access, Item, ProtocolVersion, Reason
from schemas.events.access import ConsentVersion as ConsentCovering
from schemas.trail.bytes import subject_key
from schemas.wire.body import instant_text
from services.sector.domain.refusals import NotFound
from services.sector.domain.requests import Asker
from services.sector.domain.views import ReferralView
from services.sector.handlers.work import Case, ShownConsent, Work


@dataclass(frozen=True, slots=True)
class Look:
    """One look, not yet allowed; `tag_key` where this service owns the subject, so that it checks the tag."""

    access: Access
    items: tuple[Item, ...] = ()
    tag_key: bytes | None = field(default=None, repr=False)


async def look_at_referral(referral: str, by: Asker, purpose: str, work: Work) -> Look:
    """The look at one referral: its owner sees its own case, the receiver what was addressed to it."""
    view = await own_view(referral, by, work)
    access = Access(
        act="view",
        purpose=purpose,
        basis="own_case" if view.role == "owner" else "referral",
        actor=by.actor,
        agency=by.agency,
        subject=view.referral,
        referral=view.referral,
        consent=ConsentCovering(id=view.consent.id, version=view.consent.version) if view.consent else None,
        protocol=await _protocol(view, work),
        explain=(Reason(code=f"is_{view.role}", ref=view.referral),),
    )
    return Look(access, tag_key=await _tag_key(view, work))


async def own_view(referral: str, by: Asker, work: Work) -> ReferralView:
    """The asker's view of a referral; unknown and not hers are the same."""
    for view in await work.views.find([referral], by.agency):
        return view
    raise NotFound


def look_at_worklist(referrals: Sequence[str], by: Asker, purpose: str) -> Look:
    """The look at what awaits an agency: one item for each referral about to be shown; none is a look too."""
    access = Access(
        act="list",
        purpose=purpose,
        basis="referral",
        actor=by.actor,
        agency=by.agency,
        explain=(Reason(code="awaits_agency"),),
    )
    return Look(access, tuple(Item(subject=referral, referral=referral) for referral in referrals))


async def look_at_case(case_id: str, by: Asker, purpose: str, work: Work) -> Look:
    """The look at an agency's own case."""
    case = await work.cases.find(case_id, by.agency)
    if case is None:
        raise NotFound
    access = Access(
        act="view",
        purpose=purpose,
        basis="own_case",
        actor=by.actor,
        agency=by.agency,
        subject=case.subject,
        explain=(Reason(code="is_owner"),),
    )
    return Look(access, tag_key=subject_key(case.key, 0))


async def _protocol(view: ReferralView, work: Work) -> ProtocolVersion | None:
    found = await work.state.protocol_with(view.protocol) if view.protocol else None
    return ProtocolVersion(id=found, hash=bytes.fromhex(view.protocol or "")) if found else None


async def _tag_key(view: ReferralView, work: Work) -> bytes | None:
    if view.case is None or view.subject_number is None:
        return None
    case = await work.cases.find(view.case, view.agency)
    return subject_key(case.key, view.subject_number) if case else None


def row_of(view: ReferralView) -> Mapping[str, Any]:
    """A referral as a row of a list."""
    own = {"case": view.case, "consent": _consent_of(view)} if view.role == "owner" else {}
    return {
        "referral": view.referral,
        "role": view.role,
        **own,
        "state": view.state,
        "number": view.number,
        "awaits_you": view.is_awaited,
        "offer": view.offer,
        "updated_at": view.updated_at and instant_text(view.updated_at),
    }


def _consent_of(view: ReferralView) -> Mapping[str, Any] | None:
    return {"id": view.consent.id, "version": view.consent.version} if view.consent else None


def page_of(view: ReferralView) -> Mapping[str, Any]:
    """A referral alone: the row, and the last facts."""
    return {**row_of(view), "protocol": view.protocol, "facts": list(view.facts)}


def case_page(case: Case, consents: Sequence[ShownConsent], referrals: Sequence[str]) -> Mapping[str, Any]:
    """A case as its agency sees it."""
    return {
        "id": case.id,
        "reference": case.reference,
        "opened_at": instant_text(case.opened_at),
        "consents": [{"document": document, "withdrawn": withdrawn} for document, withdrawn in consents],
        "referrals": list(referrals),
    }
