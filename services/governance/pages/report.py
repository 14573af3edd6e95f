"""What the partnership shows of itself: tables and boxes of public acts and of released figures alone."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.events.dialogue import GROUPS
from schemas.events.partnership import CONSTITUENCIES, LEVELS, PHASES
from services.governance.domain.composition import Committee, seats_by_constituency, share
from services.governance.domain.decisions import Decision
from services.governance.domain.dialogues import Dialogue
from services.governance.domain.life_cycle import GovernanceRecord, GovernanceRegister
from services.governance.domain.mandates import THRESHOLD, Mandate, live_mandates
from services.governance.domain.meetings import Meeting
from services.governance.domain.partners import STANDING, Partner
from services.governance.domain.recommendations import Recommendation
from services.governance.pages.terms import term, terms
from services.runtime.pages.languages import message as _
from services.runtime.pages.tables import Cell, Mark, PageTable, Row, Share, TableRows, Term

YEAR: Final = timedelta(days=365)
JOINT: Final = ("agreed", "assigned", "progressed", "implemented", "verified", "stalled")
"""The states of a recommendation that at least two constituencies agreed on."""
TAKEN: Final = ("adopted", "rejected", "routed_up")
"""What can become of an item that a committee takes up."""


@dataclass(frozen=True, slots=True)
class ReportSource:
    """What a report is made of."""

    register: GovernanceRegister
    at: datetime


@dataclass(frozen=True, slots=True)
class PrincipleBox:
    """One guiding principle, what is measured of it, how it stands, and where that comes from."""

    title: str
    measure: str
    cell: Cell
    source: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows, in no language yet."""

    at: datetime
    boxes: Sequence[PrincipleBox]
    tables: Mapping[str, TableRows]


def report(source: ReportSource) -> Report:
    """Make the whole report; the same acts give the same one."""
    made = {one.id: TableRows(one, one.rows(source)) for one in TABLES}
    return Report(source.at, _boxes(source), made)


def _committees(source: ReportSource) -> list[Row]:
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


def _mandates(source: ReportSource) -> list[Row]:
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


def _decisions(source: ReportSource) -> list[Row]:
    found: Counter[tuple[str, str]] = Counter()
    for one in source.register.all(Decision):
        if one.state in TAKEN:
            found[source.register.find(Committee, one.content.committee).content.level, one.state] += 1
    decided = {level: found[level, "adopted"] + found[level, "rejected"] for level in LEVELS}
    total = sum(decided.values())
    return [
        (term(level), *(found[level, state] for state in TAKEN), _share(decided[level], total))
        for level in LEVELS
        if total or any(found.values())
    ]


def _influence(source: ReportSource) -> list[Row]:
    tabled: Counter[str] = Counter()
    adopted: Counter[str] = Counter()
    for one in source.register.all(Decision):
        whose = one.content.constituency
        tabled[whose] += one.content.routed_from is None  # what was passed up was tabled once
        adopted[whose] += one.state == "adopted"
    return [
        (term(one), tabled[one], adopted[one], _share(adopted[one], tabled[one]))
        for one in CONSTITUENCIES
        if tabled.total()
    ]


def _phases(source: ReportSource) -> list[Row]:
    """Each phase with its dialogues, decisions and recommendations; an empty one is a gap."""
    held = [one.content for one in _held(source)]
    joint = Counter(one.content.phase for one in _joint(source))
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


def _dialogues(source: ReportSource) -> list[Row]:
    rows: list[Row] = []
    for one in sorted(_held(source), key=lambda one: (one.content.begins_at, one.id), reverse=True):
        its = one.content
        groups: Cell = terms(sorted(_groups(its))) or Mark((), _("without those concerned"))
        spoke = terms(sorted(its.participants.by_constituency)) if its.participants else ()
        where = (term(its.level), its.area, term(its.phase))
        rows.append((one.id, one.made_by, its.begins_at, *where, spoke, groups))
    return rows


