"""What an agency may ask of a referral, as a table; whether a request is new; what is refused at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.events import referral
from schemas.events.access import Actor
from schemas.events.referral import GiveFeedback, StepBase, WithdrawReferral
from services.sector.domain.refusals import ConsentDoesNotCover, IdempotencyMismatch, StaleView
from services.sector.domain.views import ReferralView

RESOURCES: Final[Mapping[str, type[StepBase]]] = {
    "acknowledgements": referral.AcknowledgeReferral,
    "acceptances": referral.AcceptReferral,
    "declines": referral.DeclineReferral,
    "starts": referral.StartService,
    "provisions": referral.ProvideService,
    "feedback": referral.GiveFeedback,
    "closures": referral.CloseReferral,
    "cancellations": referral.CancelReferral,
    "withdrawals": referral.WithdrawReferral,
    "seal-confirmations": referral.ConfirmSealed,
}
"""Sub-resource of a referral → the step that a POST to it asks for."""

WITHOUT_IF_MATCH: Final = frozenset({WithdrawReferral})
"""Steps that no stale view may hold up: she can always withdraw."""


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf something is asked: the agency, and the person at it by pseudonym."""

    agency: str
    actor: Actor


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered, word for word."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was given before, and the digest of the request that it answered."""

    request_digest: bytes
    answer: Answer


def same_again(kept: Kept, request_digest: bytes) -> Answer:
    """The first answer once more, marked; another request under the same key is refused."""
    if kept.request_digest != request_digest:
        raise IdempotencyMismatch
    answer = kept.answer
    return Answer(answer.status, {**answer.headers, "Idempotent-Replayed": "true"}, answer.body)


def check_step(step: StepBase, view: ReferralView, *, seen: frozenset[int] | None) -> None:
    """Refuse what this service can know to be wrong; everything else is the arbiter's to decide."""
    if seen is not None and view.number not in seen:
        raise StaleView
    says_no = view.role == "receiver" and view.offer is not None and not view.feedback_allowed
    if isinstance(step, GiveFeedback) and says_no:
        raise ConsentDoesNotCover
