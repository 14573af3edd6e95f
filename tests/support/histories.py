"""Recommendations of past years, invented: one row to be changed, or 184 of five years in every state."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from schemas.events.dialogue import CAUSES, PILLARS
from schemas.events.partnership import LEVELS, PHASES
from services.governance.domain.histories import COLUMNS
from services.governance.domain.recommendations import EVIDENCE
from services.runtime.tables_csv import csv_text

HEADER: Final = COLUMNS[2:]
YEARS: Final = range(2021, 2026)
COUNT: Final = 184
STATES: Final = ("verified", "implemented", "progressed", "assigned", "agreed", "stalled")
PAIRS_OF_PARTNERS: Final = (
    ("river-alliance", "ministry"),
    ("dawn-movement", "un-office"),
    ("un-office", "river-alliance", "open-hand-fund"),
)
A_ROW: Final[Mapping[str, str]] = {
    "text": "Pay for a night shelter in every district.",
    "level": "national",
    "area": "ZZ",
    "phase": "planning",
    "pillar": "services",
    "causes": "lack_of_services;weak_institutions",
    "changes": "budget",
    "agreed_by": "river-alliance;ministry",
    "agreed_on": "2021-03-01",
    "owner": "ministry",
    "due_on": "2022-03-01",
    "progressed_on": "2021-09-01",
    "per_cent": "40",
    "implemented_on": "2022-02-01",
    "evidence": "service_opened",
    "verified_by": "river-alliance",
    "verified_on": "2022-05-01",
}
"""Verified, and every cell filled."""
_FILLED: Final = {
    "agreed": ("agreed_by", "agreed_on"),
    "assigned": ("owner", "due_on"),
    "progressed": ("progressed_on", "per_cent"),
    "implemented": ("implemented_on", "evidence"),
    "verified": ("verified_by", "verified_on"),
}
"""What each further state fills."""


def a_table(*changes: Mapping[str, str], header: tuple[str, ...] = HEADER) -> str:
    """A row for each of these changes of the one above."""
    return csv_text(header, [[{**A_ROW, **one}.get(name, "") for name in header] for one in changes])


def rows_of_years(today: date) -> list[dict[str, str]]:
    """184 rows, with the state in which each stands by now: past due and unmoved is stalled."""
    return [_row(number, today) for number in range(COUNT)]


def _row(number: int, today: date) -> dict[str, str]:
    state = STATES[number % len(STATES)]
    agreed = date(YEARS[number % len(YEARS)], 1 + number % 12, 1 + number % 28)
    partners = PAIRS_OF_PARTNERS[number % len(PAIRS_OF_PARTNERS)]
    reached = "assigned" if state == "stalled" else state
    due = agreed + timedelta(days=40) if state == "stalled" else today + timedelta(days=30)
    due = min(due, agreed + timedelta(days=5 * 366))
    filled = {
        "agreed": (";".join(partners), agreed.isoformat()),
        "assigned": (partners[0], due.isoformat()),
        "progressed": ((agreed + timedelta(days=60)).isoformat(), str(1 + number % 99)),
        "implemented": ((agreed + timedelta(days=90)).isoformat(), EVIDENCE[number % len(EVIDENCE)]),
        "verified": (partners[1], (agreed + timedelta(days=120)).isoformat()),
    }
    steps = list(_FILLED)[: list(_FILLED).index(reached) + 1]
    row = dict.fromkeys(HEADER, "") | {
        "text": f"Let services answer survivors sooner, as agreed under item {number}.",
        "level": LEVELS[number % len(LEVELS)],
        "area": ("ZZ", "ZZ01", "ZZ0103")[number % 3],
        "phase": PHASES[number % len(PHASES)],
        "pillar": PILLARS[number % len(PILLARS)],
        "causes": ";".join(CAUSES[: 1 + number % 3]),
        "changes": ("rule", "budget", "service", "nothing")[number % 4],
    }
    for step in steps:
        row |= dict(zip(_FILLED[step], filled[step], strict=True))
    return row | {"state": "stalled" if due < today and reached in ("assigned", "progressed") else state}