def _recommendations(source: ReportSource) -> list[Row]:
    found: Counter[tuple[int, str, str]] = Counter()
    for one in _joint(source):
        year = one.content.agreed_at.year if one.content.agreed_at else 0
        found[year, one.content.level, one.state] += 1
    places = sorted({key[:2] for key in found}, key=lambda key: (-key[0], LEVELS.index(key[1])))
    rows: list[Row] = []
    for year, level in places:
        counts = [found[year, level, state] for state in JOINT]
        stalled: Cell = Mark(counts[-1], "") if counts[-1] else 0
        rows.append((f"{year}" if year else "", term(level), stalled, *counts[:-1], sum(counts)))
    return rows


def _stalled(source: ReportSource) -> list[Row]:
    waiting = [one for one in _joint(source) if one.state == "stalled"]
    return [
        (one.id, one.content.text, term(one.content.level), one.content.area, one.content.owner,
         one.content.due_at, Share(one.content.per_cent))
        for one in sorted(waiting, key=lambda one: (one.content.due_at or source.at, one.id))
    ]  # fmt: skip


def _burden(source: ReportSource) -> list[Row]:
    """What each partner gives; hours are marked where a month went above four fifths of what it offers."""
    since = source.at - YEAR
    attended = Counter(
        partner
        for one in source.register.all(Meeting)
        if one.state == "held" and one.content.begins_at >= since
        for partner in one.content.present
    )
    hours: Counter[tuple[str, str]] = Counter()
    for mandate in source.register.all(Mandate):
        for key, count in mandate.content.hours.items():
            partner, _sep, month = key.partition(" ")
            if month >= since.isoformat()[:7]:
                hours[partner, month] += count
    owned = Counter(one.content.owner for one in _joint(source) if one.state in ("assigned", "progressed"))
    late = Counter(one.content.owner for one in _joint(source) if one.state == "stalled")
    given: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for (partner, _month), count in hours.items():
        given[partner] += count
        most[partner] = max(most[partner], count)
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


def _boxes(source: ReportSource) -> list[PrincipleBox]:
    joint = _joint(source)
    changing = sum(one.content.changes != "nothing" for one in joint)
    return [
        PrincipleBox(
            _("Survivor-centred"), _("Withdrawals sealed within a day"), None,
            _("No release says it yet."),
        ),
        PrincipleBox(
            _("Do no harm"), _("Looks at a person’s data that nothing explains"), None,
            _("Nothing measures this yet."),
        ),
        PrincipleBox(
            _("Leave no one behind"), _("Needs that nobody met, by what it takes to reach a service"), None,
            _("No release says it yet."),
        ),
        PrincipleBox(
            _("Transformative"), _("Joint recommendations that change a rule, a budget or a service"),
            _share(changing, len(joint)),
            _("From the partners’ acts.") if joint else _("Nothing was agreed yet."),
        ),
    ]  # fmt: skip


