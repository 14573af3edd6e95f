"""Puts governance together."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from schemas.events.governance_keys import GovernanceKeys
from schemas.topics import written_by
from services.governance.api.operators import operators_routes, routes
from services.governance.api.partners import partners_app
from services.governance.domain.areas import CHARACTERS_MAX, Areas, AreasUnreadable, read_areas
from services.governance.domain.life_cycle import GovernanceRegister
from services.governance.domain.rules import Rules
from services.governance.handlers import StandingAlarms, Work, act_on_time
from services.governance.pages.routes import PartnershipPage, page_routes
from services.governance.settings import Settings
from services.governance.store import INDICATORS, ActStore, PublicationStore, StatisticsStore
from services.governance.subscriptions import SUBSCRIPTIONS
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.errors import Refused, Unavailable
from services.runtime.logs import log
from services.runtime.process import Parts, Runtime
from services.runtime.sweeper import Sweeper
from services.runtime.tokens import token_reader_of
from services.runtime.transaction import Transaction
from services.runtime.web import caller_of, create_app

DUE_MAX: Final = 100
DUE_SECONDS: Final = 0.5
"""How often it is looked whether a time has come: a protocol is in force within two seconds of its own."""
COUNT_SECONDS: Final = 2.0
"""How often it is looked whether public acts were kept that no figure counts yet."""


class DueActs:
    """Does what is due, record by record: one that cannot move is an alarm, and holds up no other."""

    def __init__(self, open_work: Callable[[], AbstractAsyncContextManager[Work]], clock: Clock) -> None:
        self._open_work = open_work
        self._clock = clock
        self._stuck: dict[tuple[str, str], datetime] = {}

    def alarms(self) -> Iterator[Alarm]:
        """Each kind of which a record cannot move, since when."""
        since = {kind: at for (kind, _), at in reversed(self._stuck.items())}
        yield from (Alarm("due_act_fails", kind, at) for kind, at in since.items())

    async def sweep(self) -> bool:
        """Act on whatever is due now; raises Unavailable."""
        stuck: dict[tuple[str, str], datetime] = {}
        passed = 0
        while True:
            async with self._open_work() as work:
                await work.acts.register()
                due = await work.acts.due(self._clock.now(), DUE_MAX, passed)
            for one in due:
                try:
                    async with self._open_work() as work:
                        passed += not await act_on_time(*one, work)
                except Unavailable:
                    raise
                except Exception as error:  # whatever is wrong with one record, the others' time has come too
                    passed += 1
                    stuck[one] = self._stuck.get(one) or self._told(one[0], error)
            if len(due) < DUE_MAX:
                self._stuck = stuck
                return False

    def _told(self, kind: str, error: Exception) -> datetime:
        code = error.code if isinstance(error, Refused) else type(error).__name__
        log().error("due_act_failed", error_code=code, route=kind)
        return self._clock.now()


class PublicCounts:
    """Counts the public acts of organisations anew once more of them were kept, and at the start."""

    def __init__(self, open_work: Callable[[], AbstractAsyncContextManager[Work]]) -> None:
        self._open_work = open_work
        self._is_behind = True

    def note(self) -> None:
        """Facts were kept that are not counted yet."""
        self._is_behind = True

    async def sweep(self) -> bool:
        """Count if something is behind; raises Unavailable."""
        if self._is_behind:
            self._is_behind = False  # before: what is kept meanwhile is counted the next time
            try:
                async with self._open_work() as work:
                    await work.statistics.count([one for one in INDICATORS.values() if not one.persons])
            except BaseException:
                self._is_behind = True
                raise
        return False


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """Governance answers partners and, inside, services; it publishes, and counts what was told."""
    areas = areas_of(settings.areas_file)
    keys = GovernanceKeys.read(settings.governance_keys_file.read_bytes())
    delay = timedelta(seconds=settings.protocol_delay_seconds)
    freeze = timedelta(days=settings.release_freeze_days)
    of_persons = tuple(one for one in INDICATORS.values() if one.persons)
    rules = Rules(areas, keys, delay, ZoneInfo(settings.time_zone), freeze, of_persons)
    register = GovernanceRegister()

    def work_on(transaction: Transaction) -> Work:
        acts = ActStore(transaction, runtime.outbox, register)
        statistics = StatisticsStore(transaction, rules.zone)
        return Work(PublicationStore(transaction, runtime.outbox), acts, rules, runtime.clock, statistics)

    open_work = runtime.database.opener(work_on)
    counts = PublicCounts(open_work)

    def work_for_facts(transaction: Transaction) -> Work:
        transaction.after_commit.append(counts.note)
        return work_on(transaction)

    due_acts = DueActs(open_work, runtime.clock)
    internal = create_app("Governance", caller_of)
    internal.include_router(routes(open_work))
    caller = token_reader_of(settings.issuer, runtime.identity.source, runtime.clock)
    api = partners_app(caller, open_work, areas, INDICATORS)
    api.include_router(page_routes(PartnershipPage(open_work, runtime.clock)))
    return Parts(
        subscriptions=SUBSCRIPTIONS,
        open_work=work_for_facts,
        api=api,
        writes=written_by("governance"),
        internal=internal,
        operators=operators_routes(open_work, INDICATORS),
        sweepers=(
            Sweeper("due_acts", DUE_SECONDS, due_acts.sweep),
            Sweeper("public_counts", COUNT_SECONDS, counts.sweep),
        ),
        alarms=(StandingAlarms(register, runtime.clock), due_acts.alarms),
    )


def areas_of(file: Path) -> Areas:
    """The areas of a file; one that is no tree ends the process with a sentence for the operator."""
    with file.open(encoding="utf-8") as opened:
        text = opened.read(CHARACTERS_MAX + 1)
    try:
        return read_areas(text)
    except AreasUnreadable as wrong:
        raise SystemExit(f"CONCERT_AREAS_FILE: {wrong}") from None
