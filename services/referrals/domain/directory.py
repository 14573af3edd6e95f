"""A batch of directory entries as the operator's command sends it: what can be taken, what not and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from schemas.events.directory import ServiceRegistered
from schemas.wire.body import UNKNOWN_CODE, unlisted
from schemas.wire.strict_json import shows_itself

ENTRIES_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that is not taken: its place in what was sent, the field at fault, a code; never the value."""

    row: int
    field: str
    code: str


def judge_entries(sent: Sequence[Any]) -> tuple[list[ServiceRegistered], list[RefusedEntry]]:
    """Each entry either read or refused; the first of several for one service counts."""
    taken: dict[str, ServiceRegistered] = {}
    refused: list[RefusedEntry] = []
    for row, content in enumerate(sent, start=1):
        entry = _read_entry(row, content)
        if isinstance(entry, RefusedEntry):
            refused.append(entry)
        elif entry.service in taken:
            refused.append(RefusedEntry(row, "service", "repeated"))
        else:
            taken[entry.service] = entry
    return list(taken.values()), refused


def _read_entry(row: int, content: Any) -> ServiceRegistered | RefusedEntry:
    """One entry, or the first thing that is wrong with it."""
    try:
        entry = ServiceRegistered.model_validate(content)
    except ValidationError as error:
        place = error.errors(include_url=False, include_input=False)[0]["loc"]
        return RefusedEntry(row, str(place[0]) if place else "entry", "invalid")
    for field in ("title", "organization_title"):
        if not shows_itself(getattr(entry, field)):
            return RefusedEntry(row, field, "hidden_character")
    if not entry.needs:
        return RefusedEntry(row, "needs", "no_known_need")
    if wrong := unlisted(entry):
        return RefusedEntry(row, wrong, UNKNOWN_CODE)
    return entry
