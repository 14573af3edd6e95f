"""What agencies ask: each request is one transaction, and is answered once that is committed."""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from schemas.events.access import REPORTS_MAX, Access, EventReport, SubjectKey
from schemas.events.access import ConsentVersion as ConsentCovering
from schemas.events.consent import ConsentScope, ConsentVersion
from schemas.events.referral import OfferReferral, StepBase, WithdrawReferral
from schemas.trail.bytes import subject_key
from schemas.wire.body import instant_text
from services.runtime.ids import new_id, random_bytes
from services.sector.domain.bodies import OFFER_FIELDS, CaseAsked, ConsentAsked, OfferAsked
from services.sector.domain.consents import CONSENTS_PER_CASE_MAX, Wanted, check_covers, form_hash
from services.sector.domain.refusals import NotFound, RecipientIsOwner, RecipientNotAdmitted, TooManyConsents
from services.sector.domain.requests import Answer, Asker, check_step, same_again
from services.sector.domain.views import ConsentRef, ReferralView
from services.sector.handlers.admission import check_admitted
from services.sector.handlers.work import Case, Work

DENIALS_FOLD_WITHIN: Final = timedelta(seconds=60)
"""Denials of one actor for one reason are two entries at most in this time: the first, and all the others."""
RETENTION: Final = "case"
"""How long the trail keeps a subject's details: as long as the case."""


@dataclass(frozen=True, slots=True)
class Once:
    """A request that may come again: who sent it, under which key, and the digest of all that it says."""

    by: Asker
    key: str
    request_digest: bytes

    @property
    def key_digest(self) -> bytes:
        """Keys are an agency's own words, so only their digest is kept."""
        return hashlib.sha256(self.key.encode()).digest()


async def answer_once(
    once: Once, work: Work, act: Callable[[Work], Awaitable[Answer]], *, protects_her: bool = False
) -> Answer:
    """Act on a request, or answer its repeat as the first time; what is refused leaves nothing behind."""
    await check_admitted(once.by, work, though_suspended=protects_her)
    kept = await work.answers.claim(once.by.agency, once.key_digest, once.request_digest)
    if kept:
        return same_again(kept, once.request_digest)
    answer = await act(work)
    await work.answers.keep(once.by.agency, once.key_digest, answer)
    return answer


async def open_case(asked: CaseAsked, by: Asker, work: Work) -> Answer:
    """A new case: its key, and its alias in the trail, are drawn here and known here alone."""
    at = work.clock.now()
    case = Case(new_id("case"), by.agency, asked.reference, new_id("subject"), random_bytes(32), at)
    await work.cases.add(case)
    await work.trail.report([_subject(case, case.subject, 0)])
    body = {"id": case.id, "opened_at": instant_text(at)}
    return Answer(201, {"Location": f"/v1/cases/{case.id}"}, body)


async def record_consent(case_id: str, asked: ConsentAsked, by: Asker, work: Work) -> Answer:
    """What she agreed to, signed by this service; the trail learns of it in the same transaction."""
    case = await work.cases.lock(case_id, by.agency)
    if case is None:
        raise NotFound
    if await work.cases.count_consents(case.id) >= CONSENTS_PER_CASE_MAX:
        raise TooManyConsents
    recipients = set(asked.scope.recipients)
    if recipients != set(await work.state.admissions(recipients)):
        raise RecipientNotAdmitted
    version = ConsentVersion(
        id=new_id("consent"),
        version=1,
        scope=ConsentScope(**asked.scope.model_dump()),
        form_hash=form_hash(asked.form_version, asked.language),
        language=asked.language,
        agency=by.agency,
        recorded_at=work.clock.now(),
    )
    signature = work.sign(version.signed_bytes())
    await work.cases.add_consent(case.id, version, signature)
    await work.trail.report(
        [_consent_event(by, case.subject, ConsentRef(version.id, 1), "recorded", None, version.recorded_at)]
    )
    body = {
        "id": version.id,
        "version": 1,
        "document": version.model_dump(mode="json"),
        "signature": base64.b64encode(signature).decode(),
    }
    return Answer(201, {"Location": f"/v1/cases/{case.id}"}, body)


