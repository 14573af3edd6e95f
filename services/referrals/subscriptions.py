"""What the arbiter listens to; what is in force comes before the steps that rest on it."""

from typing import Final

from schemas.events import referral
from schemas.topics import GOVERNANCE_STATE, STEPS
from services.referrals.handlers import answer_steps, keep_agencies_and_protocols
from services.runtime.subscription import Subscription

SUBSCRIPTIONS: Final = (
    Subscription((GOVERNANCE_STATE,), handler=keep_agencies_and_protocols),
    Subscription(
        tuple(STEPS.values()),
        handler=answer_steps,
        acts_across_gaps=frozenset({referral.WithdrawReferral.type, referral.OrderErasure.type}),
    ),
)
