"""Puts governance together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from schemas.topics import source_of
from services.governance.api import routes
from services.governance.handlers import Work
from services.governance.store import PublicationStore
from services.runtime.process import Parts, Runtime
from services.runtime.settings import RuntimeSettings
from services.runtime.web import caller_of, create_app

OPERATOR: Final = "operator"
"""The end of the URI name in the certificate of the operator's command."""


def wire(runtime: Runtime, _settings: RuntimeSettings) -> Parts:
    """Governance listens to nobody: it answers on the internal port and publishes."""

    @asynccontextmanager
    async def open_work() -> AsyncIterator[Work]:
        async with runtime.database.transaction() as transaction:
            yield Work(PublicationStore(transaction, transaction.outbox), runtime.clock)

    internal = create_app("Governance", caller_of)
    internal.include_router(routes(open_work, source_of(runtime.identity.cell, OPERATOR)))
    return Parts(internal=internal)