async def offer(asked: OfferAsked, by: Asker, work: Work) -> Answer:
    """Offer a referral: own view, the trail's subject and the step are one transaction, without a permit."""
    at = work.clock.now()
    case = await work.cases.lock(asked.case, by.agency)  # from here no withdrawal on this case overtakes us
    if case is None:
        raise NotFound
    if asked.recipient == by.agency:
        raise RecipientIsOwner
    named = ConsentRef(asked.consent.id, asked.consent.version)
    wanted = Wanted(case.id, by.agency, asked.recipient, asked.groups, asked.purpose)
    proof = check_covers(await work.cases.consent(named), wanted, at=at)
    own = asked.model_dump(include=set(OFFER_FIELDS))
    step = OfferReferral(referral=new_id("referral"), agency=by.agency, consent=proof, **own)
    number = await work.cases.next_subject(case.id)
    view = ReferralView(step.referral, by.agency, "owner", case.id, number, named, updated_at=at)
    await work.views.save([view])
    await work.trail.report([_subject(case, step.referral, number)])
    return _receipt(step, await work.steps.send(step, at=at), at)


async def ask_step(step: StepBase, by: Asker, work: Work, *, seen: frozenset[int] | None) -> Answer:
    """Ask the arbiter for a step on a referral; a withdrawal stops releases before it is even sent."""
    view = await _own_view(step.referral, by, work)
    check_step(step, view, seen=seen)
    at = work.clock.now()
    if isinstance(step, WithdrawReferral):
        await _stop_releases(view, by, work, at)
    return _receipt(step, await work.steps.send(step, at=at), at)


async def record_denial(by: Asker, typed: str | None, work: Work) -> None:
    """Tell the trail that somebody asked for what is not hers; `typed` is the id, if it looks like one.

    The first is told at once, those behind it are counted: whoever tries thousands must not fill the trail.
    """
    access, at = Access(act="denial", actor=by.actor, agency=by.agency, reason="not_found"), work.clock.now()
    if await work.trail.is_first_denial(access, at):
        await work.trail.report([_event(access.model_copy(update={"referral": typed}), at)])


async def fold_denials(work: Work) -> bool:
    """Tell the trail of the denials behind each first one whose time is over; whether there may be more."""
    ended = await work.trail.end_denials(work.clock.now() - DENIALS_FOLD_WITHIN)
    folded = [
        _event(one.access.model_copy(update={"times": one.times}), one.since, one.until)
        for one in ended
        if one.times
    ]
    if folded:
        await work.trail.report(folded)
    return len(ended) == REPORTS_MAX


async def _own_view(referral: str, by: Asker, work: Work) -> ReferralView:
    view = (await work.views.lock({(referral, by.agency)})).get((referral, by.agency))
    if view is None:
        raise NotFound
    return view


async def _stop_releases(view: ReferralView, by: Asker, work: Work, at: datetime) -> None:
    if view.case is None or view.consent is None:
        return  # not the owner: the arbiter will refuse the step
    await work.cases.lock(view.case, by.agency)
    if await work.cases.withdraw(view.consent, view.referral, at):  # a repeat is no new act of hers
        event = _consent_event(by, view.referral, view.consent, "withdrawn", view.referral, at)
        await work.trail.report([event])


def _receipt(step: StepBase, event: str, at: datetime) -> Answer:
    body = {"referral": step.referral, "step": event, "received_at": instant_text(at)}
    return Answer(202, {"Location": f"/v1/referrals/{step.referral}"}, body)


def _subject(case: Case, subject: str, number: int) -> SubjectKey:
    return SubjectKey(id=subject, key=subject_key(case.key, number), retention=RETENTION)


def _consent_event(
    by: Asker, subject: str, consent: ConsentRef, reason: str, referral: str | None, at: datetime
) -> EventReport:
    covering = ConsentCovering(id=consent.id, version=consent.version)
    access = Access(
        act="consent",
        actor=by.actor,
        agency=by.agency,
        subject=subject,
        referral=referral,
        consent=covering,
        reason=reason,
    )
    return _event(access, at)


def _event(access: Access, at: datetime, until: datetime | None = None) -> EventReport:
    last = instant_text(until) if until else None
    return EventReport(
        idem=random_bytes(16), mode="with", happened=instant_text(at), until=last, access=access
    )
