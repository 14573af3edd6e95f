"""Puts the trail's processes together; the only file that knows the real classes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from prometheus_client import Gauge

from schemas.topics import SECTORS
from schemas.trail.bytes import decoded
from schemas.trail.notes import Signer, named_key
from schemas.wire.topic import source_of
from services.audit.api import audit_app
from services.audit.domain.drafts import Scribe
from services.audit.domain.keyring import Keyring
from services.audit.domain.refusals import NotLeader
from services.audit.domain.signing import Signing
from services.audit.handlers import Work
from services.audit.sequencer import Sequencer
from services.audit.settings import Settings, SignerSettings
from services.audit.signer import CheckpointSigner, HighWater
from services.audit.store import SigningStore, TrailStore, leadership
from services.runtime.database import Database
from services.runtime.ids import random_bytes
from services.runtime.process import Parts, Runtime
from services.runtime.settings import secret_from
from services.runtime.sweeper import Sweeper

TICK_SECONDS: Final = 0.25
LEAD_SECONDS: Final = 1.0
LEADER_CONNECTIONS: Final = 2
"""One holds the log's lock, one writes."""
OPERATOR: Final = "operator"
CHECKPOINT_AGE: Final = Gauge(
    "concert_checkpoint_age_seconds",
    "Since the newest checkpoint was signed; grows while nothing is written, too.",
)
CHECKPOINT_AGE.set(math.nan)  # in the signer's process, which reads none


class DatabaseLedger:
    """One log in one database."""

    def __init__(self, database: Database, log: str) -> None:
        self._database = database
        self._log = log

    @asynccontextmanager
    async def open(self) -> AsyncIterator[TrailStore]:
        """One transaction over the log's rows."""
        async with self._database.transaction() as transaction:
            yield TrailStore(transaction, self._log)

    def leadership(self) -> AbstractAsyncContextManager[bool]:
        """The log's lock."""
        return leadership(self._database, self._log)


class Leading(Sweeper):
    """Runs the sequencer; on the way out it gives up the lead, so that another process can take it.

    It has connections of its own: a storm of requests that read must not keep it waiting.
    """

    def __init__(self, sequencer: Sequencer, database: Database) -> None:
        super().__init__("sequencer", LEAD_SECONDS, sequencer.sweep)
        self._sequencer = sequencer
        self._database = database

    async def run(self) -> None:
        """Sweep until stopped, then resign."""
        try:
            await super().run()
        finally:
            await self._sequencer.resign(NotLeader())
            await self._database.close()


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """The process that records and signs permits."""
    ledger = DatabaseLedger(runtime.database, settings.log)
    own = Database.connect(settings.database, application="audit", pool=LEADER_CONNECTIONS)
    keyring = Keyring(settings.log, _key(settings.wrap_key_file), random_bytes)
    log_key = named_key(settings.audit.log_key)
    signing = Signing(timedelta(seconds=settings.unsigned_for_seconds_max))
    sequencer = Sequencer(DatabaseLedger(own, settings.log), keyring, log_key, signing, runtime.clock)
    leading = Leading(sequencer, own)
    sequencer.wake = leading.wake
    names = {"sector": SECTORS, "operator": (OPERATOR,)}
    cell = runtime.identity.cell
    parties = {party: frozenset(source_of(cell, name) for name in found) for party, found in names.items()}
    work = Work(
        appender=sequencer,
        open_store=ledger.open,
        scribe=Scribe(settings.log, parties),
        keyring=keyring,
        permit_signer=Signer.from_seed(f"{settings.log}/permit", _key(settings.permit_key_file)),
        clock=runtime.clock,
    )
    CHECKPOINT_AGE.set_function(sequencer.checkpoint_age_seconds)
    ticking = Sweeper("checkpoint", TICK_SECONDS, sequencer.tick)
    return Parts(
        internal=audit_app(work, ledger.open, settings.log),
        sweepers=(leading, ticking),
        alarms=(sequencer.alarms,),
    )


def wire_signer(runtime: Runtime, settings: SignerSettings) -> Parts:
    """The process that signs checkpoints."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[SigningStore]:
        async with runtime.database.transaction() as transaction:
            yield SigningStore(transaction, settings.log)

    key = Signer.from_seed(settings.log, _key(settings.log_key_file))
    signer = CheckpointSigner(open_store, key, HighWater(settings.high_water_file), runtime.clock)
    sweeper = Sweeper("signer", TICK_SECONDS, signer.sweep)
    return Parts(sweepers=(sweeper,), why_halted=signer.why_halted, alarms=(signer.alarms,))


def _key(file: Path) -> bytes:
    return decoded(secret_from(file).get_secret_value())
