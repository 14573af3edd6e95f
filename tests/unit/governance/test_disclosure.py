"""What a release hides stays hidden from whoever solves for it: harms 12 and 13."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.governance.domain import disclosure
from services.governance.domain.disclosure import (
    SMALL,
    STAR,
    VOID,
    CountTable,
    Keys,
    Shown,
    correct,
    protect,
    size,
    sums_agree,
)
from services.governance.domain.figures import AREA
from tests.support.attacker import Attack
from tests.support.population import InventedReferral, Population

SEEDS: Final = st.integers(0, 2**32)


def published(people: Population, tables: Sequence[CountTable] | None = None) -> Shown:
    return protect(tables or people.tables(), people.codes)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_harm_12_small_counts_cannot_be_solved_for_over_areas_needs_or_all_minus_one_agency(
    seed: int,
) -> None:
    people = Population(seed)

    shown = published(people)

    assert Attack(people.tables(), shown).narrowed() == []
    for table in people.tables():
        for keys, said in shown[table.name].items():
            count = table.counts.get(keys, 0)
            assert said in ({SMALL, VOID} if count < 11 else {STAR, VOID, str(5 * round(count / 5))})


def without_complement(people: Population, patch: pytest.MonkeyPatch) -> Attack:
    patch.setattr(disclosure, "WIDTH", 0)
    return Attack(people.tables(), published(people))


def with_zeros(people: Population, _: pytest.MonkeyPatch) -> Attack:
    shown = published(people)
    for table in people.tables():
        shown[table.name] |= {keys: "0" for keys in shown[table.name] if not table.counts.get(keys)}
    return Attack(people.tables(), shown)


def with_true_totals(people: Population, _: pytest.MonkeyPatch) -> Attack:
    attack = Attack(people.tables(), published(people))
    for area in people.codes["area"]:
        cells = {("by_need", keys): 1 for keys in attack.published["by_need"] if keys[-1] == area}
        attack.know(attack.row(cells), sum(one.area == area for one in people.referrals))
    return attack


def with_agencies_apart(people: Population, _: pytest.MonkeyPatch) -> Attack:
    """Agencies are protected as if nobody knew that they refer the same women."""
    apart = [one._replace(total="agencies") if one.name == "by_agency" else one for one in people.tables()]
    return Attack(people.tables(), published(people, apart))


def with_survivors_apart(people: Population, _: pytest.MonkeyPatch) -> Attack:
    """Survivors are protected as if nobody knew that each of them was referred."""
    apart = [one._replace(total="women") if one.name == "survivors" else one for one in people.tables()]
    return Attack(people.tables(), published(people, apart))


@pytest.mark.parametrize(("mutant", "seed"), [
    (without_complement, 0), (with_zeros, 0), (with_true_totals, 0), (with_agencies_apart, 0),
    (with_survivors_apart, 38),
])  # fmt: skip
def test_harm_12_the_attack_succeeds_where_a_control_is_off(
    mutant: Callable[[Population, pytest.MonkeyPatch], Attack], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mutant(Population(seed), monkeypatch).narrowed()


def test_harm_13_one_more_referral_changes_nothing_that_a_correction_shows() -> None:
    moved = []
    for seed in range(12):
        people = Population(seed)
        old = published(people)
        for one in {*people.referrals}:
            tables = people.tables([one])
            shown, reveals = correct(tables, people.codes, old)
            assert reveals or shown == old
            moved.append(protect(tables, people.codes) != old)  # whoever draws it anew tells of her

    assert any(moved)


def subtracted(old: Shown, new: Shown, people: Population) -> Attack:
    """Both releases, by somebody who knows that nothing changed where no number did."""
    tables, merged = people.tables(), Shown()
    for tag, shown in {"old": old, "new": new}.items():
        merged |= {f"{tag}-{name}": rows for name, rows in shown.items()}
    both = [
        one._replace(name=f"{tag}-{one.name}", total=re.sub("^(some )?", rf"\1{tag}-", one.total))
        for tag in ("old", "new")
        for one in tables
    ]
    attack = Attack(both, merged)
    for name, rows in old.items():
        for keys, said in rows.items():
            if not (said != new[name][keys] and said.isdecimal() and new[name][keys].isdecimal()):
                attack.know(attack.row({(f"old-{name}", keys): 1, (f"new-{name}", keys): -1}), 0)
    return attack


def shown_everywhere(people: Population, old: Shown) -> list[InventedReferral]:
    """Referrals of which every table shows the cell."""
    return sorted(
        one
        for one in {*people.referrals}
        if old["by_need"][one.need, one.area].isdecimal()
        and old["by_urgency"][one.urgency, one.area].isdecimal()
        and old["by_agency"][one.agency,].isdecimal()
        and (one.need != "need-0" or old["urgency_of_care"][one.urgency, one.area].isdecimal())
        and (not one.is_late or old["late"][one.urgency, one.area].isdecimal())
        and (not one.is_first or old["survivors"][one.need, one.area].isdecimal())
    )


def is_caught(old: Shown, new: Shown, people: Population) -> bool:
    try:
        return bool(subtracted(old, new, people).narrowed())
    except AssertionError:  # whoever believes that nothing else changed contradicts what is shown
        return False


def test_harm_13_subtracting_a_release_from_its_correction_tells_of_nobody() -> None:
    corrected = anew = 0
    for seed in range(60):
        people = Population(seed)
        old = published(people)
        for one in shown_everywhere(people, old)[:1]:
            tables = people.tables([one] * (15 + seed % 20))
            shown, reveals = correct(tables, people.codes, old)
            if not reveals:
                assert shown != old
                assert subtracted(old, shown, people).narrowed() == []
                corrected += 1
            if not anew and protect(tables, people.codes) != shown:
                anew += bool(is_caught(old, protect(tables, people.codes), people))

    assert corrected > 5
    assert anew


def one_area(**needs: int) -> list[CountTable]:
    """Referrals of one area by need, and all of them by one urgency."""
    counts: dict[Keys, int] = {(need, "ZZ01"): count for need, count in needs.items()}
    whole: dict[Keys, int] = {("soon", "ZZ01"): sum(needs.values())}
    return [
        CountTable("by_need", ("need", "area"), "referrals", counts),
        CountTable("by_urgency", ("urgency", "area"), "referrals", whole),
    ]


def test_the_smallest_count_that_helps_is_hidden_with_a_small_one() -> None:
    shown = protect(one_area(care=4, shelter=24, legal=33, police=61), {"need": ["money"]})

    assert {keys[0]: said for keys, said in shown["by_need"].items()} == {
        "care": "<11", "shelter": "*", "legal": "35", "police": "60", "money": "<11",
    }  # fmt: skip
    assert shown["by_urgency"] == {("soon", "ZZ01"): "120"}


def test_where_hiding_one_by_one_is_not_enough_nothing_is_said_of_the_area() -> None:
    shown = protect(one_area(care=6, shelter=7), {})

    assert {said for rows in shown.values() for said in rows.values()} == {"-"}


@pytest.mark.parametrize(("needs", "reveals"), [
    ({"care": 4, "shelter": 24, "legal": 33, "police": 61}, False),
    ({"care": 10, "shelter": 24, "legal": 33, "police": 61}, False),
    ({"care": 11, "shelter": 24, "legal": 33, "police": 61}, True),  # small, and no longer
    ({"care": 4, "shelter": 10, "legal": 33, "police": 61}, True),  # hidden for another's sake, now small
    ({"care": 4, "shelter": 24, "legal": 10, "police": 61}, True),  # a number that became small
    ({"care": 4, "shelter": 24, "legal": 53, "police": 61}, False),
])  # fmt: skip
def test_a_correction_reveals_where_a_mark_would_change(needs: dict[str, int], *, reveals: bool) -> None:
    old = protect(one_area(care=4, shelter=24, legal=33, police=61), {})

    assert correct(one_area(**needs), {}, old)[1] is reveals


def test_a_correction_keeps_a_number_that_moved_by_less_than_fifteen() -> None:
    before = {"care": 100, "shelter": 24, "legal": 33}
    old = protect(one_area(**before), {})

    for moved, number in ((112, "100"), (113, "115"), (88, "100"), (87, "85")):
        shown, _ = correct(one_area(**before | {"care": moved}), {}, old)
        assert shown["by_need"]["care", "ZZ01"] == number


def test_tables_of_one_total_must_agree_in_each_area_and_a_part_is_no_more_than_its_whole() -> None:
    tables = Population(3).tables()
    agency, survivors = tables[2], tables[-1]
    more = {keys: count + 1 for keys, count in agency.counts.items()}
    women = {keys: count + 99 for keys, count in survivors.counts.items()}
    elsewhere = [CountTable("b", (AREA,), "t", {("ZZ01",): 5}), CountTable("c", (AREA,), "t", {("ZZ02",): 5})]

    assert sums_agree(tables)
    assert not sums_agree([*tables[:2], agency._replace(counts=more)])
    assert not sums_agree([*tables[:-1], survivors._replace(counts=women)])
    assert not sums_agree(elsewhere)


def test_what_is_shown_depends_on_no_order_and_a_whole_nation_takes_seconds() -> None:
    people = Population(5)
    backwards = [one._replace(counts=dict(reversed([*one.counts.items()]))) for one in people.tables()]
    nation: dict[Keys, int] = {
        (f"need-{n}", f"ZZ{area:03}"): (n * area) % 40 for n in range(20) for area in range(240)
    }
    tables = [CountTable("by_need", ("need", AREA), "referrals", nation)]

    assert protect(backwards, people.codes) == protect(people.tables(), people.codes)
    assert size(tables, {}) == len(protect(tables, {})["by_need"]) == 4_800
