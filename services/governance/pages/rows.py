"""The rows of the tables that the partnership shows of itself, made of public acts and released figures."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.events.dialogue import GROUPS
from schemas.events.learning import QUESTIONS
from schemas.events.partnership import CONSTITUENCIES, LEVELS, PHASES
from services.governance.domain.composition import Committee, seats_by_constituency, share
from services.governance.domain.decisions import Decision
from services.governance.domain.dialogues import Dialogue
from services.governance.domain.figures import Figure
from services.governance.domain.lessons import Lesson
from services.governance.domain.life_cycle import GovernanceRecord, GovernanceRegister
from services.governance.domain.mandates import THRESHOLD, Mandate, live_mandates
from services.governance.domain.meetings import Meeting
from services.governance.domain.partners import STANDING, Partner
from services.governance.domain.recommendations import Recommendation
from services.governance.domain.releases import JointRelease
from services.governance.domain.scorecards import Scorecard
from services.governance.pages.terms import term, terms
from services.runtime.pages.languages import message as _
from services.runtime.pages.tables import Cell, Mark, Month, Row, Share, Term

YEAR: Final = timedelta(days=365)
JOINT: Final = ("agreed", "assigned", "progressed", "implemented", "verified", "stalled")
"""The states of a recommendation that at least two constituencies agreed on."""
MONTHS_MAX: Final = 12
"""How many months of released figures are shown; older ones are read by their release."""
TAKEN: Final = ("adopted", "rejected", "routed_up")
"""What can become of an item that a committee takes up."""


@dataclass(frozen=True, slots=True)
class ReportSource:
    """What a report is made of."""

    register: GovernanceRegister
    at: datetime
    figures: Sequence[Figure] = ()
    """Counts of public acts; none of people."""


def committees(source: ReportSource) -> list[Row]:
    """Each committee with its seats by constituency, and the empty ones."""
    rows: list[Row] = []
    for one in _by_id(source.register.all(Committee)):
        its = one.content
        if one.state in STANDING:
            empty = Counter(its.empty)
            state: Cell = term(one.state)
            if one.state == "incomplete":
                state = Mark(state, "")
            seats = _counted(seats_by_constituency(its.seats))
            gone: Cell = Mark(_counted(empty), "") if empty else ()
            where = (term(its.type), term(its.level), its.area)
            rows.append((one.id, *where, state, seats, gone, Share(its.civil_share)))
    return rows


def mandates(source: ReportSource) -> list[Row]:
    """Each mandate, and the subjects that it blocks since it expired; what blocks stands first."""
    rows: list[Row] = []
    for one in _by_id(source.register.all(Mandate)):
        its = one.content
        if one.state in ("live", "expired"):
            held = live_mandates(source.register, its.committee, source.at)
            covered = {subject for mandate in held for subject in mandate.subjects}
            blocked = [subject for subject in its.subjects if subject not in covered]
            stops = Mark(terms(blocked), "") if one.state == "expired" and blocked else ()
            until = its.valid_until
            rows.append((one.id, its.committee, terms(its.subjects), its.area, until, term(one.state), stops))
    return sorted(rows, key=lambda row: row[-1] == ())


def decisions(source: ReportSource) -> list[Row]:
    """What committees of each level decided."""
    found: Counter[tuple[str, str]] = Counter()
    for one in source.register.all(Decision):
        if one.state in TAKEN:
            found[source.register.find(Committee, one.content.committee).content.level, one.state] += 1
    decided = {level: found[level, "adopted"] + found[level, "rejected"] for level in LEVELS}
    total = sum(decided.values())
    return [
        (term(level), *(found[level, state] for state in TAKEN), ratio(decided[level], total))
        for level in LEVELS
        if total or any(found.values())
    ]


def influence(source: ReportSource) -> list[Row]:
    """What each constituency put before committees, and what was adopted of it."""
    tabled: Counter[str] = Counter()
    adopted: Counter[str] = Counter()
    for one in source.register.all(Decision):
        whose = one.content.constituency
        tabled[whose] += one.content.routed_from is None  # what was passed up was tabled once
        adopted[whose] += one.state == "adopted"
    return [
        (term(one), tabled[one], adopted[one], ratio(adopted[one], tabled[one]))
        for one in CONSTITUENCIES
        if tabled.total()
    ]


def phases(source: ReportSource) -> list[Row]:
    """Each phase with its dialogues, decisions and recommendations; an empty one is a gap."""
    held = [one.content for one in held_dialogues(source)]
    joint = Counter(one.content.phase for one in joint_recommendations(source))
    taken = Counter(one.content.phase for one in source.register.all(Decision) if one.state in TAKEN[:2])
    rows: list[Row] = []
    for phase in PHASES:
        here = [one for one in held if one.phase == phase]
        heard = Counter(group for one in here for group in _groups(one))
        unheard = sum(not _groups(one) for one in here)
        is_gap = not here and not joint[phase] and not taken[phase]
        rows.append((
            Mark(term(phase), _("gap: nothing happened in this phase")) if is_gap else term(phase),
            len(here), taken[phase], joint[phase],
            Mark(unheard, _("without those concerned")) if unheard else 0,
            *(heard[group] or Mark(0, _("gap")) for group in GROUPS),
        ))  # fmt: skip
    return rows


def dialogues(source: ReportSource) -> list[Row]:
    """Each dialogue that was held, marked where none of those concerned took part."""
    rows: list[Row] = []
    for one in sorted(held_dialogues(source), key=lambda one: (one.content.begins_at, one.id), reverse=True):
        its = one.content
        groups: Cell = terms(sorted(_groups(its))) or Mark((), _("without those concerned"))
        spoke = terms(sorted(its.participants.by_constituency)) if its.participants else ()
        where = (term(its.level), its.area, term(its.phase))
        rows.append((one.id, one.made_by, its.begins_at, *where, spoke, groups))
    return rows


def recommendations(source: ReportSource) -> list[Row]:
    """Joint recommendations by year, level and state."""
    found: Counter[tuple[int, str, str]] = Counter()
    for one in joint_recommendations(source):
        year = one.content.agreed_at.year if one.content.agreed_at else 0
        found[year, one.content.level, one.state] += 1
    places = sorted({key[:2] for key in found}, key=lambda key: (-key[0], LEVELS.index(key[1])))
    rows: list[Row] = []
    for year, level in places:
        counts = [found[year, level, state] for state in JOINT]
        stalled: Cell = Mark(counts[-1], "") if counts[-1] else 0
        rows.append((f"{year}" if year else "", term(level), stalled, *counts[:-1], sum(counts)))
    return rows


def stalled(source: ReportSource) -> list[Row]:
    """Joint recommendations that nobody moves."""
    waiting = [one for one in joint_recommendations(source) if one.state == "stalled"]
    return [
        (one.id, one.content.text, term(one.content.level), one.content.area, one.content.owner,
         one.content.due_at, Share(one.content.per_cent))
        for one in sorted(waiting, key=lambda one: (one.content.due_at or source.at, one.id))
    ]  # fmt: skip


def scorecards(source: ReportSource) -> list[Row]:
    """Each service of an agency in a quarter, the newest first: the mean of what the groups answered."""
    found: dict[tuple[str, str, str], list[Scorecard]] = {}
    for one in source.register.all(Scorecard):
        if one.state == "scored":
            its = one.content
            found.setdefault((its.quarter, its.agency, its.service), []).append(its)
    rows: list[Row] = []
    for (quarter, agency, service), cards in sorted(found.items(), key=lambda item: item[0], reverse=True):
        means = (sum(card.scores[one] for card in cards) / len(cards) for one in QUESTIONS)
        rows.append((agency, term(service), quarter, len(cards), *(round(mean, 1) for mean in means)))
    return rows


def lessons(source: ReportSource) -> list[Row]:
    """The lessons that changed a rule, a budget or a service."""
    rows: list[Row] = []
    for one in _by_id(source.register.all(Lesson)):
        if one.state == "shared":
            its = one.content
            changed = "rule"
            if its.recommendation:
                changed = source.register.find(Recommendation, its.recommendation).content.changes
            if changed != "nothing":
                by = its.protocol or its.recommendation
                rows.append((one.id, its.text, terms(its.causes), term(changed), by))
    return rows


def burden(source: ReportSource) -> list[Row]:
    """What each partner gives; hours are marked where a month went above four fifths of what it offers."""
    attended, given, most = _attended(source), *_hours(source)
    owned = Counter(
        one.content.owner for one in joint_recommendations(source) if one.state in ("assigned", "progressed")
    )
    late = Counter(one.content.owner for one in joint_recommendations(source) if one.state == "stalled")
    rows: list[Row] = []
    for one in _by_id(source.register.all(Partner)):
        if one.state == "admitted":
            offers, gave = one.content.hours_a_month, given[one.id]
            is_above = most[one.id] * 100 > THRESHOLD * offers
            spent: Cell = Mark(gave, _("above what it offers")) if gave and is_above else gave
            stalled: Cell = Mark(late[one.id], "") if late[one.id] else 0
            whose = term(one.content.constituency)
            rows.append((one.id, whose, attended[one.id], spent, offers, owned[one.id], stalled))
    return rows


def acts(source: ReportSource) -> list[Row]:
    """What was counted of public acts in the last two years, the newest month first."""
    since = (source.at - 2 * YEAR).isoformat()[:7]
    newest = sorted(one for one in source.figures if one.month >= since)
    newest.sort(key=lambda one: one.month, reverse=True)
    return [(Month(one.month), term(one.part), terms(one.keys), one.count) for one in newest]


def released(source: ReportSource) -> list[Row]:
    """Every listed cell of the releases that stand, as it is shown for good; the newest month first."""
    return [
        (one.id, Month(one.content.period), term(table.part), terms(cell[:-1]), cell[-1],
         one.content.signed_by)
        for one in standing_releases(source)
        for table in one.content.tables
        for cell in table.cells
    ]  # fmt: skip


def released_counts(source: ReportSource, part: str) -> tuple[Term, ...]:
    """One table of the last release by its first key, summed over the counts that are shown."""
    sums: Counter[str] = Counter()
    for one in standing_releases(source)[:1]:
        for table in one.content.tables:
            for cell in table.cells if table.part == part else ():
                sums[cell[0]] += int(cell[-1]) if cell[-1].isdecimal() else 0
    return tuple(term(code, count) for code, count in sums.most_common() if count)


def standing_releases(source: ReportSource) -> list[GovernanceRecord[JointRelease]]:
    """The published releases of the last twelve months that have one, the newest first, each as corrected."""
    published = [one for one in source.register.all(JointRelease) if one.state == "published"]
    corrected = {one.content.corrects for one in published}
    standing = [one for one in published if one.id not in corrected]
    return sorted(standing, key=lambda one: one.content.period, reverse=True)[:MONTHS_MAX]


def ratio(part: int, whole: int) -> Cell:
    """Per cent, or nothing where there is nothing to divide."""
    return Share(share(part, whole)) if whole else None


def held_dialogues(source: ReportSource) -> list[GovernanceRecord[Dialogue]]:
    """Every dialogue that took place."""
    return [one for one in source.register.all(Dialogue) if one.state == "held"]


def joint_recommendations(source: ReportSource) -> list[GovernanceRecord[Recommendation]]:
    """Every recommendation that two constituencies at least agreed on."""
    return [one for one in source.register.all(Recommendation) if one.state in JOINT]


def _groups(dialogue: Dialogue) -> Iterable[str]:
    return dialogue.participants.by_group if dialogue.participants else ()


def _attended(source: ReportSource) -> Counter[str]:
    """Partner → the meetings of the last year that it sat in."""
    return Counter(
        partner
        for one in source.register.all(Meeting)
        if one.state == "held" and one.content.begins_at >= source.at - YEAR
        for partner in one.content.present
    )


def _hours(source: ReportSource) -> tuple[Counter[str], Counter[str]]:
    """Partner → the hours that it gave in the last year, and in the month in which it gave most."""
    first = (source.at - YEAR).isoformat()[:7]
    given: Counter[str] = Counter()
    by_month: Counter[tuple[str, str]] = Counter()
    for mandate in source.register.all(Mandate):
        for key, count in mandate.content.hours.items():
            partner, _sep, month = key.partition(" ")
            if month >= first:
                given[partner] += count
                by_month[partner, month] += count
    most: Counter[str] = Counter()
    for (partner, _month), count in by_month.items():
        most[partner] = max(most[partner], count)
    return given, most


def _by_id(records: Iterable[GovernanceRecord[Any]]) -> list[GovernanceRecord[Any]]:
    return sorted(records, key=lambda one: one.id)


def _counted(counts: Mapping[str, int]) -> tuple[Term, ...]:
    return tuple(term(one, counts[one]) for one in CONSTITUENCIES if counts.get(one))
