"""What stops releases: a row of the ledger first, in a transaction of its own; then all that follows from it.

Whatever a crash leaves half done is closed already, and `complete` does the rest.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.events.access import Access, SubjectErasure
from schemas.events.consent import ConsentRef, ConsentScope
from schemas.events.life_cycle import LIVE
from schemas.events.referral import NarrowConsent, OrderErasure, WithdrawReferral
from schemas.wire.body import instant_text
from services.runtime.errors import NotFound
from services.runtime.ids import random_bytes
from services.sector.domain import refusals
from services.sector.domain.bodies import ErasureRequest, VersionRequest
from services.sector.domain.closures import ErasureTask, ReplacementTask, Task, WithdrawalTask
from services.sector.domain.consents import lost_groups
from services.sector.domain.requests import Asker, Reply
from services.sector.domain.views import ReferralView
from services.sector.handlers.looks import own_view
from services.sector.handlers.requests import (
    KeyedRequest,
    check_new_consent,
    consent_event,
    consent_reply,
    event_report,
    new_version,
    send_step,
)
from services.sector.handlers.work import Case, Work

LEFT_FOR: Final = timedelta(seconds=60)
"""After this time what a request left undone is done without it."""


async def close_withdrawn(referral: str, asked: Any, by: Asker, work: Work) -> WithdrawalTask | None:
    """She takes back the consent that a referral rests on: recorded, and no release starts any more."""
    view = await own_view(referral, by, work)
    if view.case is None or view.consent is None:
        return None  # not the owner: the arbiter will refuse the step
    await work.cases.find(view.case, by.agency)
    ruling = await work.cases.ruling_consent(view.consent.id)
    if ruling is None:
        raise NotFound
    task = WithdrawalTask(
        agency=by.agency,
        actor=by.actor,
        duty=asked.duty,
        referral=referral,
        consent=ruling.version.ref,
        stop_contact=asked.stop_contact,
    )
    await close_for(task, task.consent.ledger_id, work)
    return task


async def withdraw(task: WithdrawalTask, work: Work) -> Reply:
    """The rest of a withdrawal: it waits for releases under way, then tells the arbiter and the trail."""
    by, at = task.by, work.clock.now()
    view = (await work.views.lock({(task.referral, by.agency)})).get((task.referral, by.agency))
    if view is None or view.case is None:
        raise NotFound
    await work.cases.lock(view.case, by.agency)
    if await work.cases.withdraw(task.consent, task.referral, at):  # a repeat is no new act of hers
        named = {"subject": task.referral, "referral": task.referral}
        await work.reports.add([consent_event(by, task.consent, "withdrawn", at, **named)])
    await work.closures.complete(task.consent.ledger_id, at)
    step = WithdrawReferral(
        referral=task.referral, agency=by.agency, duty=task.duty, stop_contact=task.stop_contact
    )
    return await send_step(step, work, at)


async def close_replaced(
    case_id: str, consent: str, asked: VersionRequest, once: KeyedRequest, work: Work
) -> ReplacementTask:
    """She agrees to more or to less: no release starts under the version before, and the next one follows."""
    by = once.by
    case = await work.cases.lock(case_id, by.agency)
    ruling = await work.cases.ruling_consent(consent)
    if ruling is None or ruling.case != case.id:
        raise NotFound
    await check_new_consent(case.id, asked, work)
    task = ReplacementTask(
        agency=by.agency,
        actor=by.actor,
        duty=asked.duty,
        case=case.id,
        document=new_version(
            case, asked, work.clock.now(), consent=consent, number=ruling.version.version + 1
        ),
        request=(once.key_digest + once.request_digest).hex(),
    )
    if await close_for(task, ruling.version.ref.ledger_id, work):
        return task
    # Closed before: she took it back and now agrees anew, or somebody is just recording a version.
    pending = await work.closures.task(ruling.version.ref.ledger_id)
    if isinstance(pending, ReplacementTask) and pending.request == task.request:
        return pending
    if pending is not None:
        raise refusals.ClosureUnderWay
    return task


async def record_version(task: ReplacementTask, work: Work) -> Reply:
    """The rest of a replacement: the new version rules, and holders of what it no longer covers are told."""
    by, at, version = task.by, work.clock.now(), task.document
    before = ConsentRef(id=version.id, version=version.version - 1)
    views = await _own_views(task.case, by.agency, work, version.id)
    case = await work.cases.lock(task.case, by.agency)
    signature, is_new = await work.cases.add_consent(case.id, version)
    if is_new:
        await work.reports.add([consent_event(by, version.ref, "recorded", at, subject=case.subject)])
        replaced = await work.cases.consent(before)
        for view in views:
            if replaced is not None:
                await _narrow(view, replaced.version.scope, task, work, at)
    await work.closures.complete(before.ledger_id, at)
    return consent_reply(case.id, version, signature)


async def close_erased(case_id: str, asked: ErasureRequest, by: Asker, work: Work) -> ErasureTask:
    """She wants her case erased: recorded, and nothing of it is shown or released any more."""
    case = await work.cases.find(case_id, by.agency)
    task = ErasureTask(agency=by.agency, actor=by.actor, duty=asked.duty, case=case.id)
    await close_for(task, case.keyset, work)
    return task


async def erase(task: ErasureTask, work: Work) -> Reply:
    """The rest of an erasure: it waits for releases under way, deletes, asks trail and holders to do so."""
    by, at = task.by, work.clock.now()
    views = await _own_views(task.case, by.agency, work)
    case = await work.cases.lock(task.case, by.agency, though_erased=True)
    if await work.closures.complete(case.keyset, at):
        await work.cases.erase(case)
        await work.views.blank(case.id)
        subjects = [case.subject, *(view.referral for view in views)]
        await work.reports.add(
            [
                SubjectErasure(idem=random_bytes(16), subject=subject, reason="case_erased")
                for subject in subjects
            ]
        )
        for view in views:
            step = OrderErasure(referral=view.referral, agency=by.agency, duty=task.duty)
            await send_step(step, work, at)
    return Reply(202, {}, {"id": case.id, "erased_at": instant_text(at)})


async def _own_views(
    case: str, agency: str, work: Work, consent: str | None = None
) -> Sequence[ReferralView]:
    """The owner's views of a case's referrals, locked: always before the case, as every step does."""
    referrals = await work.views.resting_on(case, consent)
    return [*(await work.views.lock({(referral, agency) for referral in referrals})).values()]


async def _narrow(
    view: ReferralView, before: ConsentScope, task: ReplacementTask, work: Work, at: datetime
) -> None:
    """Ask a receiver to seal what her newer consent no longer covers; before an offer it has nothing."""
    if view.state not in LIVE or view.offer is None:
        return
    version = task.document
    groups = lost_groups(before, version.scope, view.offer["receiver"], view.offer["purpose"])
    if groups:
        step = NarrowConsent(
            referral=view.referral,
            agency=task.agency,
            duty=task.duty,
            groups=groups,
            version=version.version,
        )
        await send_step(step, work, at)


async def close_for(task: Task, closed: str, work: Work) -> bool:
    """Put a row into the ledger, and into the trail's; False where it was closed before."""
    at = work.clock.now()
    kind = "keyset" if isinstance(task, ErasureTask) else "consent"
    row = await work.closures.add(kind, closed, task, at)
    if row is None:
        return False
    access = Access(act="closure", actor=task.actor, agency=task.agency, closure=row)
    await work.reports.add([event_report(access, at)])
    return True


async def hold_open(case: Case, consent: ConsentRef | None, work: Work) -> None:
    """What a release does first: nothing of it is closed, and whoever closes it now waits for the commit.

    The ledger is asked before the lock too, so that no stream of releases keeps a closure waiting.
    """
    rests_on = {case.keyset, *({consent.ledger_id} if consent else ())}
    if await work.closures.closed_among(rests_on):
        raise NotFound
    await work.cases.share(case.id, case.agency)
    if await work.closures.closed_among(rests_on):
        raise NotFound


async def complete(task: Task, work: Work) -> Reply:
    """Do the rest of what was closed, for its request or, if that did not come to it, without it."""
    match task:
        case WithdrawalTask():
            return await withdraw(task, work)
        case ReplacementTask():
            return await record_version(task, work)
        case ErasureTask():
            return await erase(task, work)
