"""What notifications listens to."""

from typing import Final

from schemas import referral, topics
from services.notifications.handlers import write_notices
from services.runtime.subscription import Subscription

SUBSCRIPTIONS: Final = (
    Subscription(topics=(topics.REFERRALS_FACTS,), reads=referral.FACTS, handler=write_notices),
)  # fmt: skip
