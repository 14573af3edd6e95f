"""What each service tells operations of how it stands: listed figures, no payload, no key, nobody's name."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol
from uuid import UUID

from cryptography import x509
from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.runtime.alarms import AlarmSource
from services.runtime.backlog import read_backlog
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.identity import Identity
from services.runtime.settings import TlsSettings
from services.runtime.transaction import Row
from services.runtime.version import version

ROWS_MAX: Final = 2_000
"""How many rows of each kind one answer has; no table of ours comes near."""
ALARMS_MAX: Final = 200

_POSITIONS: Final = """
SELECT grp, topic, part, topic_id, next,
  greatest(0, extract(epoch FROM clock_timestamp() - moved_at))::float8 AS age
FROM consumer_offset ORDER BY grp, topic, part LIMIT :rows_max"""
_LOG_ENDS: Final = """
SELECT DISTINCT ON (topic, part) topic, part, topic_id, next FROM log_end
ORDER BY topic, part, place DESC LIMIT :rows_max"""
_LAST_BACKUP: Final = "SELECT max(done_at) AS at FROM operator_act WHERE verb = 'backup'"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Part = Annotated[int, Field(ge=0, lt=1 << 31)]
Offset = Annotated[int, Field(ge=0, lt=1 << 63)]
Seconds = Annotated[float, Field(ge=0, lt=1e10, allow_inf_nan=False)]
Where = Annotated[str, Field(pattern=r"^[ -~]{0,300}$")]
Moment = Annotated[
    AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC))
]
"""With its offset, and of a year with which every database and page can reckon."""


class _ReportPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ReaderPosition(_ReportPart):
    """Where a reader goes on in one partition, and how long ago it last moved."""

    group: Name
    topic: Name
    partition: Part
    topic_id: UUID
    next: Offset
    commit_age_seconds: Seconds


class SampledEnd(_ReportPart):
    """Where a partition's log ended when its writer last looked."""

    topic: Name
    partition: Part
    topic_id: UUID
    next: Offset


class WaitingEvents(_ReportPart):
    """How many events wait to be sent, 10,000 at most, and how long the oldest does."""

    pending: Offset
    oldest_seconds: Seconds


class WaitingLetters(_ReportPart):
    """How many records were set aside for one reason, 10,000 at most, and how long the oldest waits."""

    code: Word
    count: Offset
    oldest_seconds: Seconds


class LastSweep(_ReportPart):
    """Work that comes again, and how long ago it last succeeded; null where it has not yet."""

    name: Word
    success_age_seconds: Seconds | None


class AlarmLine(_ReportPart):
    """One rule that fires in this process."""

    rule: Word
    where: Where
    since: Moment


class FieldFigures(_ReportPart):
    """What only some services have; null in the others."""

    checkpoint_age_seconds: Seconds | None = None
    """Of the trail: how long ago its newest head was signed."""
    oldest_offer_seconds: Seconds | None = None
    """Of the arbiter: how long the oldest offer waits that nobody has answered."""
    probe_seen_at: Moment | None = None
    """When the probe's own referral last came by."""


class ServiceReport(_ReportPart):
    """All that a service tells of itself; whoever reads it takes no other field."""

    service: Word
    process: Name
    version: Name
    started_at: Moment
    positions: Annotated[list[ReaderPosition], Field(max_length=ROWS_MAX)]
    log_ends: Annotated[list[SampledEnd], Field(max_length=ROWS_MAX)]
    outbox: WaitingEvents | None
    """Null where a service sends nothing."""
    dead_letters: Annotated[list[WaitingLetters], Field(max_length=ROWS_MAX)]
    sweeps: Annotated[list[LastSweep], Field(max_length=ALARMS_MAX)]
    certificate_ends_at: Moment | None
    last_backup_at: Moment | None
    """Null where no backup was told to this service."""
    alarms: Annotated[list[AlarmLine], Field(max_length=ALARMS_MAX)]
    figures: FieldFigures


class Routine(Protocol):
    """What a process does again and again."""

    name: str

    def success_age(self) -> float | None:
        """How many seconds ago it last succeeded."""


Figures = Callable[[], Awaitable[FieldFigures]]


async def no_figures() -> FieldFigures:
    """A service that has none of its own."""
    return FieldFigures()


class Reporter:
    """Answers for the process that is asked and, from the database, for its service."""

    def __init__(
        self,
        database: Database,
        identity: Identity,
        *,
        figures: Figures,
        routines: Sequence[Routine],
        alarms: Sequence[AlarmSource],
        outbox_rows_max: int | None,
        tls: TlsSettings | None,
    ) -> None:
        """Without `outbox_rows_max` there are no tables of the durable path."""
        self._database = database
        self._identity = identity
        self._figures = figures
        self._routines = routines
        self._alarms = alarms
        self._outbox_rows_max = outbox_rows_max
        self._started_at = SystemClock().now()
        self._certificate_ends_at = certificate_end(tls) if tls else None

    async def report(self) -> ServiceReport:
        """How the service stands now; raises Unavailable."""
        positions, ends, letters = list[Row](), list[Row](), list[WaitingLetters]()
        outbox: WaitingEvents | None = None
        last_backup_at: datetime | None = None
        standing = [alarm for source in self._alarms for alarm in source()]
        if self._outbox_rows_max is not None:
            async with self._database.transaction() as transaction:
                positions += await transaction.rows(_POSITIONS, rows_max=ROWS_MAX)
                ends += await transaction.rows(_LOG_ENDS, rows_max=ROWS_MAX)
                [backup] = await transaction.rows(_LAST_BACKUP)
                last_backup_at = backup.at
            backlog = await read_backlog(self._database, outbox_rows_max=self._outbox_rows_max)
            outbox = WaitingEvents(pending=backlog.pending, oldest_seconds=backlog.oldest_seconds)
            letters += [
                WaitingLetters(code=code, count=count, oldest_seconds=(backlog.letter_seconds or {})[code])
                for code, count in (backlog.letters or {}).items()
            ]
            standing += backlog.alarms
        names = ("group", "topic", "partition", "topic_id", "next", "commit_age_seconds")
        return ServiceReport(
            service=self._identity.service,
            process=self._identity.part,
            version=version(),
            started_at=self._started_at,
            positions=[ReaderPosition(**dict(zip(names, row, strict=True))) for row in positions],
            log_ends=[SampledEnd(**dict(zip(names[1:5], row, strict=True))) for row in ends],
            outbox=outbox,
            dead_letters=letters,
            sweeps=[
                LastSweep(name=one.name, success_age_seconds=one.success_age())
                for one in self._routines[:ALARMS_MAX]
            ],
            certificate_ends_at=self._certificate_ends_at,
            last_backup_at=last_backup_at,
            alarms=[
                AlarmLine(rule=one.rule, where=_shown(one.where), since=one.since)
                for one in standing[:ALARMS_MAX]
            ],
            figures=await self._figures(),
        )

    def routes(self) -> APIRouter:
        """The operations port."""
        router = APIRouter(prefix="/v1")

        @router.get("/operations")
        async def report() -> ServiceReport:
            """How this service stands."""
            return await self.report()

        return router


def _shown(where: str) -> str:
    return where.encode("ascii", "replace").decode()[:300]


def certificate_end(tls: TlsSettings) -> datetime:
    """Until when the certificate is good that this process shows."""
    return x509.load_pem_x509_certificate(tls.certificate_file.read_bytes()).not_valid_after_utc
