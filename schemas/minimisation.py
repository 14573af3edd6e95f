"""The one filter: what a reader sees of a fact, by the wire rows of the protocol's matrix (`ROWS`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

from schemas.governance import Visibility
from schemas.referral import FactBase

ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "need": ("needs", "urgency"),
    "age": ("age_band", "minor"),
    "access": ("access_needs",),
    "danger": ("immediate_danger", "weapons"),
}
"""Matrix row → the fields that it governs; fields in no row concern the hop, not the person."""

HOP_ONLY: Final = frozenset({
    "to", "number", "appointment", "purpose", "feedback_allowed", "answer_due_at", "suggested_service",
    "service", "duty", "owner", "receiver",
})  # fmt: skip
"""Fields that never reach the statistics topic, whatever the matrix says."""
ADDRESSED_NEVER: Final = frozenset({"awaits", "awaits_desk"})
"""Fields that only the statistics topic carries."""

STATISTICS: Final = "referrals"
"""The matrix column of `referrals.facts` and of auditors."""


@dataclass(frozen=True, slots=True)
class Coarse:
    """One coarse form: how a full value becomes coarse, and every value that can come out."""

    make: Callable[[Any], Any]
    outputs: frozenset[Any]


def _coarse_needs(needs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({"support_at_school" if need == "school_support" else "support" for need in needs}))


COARSE: Final[Mapping[str, Coarse]] = {
    "needs": Coarse(
        _coarse_needs, frozenset({("support",), ("support_at_school",), ("support", "support_at_school")})
    ),
    "urgency": Coarse(
        lambda urgency: "urgent" if urgency in ("critical", "urgent") else "routine",
        frozenset({"urgent", "routine"}),
    ),
    "age_band": Coarse(
        lambda band: "child" if band in ("child", "adolescent") else "adult", frozenset({"child", "adult"})
    ),
    "minor": Coarse(lambda minor: minor, frozenset({True, False})),
    "access_needs": Coarse(lambda needs: ("some",) if needs else (), frozenset({("some",), ()})),
    "immediate_danger": Coarse(lambda danger: danger, frozenset({True, False})),
    "weapons": Coarse(lambda weapons: False, frozenset({False})),
}
"""Field → its coarse form."""

Matrix = Mapping[str, Mapping[str, Visibility]]
F = TypeVar("F", bound=FactBase)


def visible(field: str, value: Any, allowed: Visibility) -> Any:
    """A field's value as a reader with this right sees it; None where it may not see the field.

    "O" (only if consent names the field) is read as "N" until consents name single fields.
    """
    if value is None or allowed in ("O", "N"):
        return None
    return value if allowed == "F" else COARSE[field].make(value)


def minimise(fact: F, reader: str, matrix: Matrix, **address: Any) -> F:
    """The fact as one sector may see it; a row or reader that the matrix does not name sees nothing.

    `address` is set in the same copy: to whom it goes, under which number.
    """
    return _narrowed(fact, reader, matrix, _absent(type(fact), ADDRESSED_NEVER) | address)


def for_statistics(fact: F, matrix: Matrix, **awaited: Any) -> F:
    """The fact as `referrals.facts` carries it: no addressee, nothing of the hop, the statistics column.

    `awaited` is set in the same copy: who must act next.
    """
    return _narrowed(fact, STATISTICS, matrix, _absent(type(fact), HOP_ONLY) | awaited)


def _narrowed(fact: F, reader: str, matrix: Matrix, changes: dict[str, Any]) -> F:
    for row, fields in _governed(type(fact)):
        allowed = matrix.get(row, {}).get(reader, "N")
        for field in fields:
            changes[field] = visible(field, getattr(fact, field), allowed)
    return fact.model_copy(update=changes)


@cache
def _governed(kind: type[FactBase]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    present = kind.model_fields.keys()
    rows = ((row, tuple(field for field in fields if field in present)) for row, fields in ROWS.items())
    return tuple((row, fields) for row, fields in rows if fields)


@cache
def _absent(kind: type[FactBase], names: frozenset[str]) -> dict[str, Any]:
    """Nothing for each of these fields that the kind has and may leave out; never changed, only merged."""
    fields = kind.model_fields
    return {name: None for name in sorted(names) if name in fields and not fields[name].is_required()}
