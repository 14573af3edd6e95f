"""What an agency may ask of a referral, as a table; on whose behalf; and what is refused at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.events.access import Actor
from schemas.events.referral import STEPS, GiveFeedback, StepBase, WithdrawReferral
from services.sector.domain.refusals import ConsentDoesNotCover, StaleView
from services.sector.domain.views import ReferralView

RESOURCES: Final[Mapping[str, type[StepBase]]] = {
    step.resource: step for step in STEPS.values() if step.resource
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
class Reply:
    """What a request was answered, word for word."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]


def check_step(step: type[StepBase], view: ReferralView, *, seen: frozenset[int] | None) -> None:
    """Refuse what this service can know to be wrong; everything else is the arbiter's to decide."""
    if seen is not None and view.number not in seen:
        raise StaleView
    says_no = view.role == "receiver" and view.offer is not None and not view.feedback_allowed
    if step is GiveFeedback and says_no:
        raise ConsentDoesNotCover
