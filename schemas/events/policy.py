"""Which fields may be pulled: a protocol's rows as a finite table, and the decision over it.

The owner's service and its vault run the same code.

Whether she consents, whether the referral's state allows a pull, whether both agencies are active: that is
checked beside this, each where its truth lies.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any, Final, NamedTuple

from schemas.events.consent import PURPOSES
from schemas.events.governance import BASES, ProtocolDocument
from schemas.events.packet import FIELD_ROWS, GROUPS, OWN_CASE, show_group
from schemas.wire.minimisation import STATISTICS, allowed_to

BREAK_GLASS_GROUPS: Final = frozenset({"contact", "protection"})


class PullKey(NamedTuple):
    """One combination of the table."""

    recipient: str
    group: str
    purpose: str
    basis: str


class PullFacts(NamedTuple):
    """What is asked: groups for agencies of a sector, for a purpose, on a basis."""

    recipient: str
    groups: tuple[str, ...]
    purpose: str
    basis: str


class PullDecision(NamedTuple):
    """Every group asked for with its fields, or a code and nothing."""

    allowed: bool
    code: str
    """`allowed`; else `group_not_shared` with this sector on this basis, `purpose_not_shared` (the group is,
    but not for this), `nothing_asked`, or `unknown_code`, of which the protocol knows nothing."""
    fields: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class PullTable:
    """Every combination: its fields, or the code with which it is denied."""

    cells: Mapping[tuple[str, str, str, str], frozenset[str] | str]
    """By recipient, group, purpose and basis, in the order of `PullKey`."""


def compile_pulls(document: ProtocolDocument) -> PullTable:
    """Write out every combination of a protocol, those that are denied too."""
    readers = {reader for cells in document.matrix.values() for reader in cells} - {STATISTICS}
    recipients = readers | {row.recipient for row in document.pulls}
    fields: dict[PullKey, frozenset[str]] = {}
    for row in document.pulls:
        seen = frozenset(row.fields) & visible(row.recipient, row.group, row.basis, document)
        for purpose in row.purposes:
            key = PullKey(row.recipient, row.group, purpose, row.basis)
            fields[key] = fields.get(key, frozenset()) | seen
    shared = {(key.recipient, key.group, key.basis) for key, found in fields.items() if found}
    cells: dict[tuple[str, str, str, str], frozenset[str] | str] = {}
    for key in map(PullKey._make, product(sorted(recipients), GROUPS, PURPOSES, BASES)):
        is_shared = (key.recipient, key.group, key.basis) in shared
        cells[key] = fields.get(key) or ("purpose_not_shared" if is_shared else "group_not_shared")
    return PullTable(cells)


def visible(recipient: str, group: str, basis: str, document: ProtocolDocument) -> frozenset[str]:
    """The fields that a row may name at all: those the matrix does not hide, or all in an own case."""
    if basis == "break_glass" and group not in BREAK_GLASS_GROUPS:
        return frozenset()
    rows = FIELD_ROWS[group]
    return frozenset(
        field
        for field, row in rows.items()
        if basis == "own_case" or allowed_to(row.name, recipient, document.matrix) != "N"
    )


def decide(facts: PullFacts, table: PullTable) -> PullDecision:
    """Allow all groups that are asked for, or none; pure, and a combination that is not there is denied."""
    recipient, groups, purpose, basis = facts
    fields: dict[str, frozenset[str]] = {}
    for group in groups:
        try:
            cell = table.cells[recipient, group, purpose, basis]
        except KeyError:
            return PullDecision(False, "unknown_code", {})
        if isinstance(cell, str):
            return PullDecision(False, cell, {})
        fields[group] = cell
    return PullDecision(True, "allowed", fields) if fields else PullDecision(False, "nothing_asked", {})


def show_packet(
    facts: PullFacts,
    decision: PullDecision,
    contents: Mapping[str, Mapping[str, Any]],
    named_fields: Collection[str],
    document: ProtocolDocument,
    *,
    at: datetime,
) -> dict[str, dict[str, Any]]:
    """What a decision lets out of the groups' contents, by the one filter; nothing where it denies.

    Imminent danger stands in for the fields that her consent would have to name; an own case is seen whole.
    """
    reader = OWN_CASE if facts.basis == "own_case" else facts.recipient
    return {
        group: show_group(
            group,
            contents[group],
            reader,
            document.matrix,
            {f"{group}.{field}" for field in fields} if facts.basis == "break_glass" else named_fields,
            fields=fields,
            at=at,
        )
        for group, fields in decision.fields.items()
    }
