"""Recommendations of past years from a file: tried as a whole, confirmed by another constituency, then kept.

Each row is played as the acts of the recommendations' own table, at the row's days, with the clock between.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, ValidationError

from schemas.events.dialogue import Cause
from schemas.ids import AgencyId, RecommendationId, derive
from schemas.wire.body import Code, listed, unlisted
from services.governance.domain.life_cycle import (
    CLOCK,
    DECISION,
    NOTHING,
    ActBody,
    ActOutcome,
    ActRow,
    Change,
    Content,
    Cycles,
    GovernanceRecord,
    GovernanceRegister,
    LifeCycle,
    Nothing,
    PartnerAct,
    PartnerActor,
    Scene,
    TooMany,
    TooManyOpen,
    condition,
    drop_row,
    rehearse,
)
from services.governance.domain.partners import Partner, SameConstituency, admitted
from services.governance.domain.recommendations import (
    EVIDENCE,
    RECOMMENDATIONS,
    Assignment,
    Implementation,
    Progress,
    Recommendation,
    RecommendationText,
)
from services.runtime.errors import Refused, define_refusal
from services.runtime.refusals import TableTooLarge
from services.runtime.tables_csv import CsvUnreadable, csv_rows, csv_text

ROWS_MAX: Final = 10_000
LINES_NAMED_MAX: Final = 100
WAITING_MAX: Final = 10
"""How many files wait for somebody to confirm them; a partner has one."""
NOON: Final = time(12, tzinfo=UTC)
"""The hour of an act of which the day alone is known: the same day almost everywhere."""
_CYCLES: Final[Cycles] = {RECOMMENDATIONS.kind: RECOMMENDATIONS}
COLUMNS: Final = (
    "id", "state", "text", "level", "area", "phase", "pillar", "causes", "changes", "agreed_by", "agreed_on",
    "owner", "due_on", "progressed_on", "per_cent", "implemented_on", "evidence", "verified_by",
    "verified_on",
)  # fmt: skip
"""What goes out; the first two may be left out of a file that comes in."""
_ASKED: Final = COLUMNS[2:]
PAIRS: Final = (
    ("owner", "due_on"), ("progressed_on", "per_cent"), ("implemented_on", "evidence"),
    ("verified_by", "verified_on"),
)  # fmt: skip
"""Columns that are filled together or not at all."""

_define: Final = partial(define_refusal, __name__, status=422)

NoTable: Final = _define(
    "no_table",
    f"Write a first line of {','.join(_ASKED)} and a row a line, with as many cells, quoted by RFC 4180.",
)
RowUnpaired: Final = _define(
    "row_unpaired", f"Fill both or none: {'; '.join(' with '.join(pair) for pair in PAIRS)}."
)
DaysUnordered: Final = _define(
    "days_unordered", "Give the days in order: agreed, progressed, implemented, verified; none after today."
)


class RowUnfit(Refused):
    """Cells that no act would take; says in which columns, never what stands there."""

    code = "row_unfit"
    sentence = "correct the cells of these columns"

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__()
        self._columns = columns

    def __str__(self) -> str:
        return f"{super().__str__()}: {', '.join(self._columns)}"


class RowsRefused(Refused):
    """Rows of a file break a rule; `errors` are the first of them, by line."""

    code = "rows_refused"
    sentence = "nothing of the file was taken: correct the lines named in errors, and send it again"
    status = 422

    def __init__(self, rows: int, refused: Sequence[tuple[int, Refused]]) -> None:
        super().__init__()
        self.members = {"rows": rows, "refused": len(refused)}
        first = refused[:LINES_NAMED_MAX]
        self.errors = [{"pointer": f"#/lines/{line}", "detail": str(one)} for line, one in first]


def _day(written: Any) -> Any:
    return date.fromisoformat(written) if re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", written) else None


Day = Annotated[date, BeforeValidator(_day)]
Words: Final = BeforeValidator(lambda written: written.split(";"))


class RecommendationRow(RecommendationText):
    """One row of a file: a recommendation, who agreed on which day, and how far it came."""

    id: RecommendationId | None = None
    state: str | None = Field(
        default=None, pattern="^(agreed|assigned|progressed|implemented|verified|stalled)$"
    )
    """Looked at by people alone: what the days make of it counts."""
    causes: Annotated[tuple[Cause, ...], Words] = Field(min_length=1, max_length=7)
    agreed_by: Annotated[tuple[AgencyId, ...], Words] = Field(min_length=2, max_length=9)
    agreed_on: Day
    owner: AgencyId = ""
    due_on: Day | None = None
    progressed_on: Day | None = None
    per_cent: str = Field(default="", pattern="^[1-9][0-9]?$")
    implemented_on: Day | None = None
    evidence: Annotated[Code, listed(EVIDENCE)] | None = None
    verified_by: AgencyId = ""
    verified_on: Day | None = None

    def acts(self) -> Iterator[tuple[str, str, ActBody, date]]:
        """Each act: its name, whose it is, what it says, and on which day."""
        proposer, *others = self.agreed_by
        said = {name: getattr(self, name) for name in RecommendationText.model_fields}
        yield "propose", proposer, RecommendationText.model_construct(**said), self.agreed_on
        yield from (("agree", one, Nothing(), self.agreed_on) for one in others)
        if self.due_on:
            due_at = datetime.combine(self.due_on, NOON)
            yield "assign", proposer, Assignment(owner=self.owner, due_at=due_at), self.agreed_on
        if self.progressed_on:
            yield "progress", self.owner, Progress(per_cent=int(self.per_cent)), self.progressed_on
        if self.implemented_on:
            yield "implement", self.owner, Implementation(evidence=self.evidence or ""), self.implemented_on
        if self.verified_on:
            yield "verify", self.verified_by, Nothing(), self.verified_on


class RecommendationHistory(Content):
    """A file that waits for another constituency's word, or what became of it."""

    kind: ClassVar[str] = "history"
    hidden: ClassVar[frozenset[str]] = frozenset({"table"})

    rows: int
    states: Mapping[str, int]
    """State → how many recommendations stand there, once the file is confirmed."""
    table: str = ""
    """The file with every formula disarmed, while it waits."""


