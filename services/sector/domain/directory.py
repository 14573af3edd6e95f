"""The service directory as agencies search it: what could be referred to, what fits, and what does not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from schemas.events.codes import ACCESS_NEEDS, AccessNeeds, Area, NeedCode
from schemas.events.directory import Language, ServiceRegistered
from schemas.events.governance import Sector
from schemas.ids import AgencyId
from schemas.topics import SECTORS
from schemas.wire.body import Flag, listed
from services.sector.domain.bodies import RequestBody

FOUND_MAX: Final = 20
CANDIDATES_MAX: Final = 1_000
"""How many entries of a need and area are looked at, the last confirmed first."""

_ACCESS_SENTENCES: Final = {
    "interpreter": "The entry does not say that there is an interpreter; ask before you refer.",
    "sign_language": "The entry does not say that anybody signs; ask before you refer.",
    "wheelchair": "The entry does not say that a wheelchair gets in; ask before you refer.",
    "transport": "The entry does not say that transport is given; ask before you refer.",
    "female_staff": "The entry does not say that women work there; ask before you refer.",
    "child_care": "The entry does not say that children are looked after; ask before you refer.",
}
MISSES: Final[Mapping[str, str]] = {
    "area_unsaid": "The entry does not say which areas it serves; ask before you refer.",
    "area_in_part": "It serves a part of this area only; ask before you refer.",
    "language_unsaid": "The entry does not say in which languages it can be had; ask before you refer.",
    "language_missing": "It cannot be had in this language; ask for an interpreter.",
} | {f"{need}_unsaid": _ACCESS_SENTENCES[need] for need in sorted(ACCESS_NEEDS)}
"""What does not fit, by its code → what to do about it."""


class ServiceSearch(RequestBody):
    """What is needed, in codes alone: nothing of a person, no case."""

    need: NeedCode
    area: Area
    language: Language | None = None
    access_needs: AccessNeeds = ()
    sector: Annotated[Sector, listed(SECTORS)] | None = None
    no_help: Flag = False
    """Nothing that was found would help: send the search again with this, and the need is counted."""


class DirectoryEntry(ServiceRegistered):
    """A service that referrals can be made to."""

    agency: AgencyId | None
    """Who answers for it; without one no referral can be made to it."""
    sector: Annotated[Sector, listed(SECTORS)] | None


@dataclass(frozen=True, slots=True)
class LiveProtocol:
    """A protocol in force to which the asker is a party: with whom, and how fresh an entry must be."""

    parties: frozenset[str]
    entry_fresh_for_days: int


@dataclass(frozen=True, slots=True)
class FoundService:
    """An entry that answers the need, and the codes of what does not fit."""

    entry: DirectoryEntry
    misses: tuple[str, ...]


def rank_services(
    entries: Iterable[DirectoryEntry], protocols: Sequence[LiveProtocol], search: ServiceSearch, at: datetime
) -> list[FoundService]:
    """The entries that an offer could name now, those that fit best first, at most `FOUND_MAX`."""
    found = [
        FoundService(entry, misses_of(entry, search))
        for entry in entries
        if search.need in entry.needs and serves(entry, search.area) and is_open_to(entry, protocols, at)
    ]
    found.sort(key=lambda one: (one.entry.confirmed_at, one.entry.service), reverse=True)
    return sorted(found, key=lambda one: len(one.misses))[:FOUND_MAX]


def is_unmet(found: Sequence[FoundService], search: ServiceSearch) -> bool:
    """Whether the need counts as unmet: nobody says to offer it with all the access that she needs, or the
    asker says that nothing would help."""
    access = {f"{need}_unsaid" for need in search.access_needs}
    return search.no_help or all(access.intersection(one.misses) for one in found)


def is_open_to(entry: DirectoryEntry, protocols: Sequence[LiveProtocol], at: datetime) -> bool:
    """Whether the arbiter would let an offer through: active, joined by a protocol, lately confirmed."""
    return entry.status == "active" and any(
        entry.agency in protocol.parties
        and entry.confirmed_at >= at - timedelta(days=protocol.entry_fresh_for_days)
        for protocol in protocols
    )


def serves(entry: DirectoryEntry, area: str) -> bool:
    """Whether it serves an area or a part of it, or does not say: p-codes begin with those around them."""
    return not entry.areas or any(area.startswith(own) or own.startswith(area) for own in entry.areas)


def misses_of(entry: DirectoryEntry, search: ServiceSearch) -> tuple[str, ...]:
    """The codes of what does not fit, in the order of `MISSES`."""
    access = {f"{need}_unsaid" for need in search.access_needs if need not in entry.access_needs}
    does_miss = {
        "area_unsaid": not entry.areas,
        "area_in_part": bool(entry.areas) and not any(search.area.startswith(own) for own in entry.areas),
        "language_unsaid": search.language is not None and not entry.languages,
        "language_missing": bool(entry.languages) and search.language not in (None, *entry.languages),
    }
    return tuple(code for code in MISSES if code in access or does_miss.get(code))
