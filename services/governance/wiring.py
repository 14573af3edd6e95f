"""Puts governance together."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from schemas.events.governance_keys import GovernanceKeys
from services.governance.api.operators import operators_routes, routes
from services.governance.api.partners import partners_app
from services.governance.domain.areas import CHARACTERS_MAX, Areas, AreasUnreadable, read_areas
from services.governance.domain.life_cycle import GovernanceRegister, Rules
from services.governance.handlers import StandingAlarms, Work, act_on_time
from services.governance.settings import Settings
from services.governance.store import ActStore, PublicationStore
from services.runtime.errors import Refused
from services.runtime.logs import log
from services.runtime.process import Parts, Runtime
from services.runtime.sweeper import Sweeper
from services.runtime.tokens import token_reader_of
from services.runtime.transaction import Transaction
from services.runtime.web import caller_of, create_app

DUE_SECONDS: Final = 0.5
"""How often it is looked whether a time has come: a protocol is in force within two seconds of its own."""


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """Governance listens to no topic: it answers partners and, inside, services, and publishes."""
    areas = areas_of(settings.areas_file)
    keys = GovernanceKeys.read(settings.governance_keys_file.read_bytes())
    rules = Rules(areas, keys, timedelta(seconds=settings.protocol_delay_seconds))
    register = GovernanceRegister()

    def work_on(transaction: Transaction) -> Work:
        acts = ActStore(transaction, runtime.outbox, register)
        return Work(PublicationStore(transaction, runtime.outbox), acts, rules, runtime.clock)

    open_work = runtime.database.opener(work_on)

    async def act_on_what_is_due() -> bool:
        async with open_work() as work:
            await work.acts.register()
            due = await work.acts.due(runtime.clock.now())
        for kind, name in due:
            try:
                async with open_work() as work:
                    await act_on_time(kind, name, work)
            except Refused as refusal:  # one record that cannot move must not hold up the others
                log().error("due_act_refused", error_code=refusal.code, route=kind)
        return False

    internal = create_app("Governance", caller_of)
    internal.include_router(routes(open_work))
    caller = token_reader_of(settings.issuer, runtime.identity.source, runtime.clock)
    return Parts(
        api=partners_app(caller, open_work, areas),
        internal=internal,
        operators=operators_routes(open_work),
        sweepers=(Sweeper("due_acts", DUE_SECONDS, act_on_what_is_due),),
        alarms=(StandingAlarms(register, runtime.clock),),
    )


def areas_of(file: Path) -> Areas:
    """The areas of a file; one that is no tree ends the process with a sentence for the operator."""
    with file.open(encoding="utf-8") as opened:
        text = opened.read(CHARACTERS_MAX + 1)
    try:
        return read_areas(text)
    except AreasUnreadable as wrong:
        raise SystemExit(f"CONCERT_AREAS_FILE: {wrong}") from None
