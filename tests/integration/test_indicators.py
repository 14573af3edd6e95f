"""Every indicator over facts that were counted by hand, as the service keeps and counts them."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from schemas.events import dialogue, facts, partnership
from schemas.events.unmet_need import UnmetNeedRecorded
from schemas.topics import GOVERNANCE_FACTS, REFERRALS_FACTS
from schemas.wire.body import Body
from schemas.wire.envelope import ReadEvent
from services.governance.handlers import Work, keep_governance_facts, keep_referral_facts, rebuild
from services.governance.store import INDICATORS, StatisticsStore
from services.runtime.database import Database
from services.runtime.transaction import Transaction
from tests.support.builders import an_event, an_id
from tests.support.platform import Space

Tables = Mapping[str, Mapping[tuple[str, ...], int]]

JANUARY: Final = datetime(2027, 1, 10, 12, tzinfo=UTC)
HERE: Final = {"level": "district", "area": "ZZ0101"}
WIDE: Final = {"level": "national", "area": "ZZ"}
OFFERS: Final[Sequence[Mapping[str, Any]]] = (
    {"awaits": "clinic-a", "needs": ("support",), "urgency": "urgent", "count": "first", "access_needs": ()},
    {"awaits": "clinic-b", "needs": ("support", "support_at_school"), "urgency": "routine", "count": "again"},
    {"awaits": "clinic-c", "needs": ("support",), "access_needs": ("some",), "count": "first"},
    {"awaits": "clinic-a", "needs": ("support",), "urgency": "routine", "count": "first", "area": "ZZ0102"},
    {"awaits": "clinic-b", "needs": ("support",), "urgency": "routine", "count": "none"},
    {"awaits": "clinic-b", "needs": ("support",), "urgency": "routine"},
)
"""Six referrals, the last two of which count nowhere: three agencies in one area, one in another."""
STORIES: Final[Mapping[int, Sequence[tuple[str, Mapping[str, Any]]]]] = {
    0: (
        ("accepted", {"met": "met"}), ("started", {"met": "missed"}), ("provided", {"outcome": "completed"}),
        ("feedback_given", {"outcome": "helped"}), ("closed", {"reason": "needs_met"}), ("acknowledged", {}),
    ),
    1: (
        ("declined", {"reason": "no_capacity", "met": "missed"}), ("redirected", {"hop": 2, "met": "met"}),
        ("withdrawn", {"stop_contact": True, "seal_by_at": JANUARY}),
        ("seal_confirmed", {"method": "deleted"}),
    ),
    2: (
        ("expired", {"timer": "answer", "met": "missed"}),
        ("closed_unmet", {"unmet": "no_capacity", "met": "missed"}),
    ),
    3: (
        ("accepted", {"met": "met"}), ("unreachable", {"attempts": 3, "rules_kept": True}),
        ("reoffered", {"reason": "reachable_again", "attempt": 2}),
        ("not_provided", {"reason": "not_eligible"}), ("closed", {"reason": "other"}),
        ("withdrawn", {"stop_contact": True, "seal_by_at": JANUARY}),
    ),
    4: (
        ("accepted", {"met": "met"}), ("started", {"met": "met"}), ("provided", {"outcome": "completed"}),
        ("closed", {"reason": "needs_met"}), ("withdrawn", {"stop_contact": True, "seal_by_at": JANUARY}),
        ("redirected", {"hop": 2}), ("closed_unmet", {"unmet": "no_capacity"}),
    ),
    5: (("declined", {"reason": "no_capacity", "met": "met"}), ("not_provided", {"reason": "not_eligible"})),
}  # fmt: skip
"""What happened to each of them; one row may hold what no life cycle allows."""
NEEDS: Final[Sequence[Mapping[str, Any]]] = (
    {"need": "safe_shelter", "access_needs": ("transport", "interpreter"), "area": "ZZ0101"},
    {"need": "legal_aid", "access_needs": ("transport",), "area": "ZZ0103"},
)
PERSONS: Final[Tables] = {
    "referrals_by_need": {("support", "ZZ0101"): 2, ("several", "ZZ0101"): 1, ("support", "other"): 1},
    "referrals_by_urgency": {
        ("urgent", "ZZ0101"): 1, ("routine", "ZZ0101"): 1, ("unknown", "ZZ0101"): 1, ("routine", "other"): 1,
    },
    "survivors_by_need": {("support", "ZZ0101"): 2, ("support", "other"): 1},
    "answers_in_time": {("met", "ZZ0101"): 1, ("missed", "ZZ0101"): 2, ("met", "other"): 1},
    "starts_in_time": {("missed", "ZZ0101"): 1},
    "next_steps_in_time": {("met", "ZZ0101"): 1, ("missed", "ZZ0101"): 1, ("unknown", "other"): 1},
    "answers": {
        ("accepted", "ZZ0101"): 1, ("declined", "ZZ0101"): 1, ("expired", "ZZ0101"): 1,
        ("accepted", "other"): 1,
    },
    "declines": {("no_capacity", "ZZ0101"): 1},
    "outcomes": {("completed", "ZZ0101"): 1, ("unreachable", "other"): 1, ("not_provided", "other"): 1},
    "not_provided": {("not_eligible", "other"): 1},
    "closed": {("yes", "ZZ0101"): 1, ("no", "other"): 1},
    "chains": {("2", "ZZ0101"): 1},
    "unmet_by_need": {("support", "ZZ0101"): 1, ("safe_shelter", "ZZ0101"): 1, ("legal_aid", "other"): 1},
    "unmet_by_access_need": {("some", "ZZ0101"): 1, ("several", "ZZ0101"): 1, ("transport", "other"): 1},
    "withdrawals": {("yes", "ZZ0101"): 1, ("no", "other"): 1},
    "offers_by_agency": {("clinic-a",): 2, ("clinic-b",): 1, ("clinic-c",): 1},
}  # fmt: skip
PUBLIC: Final[Tables] = {
    "committees": {("constituted", "district"): 2, ("incomplete", "district"): 1},
    "seats": {("un", "district"): 1, ("civil_society", "district"): 2},
    "meetings": {("yes", "district"): 1, ("no", "district"): 1},
    "decisions": {("adopted", "district"): 1, ("rejected", "district"): 1},
    "mandates": {("given", "district"): 1, ("ended", "district"): 1},
    "proposals_tabled": {("civil_society", "district"): 2, ("un", "district"): 1},
    "proposals_adopted": {("civil_society", "district"): 1},
    "recommendations_by_level": {
        ("agreed", "district"): 1, ("agreed", "national"): 1, ("assigned", "district"): 1,
        ("stalled", "district"): 1, ("verified", "district"): 1,
    },
    "recommendations_by_phase": {
        ("agreed", "planning"): 1, ("agreed", "analysis"): 1, ("assigned", "planning"): 1,
        ("stalled", "planning"): 1, ("verified", "planning"): 1,
    },
    "recommendations_by_change": {
        ("agreed", "rule"): 1, ("agreed", "nothing"): 1, ("assigned", "rule"): 1,
        ("stalled", "rule"): 1, ("verified", "rule"): 1,
    },
    "hours": {("civil_society", "river-alliance"): 12, ("un", "un-office"): 3},
    "meetings_by_level": {("district",): 2},
}  # fmt: skip


def referral_events(at: datetime = JANUARY) -> list[ReadEvent[Any]]:
    """The six referrals and the two needs: an hour between steps, a day and an hour before the last."""
    told: list[tuple[Body, datetime]] = []
    for number, offer in enumerate(OFFERS):
        name = an_id("referral", f"indicator {number}")
        told.append((facts.ReferralOffered(**{"referral": name, "area": "ZZ0101", **offer}), at))
        for step, (kind, said) in enumerate(STORIES[number], 1):
            fact = facts.FACTS[f"referral.{kind}"](**{"referral": name, **said})
            told.append((fact, at + timedelta(hours=step)))
    name = an_id("referral", "indicator 3")  # sealed one minute after her day
    late = facts.SealConfirmed(referral=name, method="deleted")
    told.append((late, at + timedelta(hours=len(STORIES[3]) + 24, minutes=1)))
    for number, need in enumerate(NEEDS):
        unmet = an_id("unmet", f"indicator {number}")
        told.append((UnmetNeedRecorded(unmet=unmet, month="1999-01", **need), at))
    return [an_event(REFERRALS_FACTS, body, at=when, name=_name(body, when)) for body, when in told]


def governance_events(at: datetime = JANUARY) -> list[ReadEvent[Any]]:
    """A committee, its meetings and decisions, a mandate, two recommendations, hours."""
    first, last = {"committee": "cmt_one", **HERE}, {"committee": "cmt_two", **HERE}
    few: dict[str, Any] = {"seats": {"un": 3, "civil_society": 1}, "civil_share": 25}
    some: dict[str, Any] = {"seats": {"civil_society": 1}, "civil_share": 100}
    full: dict[str, Any] = {"seats": {"un": 1, "civil_society": 1}, "civil_share": 50}
    met: dict[str, Any] = {"present": {"un": 1}, "decided": 1, "postponed": 0}
    taken: dict[str, Any] = {
        "meeting": "mtg_one", "subject": "release", "method": "vote", "votes_for": 1, "dissent": 0,
        "abstained": 0, "recused": 0,
    }  # fmt: skip
    agreed: dict[str, Any] = {"pillar": "services", "causes": ("impunity",), "constituencies": ("un",)}
    one, two = {"recommendation": "rec_one", **HERE}, {"recommendation": "rec_two", **WIDE}
    effort: dict[str, Any] = {
        "mandate": "mdt_one",
        "month": "2027-01",
        "hours_in_month": 9,
        "is_above": False,
    }
    river = effort | {"partner": "river-alliance", "constituency": "civil_society"}
    told: Sequence[Body] = (
        partnership.CommitteeConstituted(**first, kind="steering", **few),
        partnership.CommitteeConstituted(**last, kind="steering", **some),
        partnership.CommitteeIncomplete(**first, broken="seats", **full),
        partnership.MeetingHeld(**first, meeting="mtg_one", had_quorum=True, **met),
        partnership.MeetingHeld(**first, meeting="mtg_two", had_quorum=False, **met),
        *(
            partnership.DecisionTabled(**first, decision=f"dec_{name}", subject="release", tabled_by=by)
            for name, by in (("one", "civil_society"), ("two", "civil_society"), ("three", "un"))
        ),
        *(
            partnership.DecisionTaken(**first, **taken, decision=f"dec_{name}", tabled_by=by, outcome=outcome)
            for name, by, outcome in (("one", "civil_society", "adopted"), ("three", "un", "rejected"))
        ),
        partnership.MandateGiven(
            mandate="mdt_one", committee="cmt_one", level="district", subjects=("release",), area="ZZ0101",
            valid_until=JANUARY,
        ),
        partnership.MandateExpired(mandate="mdt_one", committee="cmt_one"),
        dialogue.RecommendationAgreed(**one, **agreed, phase="planning", changes="rule"),
        dialogue.RecommendationAgreed(**two, **agreed, phase="analysis", changes="nothing"),
        dialogue.RecommendationAssigned(**one, owner="ministry", due_at=JANUARY),
        dialogue.RecommendationProgressed(**one, per_cent=50),
        dialogue.RecommendationStalled(**one, owner="ministry"),
        dialogue.RecommendationStalled(**one, owner="river-alliance"),
        dialogue.RecommendationVerified(**one, verifier="dawn-movement"),
        partnership.EffortLogged(**river, hours=10),
        partnership.EffortLogged(**river, hours=2),
        partnership.EffortLogged(**effort, partner="un-office", constituency="un", hours=3),
        partnership.ProtocolInForce(protocol="north-sharing", version=1),
    )  # fmt: skip
    times = [at + timedelta(minutes=place) for place in range(len(told))]
    return [
        an_event(GOVERNANCE_FACTS, body, at=when, name=_name(body, when))
        for body, when in zip(told, times, strict=True)
    ]


def _name(body: Body, at: datetime) -> str:
    return an_id("event", f"{body!r} {at}")


def tables(figures: Sequence[Any], month: str = "2027-01") -> dict[str, dict[tuple[str, ...], int]]:
    found: dict[str, dict[tuple[str, ...], int]] = defaultdict(dict)
    for one in figures:
        if one.month == month:
            found[one.part][one.keys] = one.count
    return found


@pytest.fixture(scope="module")
async def database(space: Space) -> AsyncIterator[Database]:
    database = space.database("governance")
    yield database
    await database.close()


@asynccontextmanager
async def kept(
    database: Database, zone: str, referrals: Sequence[ReadEvent[Any]], own: Sequence[ReadEvent[Any]] = ()
) -> AsyncIterator[tuple[StatisticsStore, Work]]:
    """The facts kept, in a transaction that leaves nothing behind."""
    async with database.session() as session:
        await session.transaction().start()  # ends with the session
        store = StatisticsStore(Transaction(session), ZoneInfo(zone))
        work = Work(None, None, None, None, store)  # type: ignore[arg-type]
        await keep_referral_facts(referrals, work)
        await keep_governance_facts(own, work)
        yield store, work


async def test_every_indicator_counts_what_was_counted_by_hand(database: Database) -> None:
    async with kept(database, "UTC", referral_events(), governance_events()) as (store, work):
        await rebuild(INDICATORS.values(), work)
        everything, public = tables(await store.figures()), tables(await store.public_figures())
        released = tables(await store.figures_of("2027-01"))

    assert everything == {**PERSONS, **PUBLIC}
    assert (public, released) == (PUBLIC, PERSONS)
    parts = {part.name: part for one in INDICATORS.values() for part in one.parts}
    assert parts.keys() == everything.keys()
    assert all(len(keys) == len(parts[name].dimensions) for name, rows in everything.items() for keys in rows)


async def test_the_same_facts_give_the_same_bytes_in_whatever_order_and_however_often(
    database: Database,
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    receipts = []
    for shuffled in (False, True):
        referrals, own = referral_events() * 2, governance_events() * 2
        if shuffled:
            random.Random(seed).shuffle(referrals)
            random.Random(seed).shuffle(own)
        async with kept(database, "UTC", referrals, own) as (_, work):
            receipts += [await rebuild(INDICATORS.values(), work) for _ in range(2)]

    assert len({one.sha256 for one in receipts}) == 1
    async with kept(database, "UTC", referral_events(), governance_events()[1:]) as (_, work):
        assert (await rebuild(INDICATORS.values(), work)).sha256 != receipts[0].sha256


@pytest.mark.parametrize(
    ("zone", "border"), [("UTC", "2027-01-31T23:59:59"), ("Pacific/Auckland", "2027-01-31T10:59:59")]
)
async def test_a_month_ends_where_the_time_zone_says(database: Database, zone: str, border: str) -> None:
    last = datetime.fromisoformat(border).replace(tzinfo=UTC)
    before, after = referral_events(last), referral_events(last + timedelta(seconds=1))
    offers = [
        next(one for one in told if one.body.type == "referral.offered" and one.body.awaits == agency)
        for told, agency in ((before, "clinic-a"), (after, "clinic-b"), (after, "clinic-c"))
    ]

    async with kept(database, zone, offers) as (store, _):
        counted = [tables(await store.figures_of(month), month) for month in ("2027-01", "2027-02")]

    assert [one["offers_by_agency"] for one in counted] == [
        {("clinic-a",): 1}, {("clinic-b",): 1, ("clinic-c",): 1},
    ]  # fmt: skip
