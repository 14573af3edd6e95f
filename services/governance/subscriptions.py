"""Which topics governance listens to, and what it does with their events."""

from typing import Final

from schemas import topics
from services.governance.handlers import keep_governance_facts, keep_referral_facts
from services.runtime.subscription import Subscription

SUBSCRIPTIONS: Final = (
    Subscription(topics=(topics.REFERRALS_FACTS,), handler=keep_referral_facts),
    Subscription(topics=(topics.GOVERNANCE_FACTS,), handler=keep_governance_facts),
)
