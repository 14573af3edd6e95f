"""The way to the arbiter: this sector's steps, through the outbox."""

from datetime import datetime

from schemas.events.referral import StepBase, StepRefused
from schemas.topics import steps_of
from services.runtime.ids import new_id
from services.runtime.logs import log
from services.runtime.outbox import Outbox
from services.runtime.subscription import Outgoing
from services.runtime.transaction import Transaction


class StepStore:
    """Steps on their way out of one transaction."""

    def __init__(self, transaction: Transaction, outbox: Outbox, sector: str) -> None:
        self._transaction = transaction
        self._outbox = outbox
        self._topic = steps_of(sector)

    async def send(self, step: StepBase, *, at: datetime) -> str:
        """Put the step into the outbox; gives its event id."""
        event, referral = new_id("event"), step.referral
        outgoing = Outgoing(self._topic, referral, step, at, id=event)
        await self._outbox.add(self._transaction, [outgoing])
        return event

    def log_forged(self, refused: StepRefused) -> None:
        """Log that a step went out from here for an agency that is another sector's."""
        log().error("step_forged", agency_id=refused.to, error_code=refused.code)
