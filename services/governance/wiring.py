"""Puts governance together."""

from schemas.events.governance_keys import GovernanceKeys
from services.governance.api.operators import operators_routes, routes
from services.governance.api.partners import partners_app
from services.governance.areas import read_areas
from services.governance.handlers import Work
from services.governance.settings import Settings
from services.governance.store import PublicationStore
from services.runtime.process import Parts, Runtime
from services.runtime.tokens import token_reader_of
from services.runtime.transaction import Transaction
from services.runtime.web import caller_of, create_app


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """Governance listens to no topic: it answers partners and, inside, services, and publishes."""
    areas = read_areas(settings.areas_file.read_text("utf-8"))
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
