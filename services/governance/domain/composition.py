"""The composition rule: which seats a committee must have to decide, and how many must be present."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, ClassVar, Final, NamedTuple

from pydantic import Field

from schemas.events.codes import Area
from schemas.events.governance import Sector
from schemas.events.partnership import (
    CIVIL,
    CoChairs,
    CommitteeSeat,
    CommitteeType,
    Constituency,
    Level,
    Seats,
)
from schemas.ids import AgencyId, CommitteeId
from services.governance.domain.life_cycle import ActBody, Content, GovernanceRegister
from services.governance.domain.partners import Partner
from services.runtime.errors import Refused, define_refusal

SEATS_MAX: Final = 60

_define: Final = partial(define_refusal, __name__)

TooFewSeats: Final = _define("too_few_seats", "The composition rule asks for more seats.", 422)
ConstituencyMissing: Final = _define(
    "constituency_missing", "Seat each constituency that the composition rule names.", 422
)
CivilShareBelow: Final = _define(
    "civil_share_below",
    "Give civil society and women's movements the share of seats that the rule names.",
    422,
)
SectorMissing: Final = _define("sector_missing", "Seat a partner of each sector that has to join.", 422)
CoChairsAlike: Final = _define(
    "co_chairs_alike", "Let two seated partners of different constituencies be co-chairs.", 422
)
QuorumMissing: Final = _define("quorum_missing", "Too few seats are present and free to decide; meet again.")
QuorumWithoutConstituency: Final = _define(
    "quorum_without_constituency", "Civil society, or a constituency that the quorum names, is not present."
)


class Composition(ActBody):
    """Which constituencies and sectors a committee seats, how many, and civil society's share."""

    constituencies: tuple[Constituency, ...] = Field(min_length=1, max_length=9)
    seats_least: Annotated[int, Field(strict=True, ge=3, le=SEATS_MAX)] = 3
    civil_share_least: Annotated[int, Field(strict=True, ge=20, le=100)] = 20
    """Civil society and women's movements together, per cent; no rule goes below a fifth."""
    sectors: tuple[Sector, ...] = Field(default=(), max_length=20)


class Quorum(ActBody):
    """How many seats must be present, and which constituencies."""

    share: Annotated[int, Field(strict=True, ge=50, le=100)] = 50
    constituencies: tuple[Constituency, ...] = Field(default=(), max_length=9)


class CommitteeProposal(ActBody):
    """A committee as it is proposed."""

    type: CommitteeType
    level: Level
    area: Area
    above: CommitteeId | None = None
    secretariat: AgencyId
    composition: Composition
    quorum: Quorum = Quorum()
    seats: tuple[CommitteeSeat, ...] = Field(max_length=SEATS_MAX)
    co_chairs: CoChairs


class Committee(CommitteeProposal, Content):
    """A committee, and the seats of it that stand empty."""

    kind: ClassVar[str] = "committee"

    empty: tuple[Constituency, ...] = Field(default=(), max_length=SEATS_MAX)
    """For whom each empty seat speaks: no other seats are filled, so that nobody packs a committee."""

    def seat_of(self, partner: str) -> CommitteeSeat | None:
        """The seat that a partner holds."""
        return next((seat for seat in self.seats if seat.partner == partner), None)

    @property
    def by_constituency(self) -> Seats:
        """How many seats each constituency holds."""
        return seats_by_constituency(self.seats)

    @property
    def civil_share(self) -> int:
        """Civil society's and women's movements' seats, per cent."""
        return share(sum(seat.constituency in CIVIL for seat in self.seats), len(self.seats))


class Clause(NamedTuple):
    """One clause of a composition rule, and when it is kept."""

    refusal: type[Refused]
    is_kept: Callable[[Committee, GovernanceRegister], bool]


def _seats_sectors(content: Committee, register: GovernanceRegister) -> bool:
    # Whether or not it takes part any longer: a partner that leaves loses its seats one by one.
    seated = {register.find(Partner, seat.partner).content.sector for seat in content.seats}
    return seated >= set(content.composition.sectors)


def _chairs_differ(content: Committee, _: GovernanceRegister) -> bool:
    chairs = [content.seat_of(one) for one in content.co_chairs]
    return len({seat.constituency for seat in chairs if seat}) == len(chairs)


COMPOSITION: Final = (
    Clause(TooFewSeats, lambda its, _: len(its.seats) >= its.composition.seats_least),
    Clause(ConstituencyMissing, lambda its, _: {*its.composition.constituencies} <= {*its.by_constituency}),
    Clause(CivilShareBelow, lambda its, _: its.civil_share >= its.composition.civil_share_least),
    Clause(SectorMissing, _seats_sectors),
    Clause(CoChairsAlike, _chairs_differ),
)
"""What a committee's seats must keep, at its constitution and at each decision."""


def broken_clause(content: Committee, register: GovernanceRegister) -> type[Refused] | None:
    """The first clause that the seats do not keep."""
    return next((one.refusal for one in COMPOSITION if not one.is_kept(content, register)), None)


def seats_by_constituency(seats: Iterable[CommitteeSeat]) -> Seats:
    """Constituency → how many of these seats."""
    return Counter(seat.constituency for seat in seats)


def quorum_fault(content: Committee, present: Sequence[CommitteeSeat]) -> type[Refused] | None:
    """Why these seats are no quorum; without civil society nobody is one."""
    there = {seat.constituency for seat in present}
    if not there & CIVIL or not there >= set(content.quorum.constituencies):
        return QuorumWithoutConstituency
    return QuorumMissing if share(len(present), len(content.seats)) < content.quorum.share else None


def share(part: int, whole: int) -> int:
    """Per cent, rounded down: a rule is never met by rounding."""
    return part * 100 // whole if whole else 0
