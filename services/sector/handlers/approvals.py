"""Break-glass, the approver's side: an agency's supervisor agrees that another may look without consent."""

from schemas.events.access import Access
from schemas.events.break_glass import BreakGlassApproval
from services.sector.domain import refusals
from services.sector.domain.bodies import ApprovalRequest
from services.sector.domain.requests import Asker, Reply
from services.sector.handlers.requests import event_report
from services.sector.handlers.work import Work


async def approve(asked: ApprovalRequest, by: Asker, work: Work) -> Reply:
    """Sign that this agency agrees; the trail learns of it whether or not it is ever used.

    Nothing is known here of the referral: whether the requester is its receiver, its owner's service looks.
    """
    if asked.requester == by.agency:
        raise refusals.ApproverIsRequester
    standing = (await work.register.standings({asked.requester})).get(asked.requester)
    if standing is None or not standing.is_active:
        raise refusals.RequesterNotAdmitted
    at = work.clock.now()
    approval = work.sign(
        BreakGlassApproval(
            referral=asked.referral,
            requester=asked.requester,
            approver=by.agency,
            approved_by=by.actor.id or by.actor.client,
            groups=asked.groups,
            reason=asked.reason,
            approved_at=at,
        )
    )
    access = Access(
        act="approval", actor=by.actor, agency=by.agency, referral=asked.referral, reason=asked.reason
    )
    await work.reports.add([event_report(access, at)])
    return Reply(201, {}, approval.model_dump(mode="json"))
