"""What agencies ask: each request is one transaction, and is answered once that is committed."""

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.events.access import REPORTS_MAX, Access, EventReport, OutcomeReport, SubjectKey
from schemas.events.consent import ConsentRef, ConsentVersion
from schemas.events.referral import (
    OfferFields,
    OfferReferral,
    RedirectReferral,
    ReofferReferral,
    StepBase,
)
from schemas.topics import steps_of
from schemas.trail.bytes import subject_key
from schemas.trail.permits import PermitBody
from schemas.wire.body import instant_text
from schemas.wire.packets import DATA_KEY_BYTES
from services.runtime.admission import check_admission
from services.runtime.errors import NotFound
from services.runtime.ids import new_id, random_bytes
from services.runtime.subscription import OutboxEvent
from services.sector.domain import refusals
from services.sector.domain.bodies import (
    CaseRequest,
    ConsentRequest,
    OfferRequest,
    RedirectRequest,
    ReofferRequest,
    RequestBody,
)
from services.sector.domain.closures import Task
from services.sector.domain.consents import CONSENTS_PER_CASE_MAX, check_covers, form_hash
from services.sector.domain.packets import NumberedSubject, PacketWriter
from services.sector.domain.requests import Asker, Reply, check_step
from services.sector.domain.views import ReferralView
from services.sector.handlers.work import Case, Work

