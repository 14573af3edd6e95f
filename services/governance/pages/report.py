"""What the partnership shows of itself: tables and boxes of public acts and of released figures alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.governance.pages.rows import (
    ReportSource,
    joint_recommendations,
    ratio,
    released_counts,
    standing_releases,
)
from services.governance.pages.tables import TABLES
from services.runtime.pages.languages import message as _
from services.runtime.pages.tables import Cell, Month, TableRows


@dataclass(frozen=True, slots=True)
class PrincipleBox:
    """One guiding principle, what is measured of it, how it stands, and where that comes from."""

    title: str
    measure: str
    cell: Cell
    source: str
    month: Month | None = None
    """Of which month it is."""


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


def _boxes(source: ReportSource) -> list[PrincipleBox]:
    joint = joint_recommendations(source)
    changing = sum(one.content.changes != "nothing" for one in joint)
    return [
        _released(source, "withdrawals", _("Survivor-centred"), _("Withdrawals sealed within a day")),
        PrincipleBox(
            _("Do no harm"), _("Looks at a person’s data that nothing explains"), None,
            _("Nothing measures this yet."),
        ),
        _released(
            source, "unmet_by_access_need", _("Leave no one behind"),
            _("Needs that nobody met, by what it takes to reach a service"),
        ),
        PrincipleBox(
            _("Transformative"), _("Joint recommendations that change a rule, a budget or a service"),
            ratio(changing, len(joint)),
            _("From the partners’ acts.") if joint else _("Nothing was agreed yet."),
        ),
    ]  # fmt: skip


def _released(source: ReportSource, part: str, title: str, measure: str) -> PrincipleBox:
    """What the last release shows; where all is hidden, that it is too little to be shown."""
    releases = standing_releases(source)
    if not releases:
        return PrincipleBox(title, measure, None, _("No release says it yet."))
    month = Month(releases[0].content.period)
    if counts := released_counts(source, part):
        said = _("From the last release; hidden counts are left out.")
        return PrincipleBox(title, measure, counts, said, month)
    return PrincipleBox(title, measure, None, _("Too few to be shown."), month)
