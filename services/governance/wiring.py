"""Puts governance together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.governance.api import routes
from services.governance.handlers import Work
from services.governance.store import PublicationStore
from services.runtime.process import Parts, Runtime
from services.runtime.settings import RuntimeSettings
from services.runtime.web import caller_of, create_app


def wire(runtime: Runtime, _settings: RuntimeSettings) -> Parts:
    """Governance listens to nobody: it answers on the internal port and publishes."""

    @asynccontextmanager
    async def open_work() -> AsyncIterator[Work]:
        async with runtime.database.transaction() as transaction:
            yield Work(PublicationStore(transaction, runtime.outbox), runtime.clock)

    internal = create_app("Governance", caller_of)
    internal.include_router(routes(open_work, runtime.identity.operator))
    return Parts(internal=internal)
