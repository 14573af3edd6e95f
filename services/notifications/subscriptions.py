"""What notifications listens to: which agencies are admitted, and the facts that desks wait for."""

from typing import Final

from schemas import topics
from services.notifications.handlers import keep_agencies, write_notices
from services.runtime.subscription import Subscription

SUBSCRIPTIONS: Final = (
    Subscription(topics=(topics.GOVERNANCE_STATE,) , handler=keep_agencies),
    Subscription(topics=(topics.REFERRALS_FACTS,) , handler=write_notices),
)  # fmt: skip