class RecommendationTable(ActBody):
    """A file in CSV."""

    table: str
    _tried: RecommendationHistory | None = None
    """What came of it when it was tried ahead, so that nobody waits a second time."""


def recommendations_csv(register: GovernanceRegister) -> str:
    """Every recommendation that two constituencies agreed on, by id, as a file that can come in elsewhere."""
    found = (one for one in register.all(Recommendation) if one.content.agreed_at)
    return csv_text(COLUMNS, map(_cells, sorted(found, key=lambda one: one.id)))


@condition(TooManyOpen, TooMany)
def _has_room(scene: Scene, _: None, __: RecommendationTable) -> None:
    waiting = [one for one in scene.register.all(RecommendationHistory) if one.state == "checked"]
    if any(one.made_by == scene.partner for one in waiting):
        raise TooManyOpen
    if len(waiting) >= WAITING_MAX:
        raise TooMany


@condition(SameConstituency)
def _by_another_constituency(scene: Scene, _: RecommendationHistory, __: Nothing) -> None:
    maker = scene.register.find(Partner, scene.record.made_by if scene.record else None)
    if admitted(scene.register, scene.partner).constituency == maker.content.constituency:
        raise SameConstituency


def _check(scene: Scene, _: None, body: RecommendationTable) -> Change:
    """Try every row, all on one register that nobody keeps."""
    if body._tried is None:
        outcomes, table = _tried(scene, body.table, scene.register.copy())
        last = {one.record.id: one.record.state for one in outcomes}
        body._tried = RecommendationHistory(rows=len(last), states=Counter(last.values()), table=table)
    return Change(body._tried)


def _confirm(scene: Scene, content: RecommendationHistory, _: Nothing) -> Change:
    """Try every row again, as partners may have left meanwhile, and keep what comes of it."""
    outcomes, _table = _tried(scene, content.table, scene.register)
    return Change(content.model_copy(update={"table": ""}), done=outcomes)


def _forget(_: Scene, content: RecommendationHistory, __: Nothing) -> Change:
    return Change(content.model_copy(update={"table": ""}))


