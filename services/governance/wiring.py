"""Puts governance together."""

from schemas.events.governance_keys import GovernanceKeys
from services.governance.api import operators_routes, routes
from services.governance.handlers import Work
from services.governance.settings import Settings
from services.governance.store import PublicationStore
from services.runtime.process import Parts, Runtime
from services.runtime.transaction import Transaction
from services.runtime.web import caller_of, create_app


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """Governance listens to nobody: it answers on the internal port and publishes."""
    keys = GovernanceKeys.read(settings.governance_keys_file.read_bytes())

    def work_on(transaction: Transaction) -> Work:
        return Work(PublicationStore(transaction, runtime.outbox), keys, runtime.clock)

    internal = create_app("Governance", caller_of)
    open_work = runtime.database.opener(work_on)
    internal.include_router(routes(open_work))
    return Parts(internal=internal, operators=operators_routes(open_work))
