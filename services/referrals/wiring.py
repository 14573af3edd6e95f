"""Puts the arbiter together."""

from collections.abc import Sequence

from schemas.events.directory import ServiceRegistered
from services.referrals.api import routes
from services.referrals.handlers import SWEPT_MAX, Work, expire_and_remind
from services.referrals.settings import Settings
from services.referrals.store import ProtocolCache, ReferralStore, SurroundingsStore
from services.referrals.subscriptions import SUBSCRIPTIONS
from services.runtime.crash import crash_point
from services.runtime.process import Parts, Runtime
from services.runtime.sweeper import Sweeper
from services.runtime.transaction import Transaction


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """The arbiter decides steps, watches deadlines, and takes the directory from the operator."""
    cache: ProtocolCache = {}

    def open_work(transaction: Transaction) -> Work:
        referrals = ReferralStore(transaction, runtime.outbox)
        return Work(referrals, SurroundingsStore(transaction, runtime.outbox, cache), runtime.clock)

    async def sweep() -> bool:
        async with runtime.database.transaction() as transaction:
            found = await expire_and_remind(open_work(transaction))
            if found:
                crash_point("sweeper.written")  # rolls back whole; the next sweep finds the same
        return found == SWEPT_MAX

    async def keep(entries: Sequence[ServiceRegistered]) -> int:
        async with runtime.database.transaction() as transaction:
            store = SurroundingsStore(transaction, runtime.outbox, cache)
            return await store.keep_entries(entries, runtime.clock.now())

    return Parts(
        subscriptions=SUBSCRIPTIONS,
        open_work=open_work,
        operators=routes(keep),
        sweepers=(Sweeper("deadlines", settings.look_for_due_every_seconds, sweep),),
    )
