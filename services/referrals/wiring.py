"""Puts the arbiter together."""

from schemas.events.governance_keys import GovernanceKeys
from schemas.topics import written_by
from services.referrals.api import routes
from services.referrals.handlers import SWEPT_MAX, Work, expire_and_remind
from services.referrals.settings import Settings
from services.referrals.store import ProtocolCache, ReferralStore
from services.referrals.subscriptions import SUBSCRIPTIONS
from services.runtime.crash import crash_point
from services.runtime.guarded_clock import GuardedClock
from services.runtime.process import Parts, Runtime
from services.runtime.service_report import FieldFigures
from services.runtime.sweeper import Sweeper
from services.runtime.transaction import Transaction


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """The arbiter decides steps, watches deadlines, and takes the directory from the operator."""
    cache: ProtocolCache = {}
    clock = GuardedClock()  # a leap must expire no offer
    keys = GovernanceKeys.read(settings.governance_keys_file.read_bytes())

    def work_on(transaction: Transaction) -> Work:
        return Work(ReferralStore(transaction, runtime.outbox, cache), clock, keys)

    open_work = runtime.database.opener(work_on)

    async def sweep() -> bool:
        async with open_work() as work:
            found = await expire_and_remind(work)
            if found:
                crash_point("sweeper.written")  # rolls back whole; the next sweep finds the same
        return found == SWEPT_MAX

    async def figures() -> FieldFigures:
        async with runtime.database.transaction() as transaction:
            since = await ReferralStore(transaction, runtime.outbox, cache).unanswered_since()
        seconds = (clock.now() - since).total_seconds() if since else None
        return FieldFigures(oldest_offer_seconds=None if seconds is None else max(0.0, seconds))

    return Parts(
        subscriptions=SUBSCRIPTIONS,
        writes=written_by("referrals"),
        open_work=work_on,
        operators=routes(open_work),
        alarms=(clock.alarms,),
        figures=figures,
        sweepers=(Sweeper("deadlines", settings.look_for_due_every_seconds, sweep),),
    )
