"""Every table of the pages: what it is called, what its columns are, and what makes its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from services.operations.console import rows
from services.operations.console.figures import LettersFigures
from services.operations.console.rows import Reading
from services.operations.domain.streams import PartsStanding, StreamsStanding
from services.runtime.pages.languages import message as _
from services.runtime.pages.tables import PageTable, TableRows

NO_MATCH: Final = _("Nothing matches; clear the filters to see all.")
HOURS_TABLE: Final[PageTable[Reading[StreamsStanding]]] = PageTable(
    "hours", _("Lag by the hour"),
    _("What the drawings show: the longest lag of each hour, by the clocks of Greenwich; the newest first."),
    {"reader": _("Reader"), "topic": _("Topic")},
    rows.hours, _("Nothing was looked at yet."),
)  # fmt: skip
STREAM_TABLES: Final[Sequence[PageTable[Reading[StreamsStanding]]]] = (
    PageTable(
        "readers", _("Readers"),
        _("Each reader of each topic, the worst first, and the rule that judged it."),
        {
            "reader": _("Reader"), "topic": _("Topic"), "verdict": _("Verdict"), "why": _("Why"),
            "lag_seconds": _("Lag"), "lag_messages": _("Messages behind"), "trend": _("Lag of 24 hours"),
            "commit_age_seconds": _("Last progress"), "members": _("Processes"),
        },
        rows.readers, _("No reader was looked at yet."),
    ),
    PageTable(
        "probe", _("Probe"),
        _("Referrals between probe agencies, through every step and inbox; pairs that fail come first."),
        {
            "owner": _("From"), "receiver": _("To"), "state": _("State"), "seconds": _("Last round"),
            "succeeded_at": _("Last success"), "failing_since": _("Failing since"),
        },
        rows.probe, _("No probe was seen yet; one crosses every step and inbox each minute."),
    ),
    PageTable(
        "outboxes", _("Outboxes"), _("What was decided and is not at the brokers yet."),
        {"service": _("Service"), "pending": _("Events waiting"), "oldest_seconds": _("Oldest")},
        rows.outboxes, _("No outbox was looked at yet."),
    ),
    PageTable(
        "rates", _("Rates"), _("What is written to each topic, of the last minutes."),
        {"topic": _("Topic"), "per_minute": _("Events a minute")},
        rows.rates, _("No topic was looked at yet."),
    ),
    HOURS_TABLE,
)  # fmt: skip
PART_TABLES: Final[Sequence[PageTable[Reading[PartsStanding]]]] = (
    PageTable(
        "parts", _("Processes"), _("Those that something is the matter with come first."),
        {
            "part": _("Part"), "state": _("State"), "answered_at": _("Last answer"),
            "version": _("Version"), "started_at": _("Started"),
            "restarts": _("Restarts"), "certificate_ends_at": _("Certificate ends"),
            "alarms": _("Alarms"),
        },
        rows.parts, _("No part was looked at yet."),
    ),
    PageTable(
        "alarms", _("Alarms"), _("Every rule that fires now, the oldest first, and what to do."),
        {
            "part": _("Part"), "rule": _("Rule"), "where": _("Where"), "since": _("Since"),
            "means": _("What it means"),
        },
        rows.alarms, _("No rule fires."),
    ),
)  # fmt: skip
LETTER_TABLES: Final[Sequence[PageTable[Reading[LettersFigures]]]] = (
    PageTable(
        "letters", _("Waiting letters"),
        _("Records that a reader could not use, by kind. A code leads to what can be done about its kind."),
        {
            "code": _("Code"), "service": _("Reader"), "topic": _("Topic"), "type": _("Type"),
            "count": _("Letters"), "since": _("Since"), "oldest": _("Oldest"),
        },
        rows.letters, NO_MATCH,
    ),
)  # fmt: skip


def made(
    tables: Sequence[PageTable[Any]], source: Reading[Any], *, is_filtered: bool = False
) -> Mapping[str, TableRows]:
    """The tables of a page, by id; where a filter leaves nothing, they say so."""
    found = {}
    for table in tables:
        if table is HOURS_TABLE:
            labels = {f"{hour:%Y-%m-%dT%HZ}": f"{hour:%H:00}" for hour in rows.hours_of(source.figures)}
            table = replace(table, columns={**table.columns, **labels})
        if is_filtered:
            table = replace(table, empty=NO_MATCH)
        found[table.id] = TableRows(table, table.rows(source))
    return found
