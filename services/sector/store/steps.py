"""The way to the arbiter: this sector's steps, through the outbox."""

from datetime import datetime

from schemas.events.referral import StepBase, StepRefused
from schemas.topics import steps_of
from services.runtime.ids import new_id
from services.runtime.logs import log
from services.runtime.outbox import Outbox
from services.runtime.subscription import OutboxEvent
from services.runtime.transaction import Transaction
from services.sector.handlers.work import Steps


class StepStore(Steps):
    """Steps on their way out of one transaction."""

    def __init__(self, transaction: Transaction, outbox: Outbox, sector: str) -> None:
        self._transaction = transaction
        self._outbox = outbox
        self._topic = steps_of(sector)

    async def send(self, step: StepBase, *, at: datetime) -> str:
        event = new_id("event")
        outgoing = OutboxEvent(self._topic, step, at, id=event)
        await self._outbox.add(self._transaction, [outgoing])
        return event

    def log_forged(self, refused: StepRefused) -> None:
        log().error("step_forged", agency_id=refused.to, error_code=refused.code)
