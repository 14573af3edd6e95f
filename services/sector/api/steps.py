"""What agencies send: cases, consents, offers, steps; answered once committed, decided by the arbiter."""

from collections.abc import Awaitable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from schemas.events.referral import (
    PROTECTS_HER,
    GiveFeedback,
    RedirectReferral,
    ReofferReferral,
    StepBase,
    WithdrawReferral,
)
from services.runtime.errors import NotFound, Refused
from services.runtime.openapi import refuses
from services.sector.api import asking
from services.sector.api.answers import CaseReceipt, ConsentReceipt, StepReceipt, kept
from services.sector.domain import refusals
from services.sector.domain.bodies import CaseRequest, ConsentRequest, OfferRequest, body_of
from services.sector.domain.requests import RESOURCES, WITHOUT_IF_MATCH, Reply
from services.sector.handlers.closures import close_withdrawn
from services.sector.handlers.requests import KeyedRequest, ask_step, offer, open_case, record_consent
from services.sector.handlers.work import Work


def step_routes(engine: asking.Engine) -> APIRouter:
    """The routes that change something."""
    router = APIRouter(prefix="/v1", tags=["steps"])
    keyed = Depends(asking.once_of(engine, "ask"))
    withdrawing = Depends(asking.once_of(engine, "withdraw"))

    @router.post("/cases", operation_id="open_case", **kept(201, CaseReceipt))
    async def post_case(once: Annotated[KeyedRequest, keyed], body: CaseRequest) -> JSONResponse:
        """Open a case under the agency's own number."""
        return await asking.answer(engine, once, lambda work: open_case(body, once.by, work))

    @router.post("/cases/{case}/consents", operation_id="record_consent", **kept(201, ConsentReceipt))
    @refuses(NotFound, refusals.TooManyConsents, refusals.RecipientNotAdmitted)
    async def post_consent(
        case: asking.CasePath, once: Annotated[KeyedRequest, keyed], body: ConsentRequest
    ) -> JSONResponse:
        """Record what she agreed to."""
        return await asking.answer(engine, once, lambda work: record_consent(case, body, once.by, work))

    @router.post("/referrals", operation_id="offer_referral", **kept(202, StepReceipt))
    @refuses(NotFound, refusals.RecipientIsOwner, refusals.ConsentDoesNotCover)
    async def post_referral(once: Annotated[KeyedRequest, keyed], body: OfferRequest) -> JSONResponse:
        """Offer a referral to another agency's service."""
        return await asking.answer(engine, once, lambda work: offer(body, once.by, work))

    for resource, step in RESOURCES.items():
        _add_step(router, engine, resource, step, withdrawing if step is WithdrawReferral else keyed)
    return router


REFUSED_BESIDES: Final[Mapping[type[StepBase], tuple[type[Refused], ...]]] = {
    GiveFeedback: (refusals.ConsentDoesNotCover,),
    RedirectReferral: (refusals.ConsentDoesNotCover, refusals.OwnerAlone, refusals.RecipientIsOwner),
    ReofferReferral: (refusals.ConsentDoesNotCover, refusals.OwnerAlone),
}
"""What this service refuses of a step, besides what it refuses of every one."""


def _add_step(
    router: APIRouter, engine: asking.Engine, resource: str, step: type[StepBase], keyed: Any
) -> None:
    """One route of the table: the body is the step's own fields, the rest comes from path and token."""
    step_body: Any = body_of(step, engine.profile.decline_reasons)
    number_dependency = Depends(_nothing if step in WITHOUT_IF_MATCH else asking.seen)

    @refuses(NotFound, *REFUSED_BESIDES.get(step, ()))
    async def post_step(
        referral: asking.ReferralPath,
        once: Annotated[KeyedRequest, keyed],
        body: step_body,
        number: Annotated[frozenset[int] | None, number_dependency],
    ) -> JSONResponse:
        def ask(work: Work) -> Awaitable[Reply]:
            return ask_step(step, referral, body, once.by, work, seen=number)

        if step is WithdrawReferral:
            return await asking.close_and_answer(
                engine,
                once,
                lambda work: close_withdrawn(referral, body, once.by, work),
                referral,
                protects_her=True,
                otherwise=ask,
            )
        return await asking.answer(engine, once, ask, referral, protects_her=step in PROTECTS_HER)

    router.add_api_route(
        f"/referrals/{{referral}}/{resource}",
        post_step,
        methods=["POST"],
        **kept(202, StepReceipt),
        operation_id=step.type.replace(".", "_"),
        summary=step.__doc__,
    )


async def _nothing() -> None:
    """No `If-Match` is asked for: no stale view may hold up a withdrawal."""