DENIALS_FOLD_WITHIN: Final = timedelta(seconds=60)
"""Denials of one actor for one reason are two entries at most in this time: the first, and all the others."""
RETENTION: Final = "case"
"""How long the trail keeps a subject's details: as long as the case."""


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that may come again: who sent it, the digest of its key (an agency's own words), and that
    of all that it says."""

    by: Asker
    key_digest: bytes
    request_digest: bytes


async def check_admitted(by: Asker, work: Work, *, though_suspended: bool = False) -> None:
    """Refuse an agency that is not this sector's, and a suspended one unless this stays open to it."""
    standing = (await work.register.standings({by.agency})).get(by.agency)
    check_admission(standing, sector=work.profile.name, though_suspended=though_suspended)


async def answer_once(
    once: KeyedRequest,
    work: Work,
    act: Callable[[Work], Awaitable[Reply]],
    *,
    protects_her: bool = False,
) -> Reply:
    """Act on a request, or answer its repeat as the first time; what is refused leaves nothing behind."""
    await check_admitted(once.by, work, though_suspended=protects_her)
    given = await work.replies.claim(once.by.agency, once.key_digest, once.request_digest)
    if given is None:
        reply = await act(work)
        await work.replies.keep(once.by.agency, once.key_digest, reply)
        return reply
    request_digest, reply = given
    if request_digest != once.request_digest:
        raise refusals.IdempotencyMismatch
    return Reply(reply.status, {**reply.headers, "Idempotent-Replayed": "true"}, reply.body)


async def close_once(
    once: KeyedRequest,
    work: Work,
    close: Callable[[Work], Awaitable[Task | None]],
    *,
    protects_her: bool = False,
) -> Task | None:
    """Close what a request closes, before it is acted on; None where it was answered already."""
    await check_admitted(once.by, work, though_suspended=protects_her)
    given = await work.replies.given(once.by.agency, once.key_digest)
    if given is None:
        return await close(work)
    if given[0] != once.request_digest:
        raise refusals.IdempotencyMismatch
    return None


async def open_case(asked: CaseRequest, by: Asker, work: Work) -> Reply:
    """A new case: its key is drawn here and sealed to the vault; its alias in the trail is known here."""
    at = work.clock.now()
    case = Case(
        id=new_id("case"),
        agency=by.agency,
        reference=asked.reference,
        subject=new_id("subject"),
        packet=new_id("packet"),
        keyset=new_id("keyset"),
        opened_at=at,
    )
    case_key = random_bytes(DATA_KEY_BYTES)
    writer = PacketWriter(await work.packets.intake(at), case.keyset, random_bytes, new_id)
    await work.cases.add(case)
    await work.packets.add([writer.wrap_case_key(case_key)])  # from here on only the vault can use it
    key = subject_key(case_key, 0)
    await work.reports.add([SubjectKey(id=case.subject, key=key, retention=RETENTION)])
    body = {"id": case.id, "opened_at": instant_text(at)}
    return Reply(201, {"Location": f"/v1/cases/{case.id}"}, body)


async def record_consent(case_id: str, asked: ConsentRequest, by: Asker, work: Work) -> Reply:
    """What she agreed to, signed by this service; the trail learns of it in the same transaction."""
    case = await work.cases.lock(case_id, by.agency)
    await check_new_consent(case.id, asked, work)
    version = new_version(case, asked, work.clock.now())
    signature, _ = await work.cases.add_consent(case.id, version)
    event = consent_event(by, version.ref, "recorded", version.recorded_at, subject=case.subject)
    await work.reports.add([event])
    return consent_reply(case.id, version, signature)


async def check_new_consent(case: str, asked: ConsentRequest, work: Work) -> None:
    """Refuse a version too many, and recipients that nobody knows."""
    if len(await work.cases.consents(case)) >= CONSENTS_PER_CASE_MAX:
        raise refusals.TooManyConsents
    recipients = set(asked.scope.recipients)
    if recipients != set(await work.register.standings(recipients)):
        raise refusals.RecipientNotAdmitted


def new_version(
    case: Case, asked: ConsentRequest, at: datetime, *, consent: str | None = None, number: int = 1
) -> ConsentVersion:
    """What she agreed to, as this service will sign it; the first version of a new consent unless told."""
    return ConsentVersion(
        id=consent or new_id("consent"),
        version=number,
        keyset=case.keyset,
        scope=asked.scope,
        form_hash=form_hash(asked.form_version, asked.language),
        language=asked.language,
        agency=case.agency,
        recorded_at=at,
    )


def consent_reply(case: str, version: ConsentVersion, signature: bytes) -> Reply:
    """A version of a consent as it was recorded and signed."""
    body = {
        **version.ref.model_dump(),
        "document": version.model_dump(mode="json"),
        "signature": base64.b64encode(signature).decode(),
    }
    return Reply(201, {"Location": f"/v1/cases/{case}"}, body)


async def begin_referral(asked: OfferRequest, agency: str, work: Work, at: datetime) -> Mapping[str, Any]:
    """A new referral of a case: own view and the trail's subject; gives what the step to the arbiter says."""
    case = await work.cases.lock(asked.case, agency)  # from here no withdrawal on this case overtakes us
    if asked.recipient == agency:
        raise refusals.RecipientIsOwner
    consent = await work.cases.consent(asked.consent)
    proof = check_covers(consent, asked, agency, at=at)
    own = {name: getattr(asked, name) for name in (*OfferFields.model_fields, "duty")}  # checked at the door
    if consent is None or not consent.version.scope.statistics:
        own["count"] = "none"
    referral, number = new_id("referral"), await work.cases.next_subject(case.id)
    view = ReferralView(
        referral, agency, "owner", case.id, number, asked.consent, request=asked, updated_at=at
    )
    await work.views.save([view])
    subject = NumberedSubject(id=referral, keyset=case.keyset, number=number, retention=RETENTION)
    await work.reports.add([subject])
    return {"referral": referral, "agency": agency, "consent": proof, **own}


async def offer(asked: OfferRequest, by: Asker, work: Work) -> Reply:
    """Offer a referral: own view, the trail's subject and the step are one transaction, without a permit."""
    at = work.clock.now()
    for other in asked.alternatives:
        consent = await work.cases.consent(asked.consent)
        check_covers(consent, asked.model_copy(update=dict(other)), by.agency, at=at)
    step = OfferReferral.model_construct(**await begin_referral(asked, by.agency, work, at))
    return await send_step(step, work, at)


async def redirect(view: ReferralView, asked: OfferRequest, work: Work, at: datetime) -> RedirectReferral:
    """Ask another service in place of one that does not help: the successor's view, and the step for both."""
    said = dict(await begin_referral(asked, view.agency, work, at))
    successor = said.pop("referral")
    return RedirectReferral.model_construct(referral=view.referral, successor=successor, **said)


async def ruling_version(asked: OfferRequest, work: Work) -> ConsentRef:
    """The newest version of the consent that a referral rests on, unless she is just taking it back."""
    ruling = await work.cases.ruling_consent(asked.consent.id)
    if ruling is None or await work.closures.closed_among({ruling.version.ref.ledger_id}):
        raise refusals.ConsentDoesNotCover
    return ruling.version.ref


async def ask_step(
    kind: type[StepBase],
    referral: str,
    asked: RequestBody,
    by: Asker,
    work: Work,
    *,
    seen: frozenset[int] | None,
) -> Reply:
    """Ask the arbiter for a step on a referral."""
    view = (await work.views.lock({(referral, by.agency)})).get((referral, by.agency))
    if view is None:
        raise NotFound
    if view.case is not None:
        await work.cases.find(view.case, by.agency)
    check_step(kind, view, seen=seen)
    at = work.clock.now()
    if isinstance(asked, (RedirectRequest, ReofferRequest)):
        return await send_step(await _on_her_consent(view, asked, work, at), work, at)
    step = kind.model_construct(referral=referral, agency=by.agency, **dict(asked))  # checked at the door
    return await send_step(step, work, at)


async def _on_her_consent(
    view: ReferralView, asked: RedirectRequest | ReofferRequest, work: Work, at: datetime
) -> StepBase:
    """A step that rests on her consent once more: the one of the referral, or a newer version of it."""
    before = view.request
    if before is None:
        raise refusals.OwnerAlone
    given = {name: value for name, value in dict(asked).items() if value is not None}
    ruling = await ruling_version(before, work)
    # Who asks by hand decides from here on.
    again = before.model_copy(update={**given, "consent": ruling, "alternatives": ()})
    await work.views.save([replace(view, request=before.model_copy(update={"alternatives": ()}))])
    if isinstance(asked, RedirectRequest):
        return await redirect(view, again, work, at)
    await work.cases.lock(again.case, view.agency)  # as for an offer
    proof = check_covers(await work.cases.consent(again.consent), again, view.agency, at=at)
    return ReofferReferral.model_construct(
        referral=view.referral, agency=view.agency, duty=asked.duty, reason=asked.reason, consent=proof
    )


async def record_denial(by: Asker, reason: str, typed: str | None, work: Work) -> None:
    """Tell the trail that somebody asked for what they may not; `typed` is the id, if it looks like one.

    The first is told at once, those behind it are counted: whoever tries thousands must not fill the trail.
    """
    access, at = Access(act="denial", actor=by.actor, agency=by.agency, reason=reason), work.clock.now()
    if await work.reports.is_first_denial(access, at):
        await work.reports.add([event_report(access.model_copy(update={"referral": typed}), at)])


async def fold_denials(work: Work) -> bool:
    """Tell the trail of the denials behind each first one whose time is over; whether there may be more."""
    ended = await work.reports.end_denials(work.clock.now() - DENIALS_FOLD_WITHIN)
    folded = [event_report(access, since, until) for access, since, until in ended if access.times]
    if folded:
        await work.reports.add(folded)
    return len(ended) == REPORTS_MAX


async def send_step(step: StepBase, work: Work, at: datetime) -> Reply:
    """Put a step on its way to the arbiter."""
    event = new_id("event")
    await work.send([OutboxEvent(steps_of(work.profile.name), step, at, id=event)])
    body = {"referral": step.referral, "step": event, "received_at": instant_text(at)}
    if isinstance(step, RedirectReferral):
        body["successor"] = step.successor
    return Reply(202, {"Location": f"/v1/referrals/{step.referral}"}, body)


def consent_event(by: Asker, consent: ConsentRef, reason: str, at: datetime, **subject: Any) -> EventReport:
    """What she said about a consent, for her trail."""
    named = {"actor": by.actor, "agency": by.agency, "consent": consent, "reason": reason}
    return event_report(Access(act="consent", **named, **subject), at)


def event_report(access: Access, at: datetime, until: datetime | None = None) -> EventReport:
    """Something that was done, as the trail is told of it."""
    last = instant_text(until) if until else None
    return EventReport(
        idem=random_bytes(16), mode="with", happened=instant_text(at), until=last, access=access
    )


def outcome_report(permit: PermitBody, result: str, at: datetime, reason: str | None = None) -> OutcomeReport:
    """What came of an intent."""
    return OutcomeReport.model_validate(
        {
            "idem": random_bytes(16), "origin": permit.origin, "intent": permit.index, "result": result,
            "reason": reason, "happened": instant_text(at),
        }
    )  # fmt: skip
