"""A search of the directory: what is offered, in which order, and which needs are counted."""

from datetime import timedelta
from typing import Any

import pytest

from schemas.events.codes import ACCESS_NEEDS, NEEDS
from services.sector.domain.directory import (
    FOUND_MAX,
    MISSES,
    DirectoryEntry,
    LiveProtocol,
    ServiceSearch,
    is_unmet,
    rank_services,
)
from tests.support.builders import RECEIVER, an_entry
from tests.support.clock import NOON

LIVE = (LiveProtocol(frozenset({RECEIVER}), entry_fresh_for_days=90),)


def a_service(number: int = 1, **changes: Any) -> DirectoryEntry:
    service = f"0b6e7f52-5d0a-4c1e-9a54-{number:012}"
    content = an_entry(service).model_dump() | {"agency": RECEIVER, "sector": "health"}
    return DirectoryEntry.model_validate(content | changes)


def a_search(**changes: Any) -> ServiceSearch:
    return ServiceSearch.model_validate({"need": "medical_care", "area": "KE047"} | changes)


def misses(entry: DirectoryEntry, **search: Any) -> tuple[str, ...]:
    [found] = rank_services([entry], LIVE, a_search(**search), NOON)
    return found.misses


@pytest.mark.parametrize(
    ("days", "is_offered"), [(90, True), (90.001, False), (400, False), (0, True)]
)  # fmt: skip
def test_harm_25_an_entry_that_nobody_confirmed_for_too_long_is_skipped(
    days: float, *, is_offered: bool
) -> None:
    stale = a_service(confirmed_at=NOON - timedelta(days=days))

    found = rank_services([stale], LIVE, a_search(), NOON)

    assert [one.entry for one in found] == ([stale] if is_offered else [])
    assert is_unmet(found, a_search()) is not is_offered


@pytest.mark.parametrize(
    "changes",
    [{"status": "temporarily closed"}, {"status": "defunct"}, {"agency": "other-agency"}, {"agency": None},
     {"needs": ("legal_aid",)}, {"areas": ("UG",)}, {"areas": ("KE030",)}],
)  # fmt: skip
def test_what_no_offer_could_name_is_not_shown(changes: dict[str, Any]) -> None:
    assert rank_services([a_service(**changes)], LIVE, a_search(), NOON) == []


def test_without_a_protocol_nothing_is_shown() -> None:
    assert rank_services([a_service()], (), a_search(), NOON) == []


@pytest.mark.parametrize("need", sorted(NEEDS))
@pytest.mark.parametrize("access", sorted(ACCESS_NEEDS))
def test_harm_26_each_need_with_each_access_need_has_a_match_or_is_counted(need: str, access: str) -> None:
    search = a_search(need=need, access_needs=(access,))
    without, with_it = (
        a_service(number, needs=(need,), access_needs=has) for number, has in ((1, ()), (2, (access,)))
    )

    nothing = rank_services([], LIVE, search, NOON)
    silent = rank_services([without], LIVE, search, NOON)
    both = rank_services([without, with_it], LIVE, search, NOON)

    assert is_unmet(nothing, search)
    assert is_unmet(silent, search)
    assert f"{access}_unsaid" in silent[0].misses
    assert [one.entry.access_needs for one in both] == [(access,), ()]
    assert not is_unmet(both, search)
    assert is_unmet(both, search.model_copy(update={"no_help": True}))


@pytest.mark.parametrize(
    ("entry", "search", "expected"),
    [
        ({"areas": ("KE047",)}, {}, ()),
        ({"areas": ("KE",)}, {}, ()),
        ({}, {}, ("area_unsaid",)),
        ({"areas": ("KE047",)}, {"area": "KE"}, ("area_in_part",)),
        ({"areas": ("KE",)}, {"language": "sw"}, ("language_unsaid",)),
        ({"areas": ("KE",), "languages": ("en",)}, {"language": "sw"}, ("language_missing",)),
        ({"areas": ("KE",), "languages": ("en", "sw")}, {"language": "sw"}, ()),
        ({"areas": ("KE",), "access_needs": ("transport",)}, {"access_needs": ("transport", "wheelchair")},
         ("wheelchair_unsaid",)),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(
    entry: dict[str, Any], search: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert misses(a_service(**entry), **search) == expected
    assert set(expected) <= MISSES.keys()


def test_what_fits_best_and_was_confirmed_last_comes_first_and_the_list_ends() -> None:
    old = a_service(1, areas=("KE",), confirmed_at=NOON - timedelta(days=9))
    new = a_service(2, areas=("KE",), confirmed_at=NOON - timedelta(days=1))
    vague = [a_service(number, confirmed_at=NOON) for number in range(3, 3 + FOUND_MAX)]

    found = rank_services([*vague, old, new], LIVE, a_search(), NOON)

    assert [one.entry for one in found[:2]] == [new, old]
    assert len(found) == FOUND_MAX
