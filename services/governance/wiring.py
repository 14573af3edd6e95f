"""Puts governance together."""

from pathlib import Path

from schemas.events.governance_keys import GovernanceKeys
from services.governance.api.operators import operators_routes, routes
from services.governance.api.partners import partners_app
from services.governance.areas import CHARACTERS_MAX, Areas, AreasUnreadable, read_areas
from services.governance.handlers import Work
from services.governance.settings import Settings
from services.governance.store import PublicationStore
from services.runtime.process import Parts, Runtime
from services.runtime.tokens import token_reader_of
from services.runtime.transaction import Transaction
from services.runtime.web import caller_of, create_app


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """Governance listens to no topic: it answers partners and, inside, services, and publishes."""
    areas = areas_of(settings.areas_file)
    keys = GovernanceKeys.read(settings.governance_keys_file.read_bytes())

    def work_on(transaction: Transaction) -> Work:
        return Work(PublicationStore(transaction, runtime.outbox), keys, runtime.clock)

    internal = create_app("Governance", caller_of)
    open_work = runtime.database.opener(work_on)
    internal.include_router(routes(open_work))
    caller = token_reader_of(settings.issuer, runtime.identity.source, runtime.clock)
    return Parts(
        api=partners_app(caller, open_work, areas),
        internal=internal,
        operators=operators_routes(open_work),
    )


def areas_of(file: Path) -> Areas:
    """The areas of a file; one that is no tree ends the process with a sentence for the operator."""
    with file.open(encoding="utf-8") as opened:
        text = opened.read(CHARACTERS_MAX + 1)
    try:
        return read_areas(text)
    except AreasUnreadable as wrong:
        raise SystemExit(f"CONCERT_AREAS_FILE: {wrong}") from None