TABLES: Final[tuple[PageTable[ReportSource], ...]] = (
    PageTable(
        "committees", _("Committees"),
        _("Who sits where, for whom; and which seats stand empty."),
        {
            "committee": _("Committee"), "type": _("Type"), "level": _("Level"), "area": _("Area"),
            "state": _("State"), "seats": _("Seats held"), "empty": _("Seats empty"),
            "civil_share": _("Civil society and women’s movements"),
        },
        _committees, _("No committee was constituted yet."),
    ),
    PageTable(
        "mandates", _("Mandates"),
        _("What each committee may decide, until when. An expired one blocks new decisions, no referral."),
        {
            "mandate": _("Mandate"), "committee": _("Committee"), "subjects": _("Subjects"),
            "area": _("Area"), "until": _("Until"), "state": _("State"), "blocked": _("Blocked now"),
        },
        _mandates, _("No mandate was given yet."),
    ),
    PageTable(
        "decisions", _("Decisions by level"),
        _("Where decisions are taken; what lies above a mandate is passed up."),
        {
            "level": _("Level"), "adopted": _("Adopted"), "rejected": _("Rejected"),
            "routed_up": _("Passed up"), "share": _("Share of decisions"),
        },
        _decisions, _("Nothing was decided yet."),
    ),
    PageTable(
        "influence", _("Influence"),
        _("Whose proposals pass: what each constituency put before a committee, and what was adopted of it."),
        {
            "constituency": _("Speaks for"), "tabled": _("Proposals"), "adopted": _("Adopted"),
            "ratio": _("Influence ratio"),
        },
        _influence, _("Nobody put anything before a committee yet."),
    ),
    PageTable(
        "phases", _("Phases of the cycle"),
        _("In which phase partners spoke, decided or agreed, and in how many dialogues a group was heard."),
        {
            "phase": _("Phase"), "dialogues": _("Dialogues"), "decisions": _("Decisions"),
            "recommendations": _("Recommendations"), "unheard": _("Dialogues without those concerned"),
            **{one.code: one.text for one in terms(GROUPS)},
        },
        _phases, "",
    ),
    PageTable(
        "dialogues", _("Dialogues"),
        _("The newest first: who called it, who spoke, and which groups facing discrimination were heard."),
        {
            "dialogue": _("Dialogue"), "convenor": _("Convenor"), "on": _("Day"), "level": _("Level"),
            "area": _("Area"), "phase": _("Phase"), "constituencies": _("Who spoke"),
            "groups": _("Groups heard"),
        },
        _dialogues, _("No dialogue was held yet."),
    ),
    PageTable(
        "stalled", _("Stalled recommendations"),
        _("Past due, and nothing moved for a month; the longest due first."),
        {
            "recommendation": _("Recommendation"), "text": _("Text"), "level": _("Level"),
            "area": _("Area"), "owner": _("Owner"), "due_on": _("Due"), "progress": _("Progress"),
        },
        _stalled, _("Nothing is stalled."),
    ),
    PageTable(
        "recommendations", _("Recommendations by year and level"),
        _("What at least two constituencies agreed on, by the year of the agreement, and how far it is."),
        {
            "year": _("Year"), "level": _("Level"), "stalled": _("Stalled"), "agreed": _("Agreed"),
            "assigned": _("Assigned"), "progressed": _("Under way"), "implemented": _("Implemented"),
            "verified": _("Verified"), "all": _("All"),
        },
        _recommendations, _("Nothing was agreed yet."),
    ),
    PageTable(
        "burden", _("Burden per partner"),
        _("What the last twelve months asked of each partner, beside the time that it offers."),
        {
            "partner": _("Partner"), "constituency": _("Speaks for"), "meetings": _("Meetings attended"),
            "hours": _("Hours given"), "hours_offered": _("Hours offered a month"),
            "owned": _("Recommendations in hand"), "stalled": _("Stalled"),
        },
        _burden, _("No partner takes part yet."),
    ),
)  # fmt: skip
"""Every table of the page, in its order."""


def _by_id(records: Iterable[GovernanceRecord[Any]]) -> list[GovernanceRecord[Any]]:
    return sorted(records, key=lambda one: one.id)


def _counted(counts: Mapping[str, int]) -> tuple[Term, ...]:
    return tuple(term(one, counts[one]) for one in CONSTITUENCIES if counts.get(one))


def _share(part: int, whole: int) -> Cell:
    return Share(share(part, whole)) if whole else None


def _held(source: ReportSource) -> list[GovernanceRecord[Dialogue]]:
    return [one for one in source.register.all(Dialogue) if one.state == "held"]


def _joint(source: ReportSource) -> list[GovernanceRecord[Recommendation]]:
    return [one for one in source.register.all(Recommendation) if one.state in JOINT]


def _groups(dialogue: Dialogue) -> Iterable[str]:
    return dialogue.participants.by_group if dialogue.participants else ()
