"""What facts do to notices: the newest one of each referral says whom it waits for."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from schemas.events.referral import FactBase, ReferralAcknowledged
from schemas.topics import REFERRALS_FACTS
from services.notifications.domain.notice import Notice
from services.notifications.handlers import Place, Work, write_notices
from services.runtime.subscription import Received
from tests.support.builders import an_id
from tests.support.clock import NOON, StoppedClock

DESK = ("harbour-clinic", "night")
OTHER = ("hill-police", "front")


class MemoryOffice:
    """Desks that are all registered, and what was said of notices."""

    def __init__(self) -> None:
        self.added: list[Notice] = []
        self.dropped: dict[str, Place | None] = {}

    async def among(self, places: Collection[Place]) -> frozenset[Place]:
        return frozenset(places)

    async def add(self, notices: Sequence[Notice]) -> None:
        self.added += notices

    async def drop(self, waiting: Mapping[str, Place | None]) -> None:
        self.dropped |= waiting


async def told(*facts: tuple[str, Place | None]) -> MemoryOffice:
    office = MemoryOffice()
    anything: Any = office
    received = [_received(referral, place) for referral, place in facts]
    await write_notices(received, Work(anything, anything, anything, StoppedClock()))
    return office


def _received(referral: str, place: Place | None) -> Received[FactBase]:
    agency, desk = place or (None, None)
    fact = ReferralAcknowledged(referral=referral, awaits=agency, awaits_desk=desk)
    return Received(an_id("event"), "referrals", REFERRALS_FACTS, referral, 1, NOON, None, fact)


async def test_a_referral_that_waits_for_somebody_else_by_now_is_told_to_nobody_else() -> None:
    moved, ended, waiting = (an_id("referral") for _ in range(3))

    office = await told((moved, DESK), (ended, DESK), (waiting, DESK), (moved, OTHER), (ended, None))

    assert office.dropped == {moved: OTHER, ended: None, waiting: DESK}
    assert {(one.referral, one.agency) for one in office.added} == {(moved, OTHER[0]), (waiting, DESK[0])}
