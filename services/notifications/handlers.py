"""What notifications does with a batch of facts, and with a desk that an agency registers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from schemas.events.facts import FactBase
from schemas.events.governance import AgencyCurrent
from schemas.events.governance_keys import GovernanceKeys, news_of
from schemas.wire.envelope import ReadEvent
from services.notifications.domain import notice
from services.runtime.admission import AgencyStanding, check_admission
from services.runtime.clock import Clock

Place = tuple[str, str]
"""Agency and code of a desk."""


class Store(Protocol):
    """Agencies, desks and notices; each method may raise Unavailable, all is durable at commit."""

    async def last_agencies(self, agencies: Collection[str]) -> Mapping[str, AgencyCurrent]:
        """The last good document of each that is known."""

    async def keep_agencies(self, agencies: Collection[AgencyCurrent]) -> None:
        """Keep each agency unless a newer version is known."""

    async def admission(self, agency: str) -> AgencyStanding | None:
        """How an agency stands, or None if it was not heard of."""

    async def desks_of(self, agency: str) -> Sequence[notice.Desk]:
        """The desks of one agency, by code."""

    async def register(self, desk: notice.Desk) -> notice.Desk:
        """Keep a desk as it is now, and give it; at a new address what waits is tried at once."""

    async def undeliverable(self, most: int) -> Sequence[notice.Desk]:
        """Desks that take no mail, the longest first."""

    async def add(self, notices: Sequence[notice.Notice]) -> None:
        """Keep each notice whose event has none yet and whose desk is registered; a probe's is but noted."""

    async def drop(self, waiting: Mapping[str, Place | None]) -> None:
        """Let no notice go out that tells another desk than the one which its referral waits for now."""

    async def claim(self, *, at: datetime, until: datetime) -> notice.Attempt | None:
        """Take all that is due at the desk longest due; nobody else gets it before `until` unless settled."""

    async def settle(self, attempt: notice.Attempt, result: notice.Result, *, at: datetime) -> None:
        """Write how the attempt ended, if it is the last one; one mail tells of all that waited there."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler of this service may touch, opened for one transaction."""

    store: Store
    clock: Clock
    keys: GovernanceKeys


OpenWork = Callable[[], AbstractAsyncContextManager[Work]]
"""Opens a transaction for one work, and commits on leaving."""


async def write_notices(facts: Sequence[ReadEvent[Any]], work: Work) -> None:
    """Write one notice for each referral that waits for a registered desk, and drop those that are moot.

    A need that no service answers waits for no desk.
    """
    newest = {
        fact.body.referral: fact for fact in facts if isinstance(fact.body, FactBase)
    }  # the last one says whom the referral waits for
    waiting = {referral: _place(fact.body) for referral, fact in newest.items()}
    at = work.clock.now()
    await work.store.drop(waiting)
    places = {referral: place for referral, place in waiting.items() if place}
    await work.store.add([notice.Notice(newest[one].id, one, *place, at) for one, place in places.items()])


async def keep_agencies(received: Sequence[ReadEvent[Any]], work: Work) -> None:
    """Keep agencies as they stand now, signed by two keys of governance; all else is of no use here."""
    agencies = [one.body for one in received if isinstance(one.body, AgencyCurrent)]
    last = await work.store.last_agencies({one.agency for one in agencies})
    newest = {one.agency: one for one in news_of(agencies, last, work.keys)}
    await work.store.keep_agencies(newest.values())


async def register_desk(desk: notice.Desk, work: Work) -> notice.Desk:
    """Keep a desk of the admitted, active agency that asks; refuse desks without end."""
    await _check_admitted(desk.agency, work)
    codes = {known.code for known in await work.store.desks_of(desk.agency)}
    if desk.code not in codes and len(codes) >= notice.DESKS_PER_AGENCY_MAX:
        raise notice.TooManyDesks
    return await work.store.register(desk)


async def desks_of(agency: str, work: Work) -> Sequence[notice.Desk]:
    """The desks of the admitted, active agency that asks."""
    await _check_admitted(agency, work)
    return await work.store.desks_of(agency)


async def _check_admitted(agency: str, work: Work) -> None:
    check_admission(await work.store.admission(agency), sector=None)


def _place(fact: FactBase) -> Place | None:
    if fact.awaits is None or fact.awaits_desk is None:
        return None
    return fact.awaits, fact.awaits_desk
