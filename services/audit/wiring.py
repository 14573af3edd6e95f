"""Puts the trail's processes together; the only file that knows the real classes."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from schemas.topics import SECTORS, SERVICES
from schemas.trail.bytes import decoded
from schemas.trail.notes import Signer, named_key
from schemas.wire.topic import source_of
from services.audit.api import audit_app
from services.audit.domain.drafts import EntryWriter
from services.audit.domain.keyring import Keyring
from services.audit.handlers import Work
from services.audit.sequencer import Sequencer
from services.audit.settings import Settings, SignerSettings
from services.audit.signer import CheckpointSigner, HighWater
from services.audit.store import LogDatabase
from services.runtime.ages import SWEEP_SECONDS, Retention
from services.runtime.database import Database
from services.runtime.ids import random_bytes
from services.runtime.metrics import ALONE, Measurement
from services.runtime.process import Parts, Runtime
from services.runtime.schema import ages_of
from services.runtime.service_report import FieldFigures
from services.runtime.settings import secret_from
from services.runtime.sweeper import Sweeper

TICK_SECONDS: Final = 0.25
SIGNER_LOOKS_SECONDS: Final = 0.25
LEADER_CONNECTIONS: Final = 2
"""One holds the log's lock, one writes."""
OPERATOR: Final = "operator"
CHECKPOINT_AGE: Final = Measurement(
    "concert_audit_checkpoint_age_seconds",
    "Since the newest checkpoint was signed; grows while nothing is written, too.",
)


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """The process that records and signs permits."""
    ledger = LogDatabase(runtime.database, settings.log)
    own = Database(settings.database, application="audit", pool=LEADER_CONNECTIONS)
    keyring = Keyring(settings.log, _key(settings.wrap_key_file), random_bytes)
    sequencer = Sequencer(
        LogDatabase(own, settings.log),
        keyring,
        named_key(settings.audit.log_key),
        timedelta(seconds=settings.unsigned_for_seconds_max),
        runtime.clock,
    )
    cell = runtime.identity.cell
    parties = {
        "sector": frozenset(source_of(cell, sector) for sector in SECTORS),
        "operator": frozenset({source_of(cell, OPERATOR)}),
        "any": frozenset(source_of(cell, name) for name in (*SERVICES, OPERATOR)),
    }
    work = Work(
        appender=sequencer,
        open_store=ledger.open,
        writer=EntryWriter(settings.log, parties),
        keyring=keyring,
        permit_signer=Signer.from_seed(f"{settings.log}/permit", _key(settings.permit_key_file)),
        clock=runtime.clock,
    )

    def tell_age() -> None:
        age_seconds = sequencer.checkpoint_age_seconds()
        CHECKPOINT_AGE.tell({} if age_seconds is None else {ALONE: age_seconds})

    async def figures() -> FieldFigures:
        age = sequencer.checkpoint_age_seconds()
        return FieldFigures(checkpoint_age_seconds=None if age is None else max(0.0, age))

    return Parts(
        internal=audit_app(work),
        internal_opens=sequencer.speaks,
        measurements=(tell_age,),
        figures=figures,
        sweepers=(
            sequencer,
            Sweeper("checkpoint", TICK_SECONDS, sequencer.tick),
            Sweeper("ages", SWEEP_SECONDS, Retention(runtime.database, ages_of("audit")).sweep),
        ),
    )


def wire_signer(runtime: Runtime, settings: SignerSettings) -> Parts:
    """The process that signs checkpoints."""
    signer = CheckpointSigner(
        LogDatabase(runtime.database, settings.log),
        Signer.from_seed(settings.log, _key(settings.log_key_file)),
        HighWater(settings.high_water_file),
        runtime.clock,
    )
    sweepers = (
        Sweeper("signer", SIGNER_LOOKS_SECONDS, signer.sweep),
        Sweeper("signer_lead", TICK_SECONDS, signer.tick),
    )
    return Parts(
        sweepers=sweepers, why_halted=signer.why_halted, alarms=(signer.alarms,), closes=(signer.close,)
    )


def _key(file: Path) -> bytes:
    return decoded(secret_from(file).get_secret_value())