def _tried(scene: Scene, table: str, register: GovernanceRegister) -> tuple[list[ActOutcome], str]:
    """What the rows come to, and the table as it may be shown; raises RowsRefused after the last row."""
    columns = COLUMNS if table.removeprefix("\ufeff").startswith("id,") else _ASKED
    rows: list[list[str]] = []
    outcomes: list[ActOutcome] = []
    refused: list[tuple[int, Refused]] = []
    try:
        for line, cells in csv_rows(columns, table):
            rows.append(cells)
            if len(rows) > ROWS_MAX:
                raise TableTooLarge
            try:
                outcomes += _played(scene, _row_of(columns, cells), line, register)
            except Refused as one:
                refused.append((line, one))
    except CsvUnreadable as wrong:
        refused.append((wrong.line, NoTable()))
    if not rows and not refused:
        refused.append((2, NoTable()))
    if refused:
        raise RowsRefused(len(rows), refused)
    return outcomes, csv_text(columns, rows)


def _row_of(columns: Sequence[str], cells: Sequence[str]) -> RecommendationRow:
    if len(cells) != len(columns):
        raise NoTable
    filled = {name: cell for name, cell in zip(columns, cells, strict=True) if cell}
    if any((one in filled) != (other in filled) for one, other in PAIRS):
        raise RowUnpaired
    try:
        row = RecommendationRow.model_validate(filled)
    except ValidationError as wrong:
        raise RowUnfit(sorted({str(one["loc"][0]) for one in wrong.errors()})) from None
    if name := unlisted(row):  # a name in a code's place would be read by all
        raise RowUnfit([name])
    return row


def _played(
    scene: Scene, row: RecommendationRow, line: int, register: GovernanceRegister
) -> Iterator[ActOutcome]:
    """The acts of one row at their days, and what the clock would have done between and since."""
    name = row.id or derive("recommendation", hashlib.sha256(f"{scene.act.id}\n{line}".encode()).digest())
    before = date.min
    for act, partner, body, day in row.acts():
        if not before <= day <= scene.at.date():
            raise DaysUnordered
        before, at = day, min(datetime.combine(day, NOON), scene.at)
        yield from _by_clock(scene, name, at, register)
        said = PartnerAct(Recommendation.kind, name, act, PartnerActor(DECISION, partner), body, at)
        yield from rehearse([said], register, _CYCLES, scene.rules)
    yield from _by_clock(scene, name, scene.at, register)


def _by_clock(scene: Scene, name: str, until: datetime, register: GovernanceRegister) -> Iterator[ActOutcome]:
    while record := register.get(Recommendation.kind, name):
        at, act = RECOMMENDATIONS.timer(record) or (datetime.max.replace(tzinfo=UTC), "")
        if at > until:
            return
        said = PartnerAct(Recommendation.kind, name, act, PartnerActor(CLOCK), Nothing(), at)
        yield from rehearse([said], register, _CYCLES, scene.rules)


def _cells(record: GovernanceRecord[Recommendation]) -> Sequence[object]:
    its = record.content
    days = (its.agreed_at, its.due_at, its.progressed_at, its.implemented_at, its.verified_at)
    agreed_on, due_on, progressed_on, implemented_on, verified_on = (day and day.date() for day in days)
    return (
        record.id, record.state, its.text, its.level, its.area, its.phase, its.pillar, ";".join(its.causes),
        its.changes, ";".join(its.agreed_by), agreed_on, its.owner, due_on, progressed_on,
        its.per_cent if progressed_on else None, implemented_on, its.evidence, its.verified_by, verified_on,
    )  # fmt: skip


OF_FILES: Final = (RowsRefused, NoTable, RowUnfit, RowUnpaired, DaysUnordered)
"""What a file is refused for: as a whole, and by line in `errors`, besides what the acts refuse."""
HISTORIES: Final = LifeCycle(
    content=RecommendationHistory,
    plural="histories",
    id_kind="history",
    most=10_000,  # kept for good, each without its table
    waits="checked",
    rows=(
        ActRow(NOTHING, "check", "seat", "checked", RecommendationTable, _check, (_has_room,),
            "Try a file of past recommendations in CSV: nothing is kept of it where a row breaks a rule.",
            refusals=(*OF_FILES, TableTooLarge), is_long=True),
        ActRow("checked", "confirm", "approver", "confirmed", Nothing, _confirm, (_by_another_constituency,),
            "Vouch, for another constituency, that partners agreed on all of it; it comes to be at once.",
            refusals=OF_FILES, is_long=True),
        drop_row("checked", "seat")._replace(make=_forget),
    ),
)  # fmt: skip
