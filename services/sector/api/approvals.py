"""Where a supervisor approves that another agency looks without her consent, because she is in danger."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from schemas.events.break_glass import BreakGlassApproval
from services.runtime.openapi import refuses
from services.sector.api import asking
from services.sector.api.answers import REPLAYED
from services.sector.domain import refusals
from services.sector.domain.bodies import ApprovalRequest
from services.sector.handlers.approvals import approve
from services.sector.handlers.requests import KeyedRequest


def approval_routes(engine: asking.Engine) -> APIRouter:
    """The one route of an approver."""
    router = APIRouter(prefix="/v1", tags=["break-glass"])
    approver = Depends(asking.once_of(engine, "approve"))

    @router.post(
        "/break-glass-approvals",
        operation_id="approve_break_glass",
        status_code=201,
        response_model=BreakGlassApproval,
        responses={201: {"headers": REPLAYED}},
    )
    @refuses(refusals.ApproverIsRequester, refusals.RequesterNotAdmitted)
    async def post_approval(once: Annotated[KeyedRequest, approver], body: ApprovalRequest) -> JSONResponse:
        """Approve a pull by another agency, for four hours; hand the answer to whoever asked you for it."""
        return await asking.answer(engine, once, lambda work: approve(body, once.by, work))

    return router
