"""Releases: what leaves the vault for an agency, under an entry of the trail and her consent, or stays."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import prometheus_client
from pydantic import ValidationError

from schemas.events.access import PermitAnswer, PermitRequest
from schemas.events.break_glass import BreakGlassApproval
from schemas.events.pulls import PacketPull, PullAnswer
from schemas.events.referral import ReportBreakGlass
from schemas.topics import steps_of
from schemas.trail.bytes import TrailFault
from schemas.trail.permits import read_permit
from services.runtime.crash import crash_point
from services.runtime.errors import Refused
from services.runtime.ids import random_bytes
from services.runtime.logs import log
from services.runtime.subscription import OutboxEvent
from services.sector.domain import refusals
from services.sector.domain.requests import Asker
from services.sector.handlers.pulls import HandOver, PacketGate, PermittedRelease, ReleaseGround, ground_of
from services.sector.handlers.requests import outcome_report, record_denial
from services.sector.handlers.work import OpenWork, ReleaseRecord, Work
from services.sector.vault.faults import VaultRefusal
from services.sector.vault.requests import ConsentGround, OpenRequest
from services.sector.vault_client import VaultClient

RELEASE_SECONDS: Final = 5.0
"""For its turn, and from there to its commit: a withdrawal waits no longer than that."""
RELEASES_MAX: Final = 6
"""How many at a time: each holds a connection to the database until its reader has taken all."""
RELEASES_OF_AGENCY_MAX: Final = 2
"""How many of them to one agency, so that a slow one keeps only its own waiting."""
WAITING_OF_AGENCY_MAX: Final = 64
"""How many more of its releases wait for their turn: each has an entry in the trail, and a nonce."""
DECISIONS: Final = prometheus_client.Counter(
    "concert_consent_decisions", "Pulls that were allowed, or refused and why.", ["decision"]
)
AskTrail = Callable[[PermitRequest], Awaitable[bytes]]


class Releases(PacketGate):
    """The owner's side of a pull; the order of its lines is the promise."""

    def __init__(self, vault: VaultClient, ask_trail: AskTrail, open_work: OpenWork) -> None:
        self._vault = vault
        self._ask_trail = ask_trail
        self._open_work = open_work
        self._waiting: Counter[str] = Counter()
        self._turns = asyncio.Semaphore(RELEASES_MAX)
        self._turns_of: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(RELEASES_OF_AGENCY_MAX)
        )

    async def permit(self, pull: PacketPull) -> PermittedRelease:
        """Look whether the pull stands, and have its intent in the trail; a refusal is there too."""
        if self._waiting[pull.recipient] >= WAITING_OF_AGENCY_MAX + RELEASES_OF_AGENCY_MAX:
            raise refusals.TooManyPulls
        try:
            async with self._open_work() as work:
                ground = await ground_of(pull, work)
        except Refused as refused:
            DECISIONS.labels(refused.code).inc()
            async with self._open_work() as work:
                by = Asker(pull.recipient, pull.actor)
                await record_denial(by, refused.code, pull.referral, work)
            raise
        DECISIONS.labels("allowed").inc()
        try:
            nonce = await self._vault.ask(ground.access)
        except VaultRefusal as refusal:
            raise _refused(refusal) from None
        request = PermitRequest(idem=random_bytes(16), nonce=nonce, access=ground.access)
        try:
            answer = PermitAnswer.model_validate_json(await self._ask_trail(request))
            permit = read_permit(answer.permit.body)  # whether it holds, the vault says
        except (ValidationError, TrailFault) as bad:
            log().error("permit_refused", error_code="malformed")
            raise refusals.TrailUnavailable from bad
        crash_point("release.permitted")  # an intent without outcome, a review item; nothing was released
        return PermittedRelease(pull, ground.access, request, answer, permit)

    async def release(self, permitted: PermittedRelease, hand_over: HandOver) -> None:
        """Decide again, open, hand over and record, all in one transaction, in time or not at all.

        A crash before the commit leaves an intent without outcome, and a permit that another attempt could
        use; the vault has forgotten its nonce, so there is none.
        """
        is_given = False

        async def give(content: bytes) -> None:
            nonlocal is_given
            is_given = True
            await hand_over(content)

        try:
            async with (
                asyncio.timeout(RELEASE_SECONDS),
                self._turn_of(permitted.pull.recipient),
                self._turns,
                self._open_work() as work,
            ):
                await self._release(permitted, give, work)
        except Exception as error:
            result, reason = "failed", "not_completed"
            if isinstance(error, Refused | VaultRefusal):
                result, reason = "refused", error.code
            async with self._open_work() as work:
                # What was given is told as released, though its transaction is gone.
                told = "released" if is_given else result
                await work.reports.add([outcome_report(permitted.permit, told, work.clock.now(), reason)])
            if isinstance(error, VaultRefusal):
                raise _refused(error) from None
            if isinstance(error, TimeoutError):
                raise refusals.ReleaseLate from None
            raise

    @asynccontextmanager
    async def _turn_of(self, agency: str) -> AsyncIterator[None]:
        self._waiting[agency] += 1
        try:
            async with self._turns_of[agency]:
                yield
        finally:
            self._waiting[agency] -= 1

    async def _release(self, permitted: PermittedRelease, give: HandOver, work: Work) -> None:
        ground = await ground_of(permitted.pull, work, is_release=True)
        if ground.access != permitted.access:
            raise refusals.GroundChanged
        release = await self._vault.open(_open_request(permitted, ground, work))
        if not await work.reports.use(permitted.permit.origin, permitted.permit.index):  # V8
            raise refusals.PermitUsed
        await work.packets.record_release(
            ReleaseRecord(
                release=release.release,
                case=ground.case.id,
                referral=permitted.pull.referral,
                agency=permitted.pull.recipient,
                versions={row.wrap.group: int(row.wrap.version) for row in ground.groups},
                at=work.clock.now(),
            )
        )
        await work.reports.add([outcome_report(permitted.permit, "released", work.clock.now())])
        if approval := permitted.pull.approval if ground.danger else None:
            await work.send([_report(approval, permitted.pull, ground, work)])
        told = permitted.answer
        answer = PullAnswer(release=release, permit=told.permit, receipt=told.receipt)
        await give(answer.model_dump_json().encode())
        crash_point("release.given")  # it may have got the groups: the intent stands, and nothing is used up


def _refused(refusal: VaultRefusal) -> type[Refused]:
    log().error("vault_refused", error_code=refusal.code)
    return refusals.VAULT_REFUSALS.get(refusal.code, refusals.VaultRefused)


def _open_request(permitted: PermittedRelease, ground: ReleaseGround, work: Work) -> OpenRequest:
    consent = None
    if ground.access.basis == "consent" and ground.consent:
        document = ground.consent.version.model_dump_json()
        consent = ConsentGround(document=document, signature=ground.consent.signature)
    return OpenRequest(
        asked_at=work.clock.now(),
        request=permitted.request,
        answer=permitted.answer,
        subject=ground.subject,
        groups=ground.groups,
        key_record=permitted.pull.key_record.model_dump_json(),
        consent=consent,
        danger=ground.danger,
        **ground.documents,
    )


def _report(approval: BreakGlassApproval, pull: PacketPull, ground: ReleaseGround, work: Work) -> OutboxEvent:
    """The owner learns at once, by the fact that follows; so do the receiver and the statistics."""
    step = ReportBreakGlass(
        referral=pull.referral,
        agency=ground.case.agency,
        duty="vault",
        groups=pull.groups,
        reason=approval.reason,
        approver=approval.approver,
    )
    return OutboxEvent(steps_of(work.profile.name), step, work.clock.now())
