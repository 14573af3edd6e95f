"""What the handlers may touch, opened for one transaction; what a method did is durable at its commit."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel

from schemas.events.access import Access
from schemas.events.consent import ConsentVersion
from schemas.events.directory import ServiceRegistered
from schemas.events.governance import AgencyCurrent, ProtocolCurrent
from schemas.events.referral import StepBase, StepRefused
from services.runtime.admission import AgencyStanding
from services.runtime.clock import Clock
from services.sector.domain.consents import KeptConsent
from services.sector.domain.profile import Profile
from services.sector.domain.requests import Answer, Kept
from services.sector.domain.views import ConsentRef, FeedEvent, ReferralView

ViewKey = tuple[str, str]
"""Referral and agency."""


Place = tuple[datetime, str]
"""Where a referral stands in a worklist: when it last changed, and its id."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory entry, and the agency that answers for it if its organisation is admitted."""

    service: ServiceRegistered
    agency: str | None
    sector: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """One agency's file on one survivor; `subject` is its alias in the trail, used nowhere else."""

    id: str
    agency: str
    reference: str = field(repr=False)
    subject: str
    key: bytes = field(repr=False)
    opened_at: datetime


ShownConsent = tuple[Mapping[str, Any], bool]
"""A consent version as its document, its signature unchecked, and whether she took it back."""


@dataclass(frozen=True, slots=True)
class DenialCount:
    """How many denials followed the first of one actor and reason, and when the first and last were."""

    access: Access
    times: int
    since: datetime
    until: datetime


class Cases(Protocol):
    """Cases and her consents."""

    async def add(self, case: Case) -> None:
        """Keep a new case."""

    async def find(self, case: str, agency: str) -> Case | None:
        """The agency's own case, or None."""

    async def lock(self, case: str, agency: str) -> Case | None:
        """The same, and nobody else may withdraw or offer on it until the commit; waits for those who do."""

    async def next_subject(self, case: str) -> int:
        """The number of the case's next referral in the trail; the case is locked."""

    async def add_consent(self, case: str, version: ConsentVersion, signature: bytes) -> None:
        """Keep a signed version; versions are never changed."""

    async def consent(self, named: ConsentRef) -> KeptConsent | None:
        """A version with its signature checked and its withdrawals looked up, or None."""

    async def count_consents(self, case: str) -> int:
        """How many versions a case has; the case is locked."""

    async def consents(self, case: str) -> Sequence[ShownConsent]:
        """All versions of a case, in the order they were recorded."""

    async def withdraw(self, consent: ConsentRef, referral: str, at: datetime) -> bool:
        """Note that she took this version back, for this referral; False where that was noted before."""


class Views(Protocol):
    """Referrals as the agencies of this sector see them."""

    async def lock(self, keys: Collection[ViewKey]) -> dict[ViewKey, ReferralView]:
        """Those of the views that exist, locked in one order; waits for others who hold them."""

    async def find(self, referrals: Collection[str], agency: str) -> Sequence[ReferralView]:
        """The agency's views of these referrals, newest first."""

    async def of_case(self, case: str) -> Sequence[str]:
        """The newest referrals of a case, `CASE_REFERRALS_MAX` at most."""

    async def save(self, views: Collection[ReferralView]) -> None:
        """Keep views as they are now."""

    async def awaiting(self, agency: str, after: Place | None, limit: int) -> Sequence[Place]:
        """What awaits the agency, newest first, behind a place in that list; ids and times alone."""

    async def tell(self, events: Sequence[FeedEvent]) -> None:
        """Add thin events to the agencies' feeds, each with the next position of its agency."""

    async def told(self, agency: str, after: int, limit: int) -> Sequence[tuple[int, FeedEvent]]:
        """The agency's feed behind a position, in order."""

    async def feed_end(self, agency: str) -> int:
        """The position of the last event in the agency's feed; 0 before the first."""


class State(Protocol):
    """What governance and the directory say is in force."""

    async def keep_agencies(self, agencies: Collection[AgencyCurrent]) -> None:
        """Keep each agency unless a newer version is known."""

    async def keep_protocols(self, protocols: Collection[ProtocolCurrent]) -> None:
        """Keep the hash of every version: live referrals rest on older ones."""

    async def keep_entries(self, entries: Collection[ServiceRegistered]) -> None:
        """Keep each directory entry as it stands now."""

    async def admissions(self, agencies: Collection[str]) -> Mapping[str, AgencyStanding]:
        """Agency → how it stands, for those that governance has named."""

    async def entries(self, after: str, limit: int) -> Sequence[Entry]:
        """Directory entries behind a service id, by service id."""

    async def protocol_with(self, document_hash: str) -> str | None:
        """The id of the protocol with this hash, or None."""


class Steps(Protocol):
    """The way to the arbiter."""

    async def send(self, step: StepBase, *, at: datetime) -> str:
        """Put the step into the outbox; gives its event id."""

    def disown(self, refused: StepRefused) -> None:
        """Say aloud that a step went out from here for an agency that is another sector's."""


class Trail(Protocol):
    """Reports to the trail that need no permit, delivered until answered."""

    async def report(self, reports: Sequence[BaseModel]) -> None:
        """Put subjects, events or outcomes of `schemas.events.access` into the trail's outbox."""

    async def use(self, origin: str, index: int) -> bool:
        """Use a permit up; False if it was used before (V8)."""

    async def is_first_denial(self, access: Access, at: datetime) -> bool:
        """Count a denial; whether it is the first of its actor and reason in its time."""

    async def end_denials(self, before: datetime) -> Sequence[DenialCount]:
        """Take out what was counted since before then, as much as one report takes."""


class Answers(Protocol):
    """Answers already given, by agency and idempotency key."""

    async def claim(self, agency: str, key: bytes, request_digest: bytes) -> Kept | None:
        """Take the key for this transaction, or give the answer it got; waits for one under way."""

    async def keep(self, agency: str, key: bytes, answer: Answer) -> None:
        """Keep the answer of a key that this transaction took."""


class Sign(Protocol):
    """The service's own signature."""

    def __call__(self, message: bytes) -> bytes:
        """Ed25519 over the message."""


@dataclass(frozen=True, slots=True)
class Work:
    """One transaction of a sector service."""

    profile: Profile
    clock: Clock
    sign: Sign
    cases: Cases
    views: Views
    state: State
    steps: Steps
    trail: Trail
    answers: Answers
