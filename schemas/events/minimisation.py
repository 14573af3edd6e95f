"""The one filter: what a reader sees of a fact, by the wire rows of the protocol's matrix (`ROWS`)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

from schemas.events.governance import Visibility
from schemas.events.referral import FACTS, FactBase

ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "need": ("needs", "urgency"),
    "age": ("age_band", "minor"),
    "access": ("access_needs",),
    "danger": ("immediate_danger", "weapons"),
}
"""Matrix row → the fields that it governs."""


@dataclass(frozen=True, slots=True)
class OpenFields:
    """The fields of a fact that no row governs: for every reader, and for the parties of the hop alone."""

    everybody: tuple[str, ...] = ()
    parties: tuple[str, ...] = ()


IN_EACH: Final = OpenFields(everybody=("referral", "state", "protocol"), parties=("to", "number"))
"""The open fields that each fact has."""
STATISTICS_ONLY: Final = ("awaits", "awaits_desk")
OPEN: Final[Mapping[str, OpenFields]] = {
    "referral.offered": OpenFields(
        ("area",), ("owner", "receiver", "service", "purpose", "feedback_allowed", "answer_due_at")
    ),
    "referral.acknowledged": OpenFields(parties=("duty",)),
    "referral.accepted": OpenFields(parties=("appointment",)),
    "referral.declined": OpenFields(("reason",), ("suggested_service",)),
    "referral.started": OpenFields(),
    "referral.provided": OpenFields(("outcome",)),
    "referral.feedback_given": OpenFields(("outcome",)),
    "referral.closed": OpenFields(("reason",)),
    "referral.cancelled": OpenFields(("reason",)),
    "referral.withdrawn": OpenFields(("stop_contact", "seal_by_at")),
    "referral.seal_confirmed": OpenFields(("method",)),
    "referral.sealed": OpenFields(),
    "referral.expired": OpenFields(("timer",)),
    "referral.reminded": OpenFields(("timer",)),
    "referral.step_refused": OpenFields(("step", "asked", "code")),
}
"""Fact → what concerns the hop, not the person. What stands neither here nor in a row is dropped."""

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
    if value is None or allowed not in ("F", "C"):
        return None
    return value if allowed == "F" else COARSE[field].make(value)


def minimise(fact: F, reader: str, matrix: Matrix, **address: Any) -> F:
    """The fact as one sector may see it; a row or reader that the matrix does not name sees nothing.

    `address` is set in the same copy: to whom it goes, under which number.
    """
    return _narrowed(fact, reader, matrix, _dropped(type(fact), is_party=True) | address)


def for_statistics(fact: F, matrix: Matrix, **awaited: Any) -> F:
    """The fact as `referrals.facts` carries it: no addressee, nothing of the hop, the statistics column.

    `awaited` is set in the same copy: who must act next.
    """
    return _narrowed(fact, STATISTICS, matrix, _dropped(type(fact), is_party=False) | awaited)


def unnamed(kinds: Iterable[type[FactBase]]) -> Iterator[str]:
    """The facts that no table names, and the fields of the others that none does."""
    elsewhere = {*STATISTICS_ONLY, *(field for fields in ROWS.values() for field in fields)}
    for kind in kinds:
        fields = kind.model_fields.keys() - elsewhere - _open(kind.type, is_party=True)
        yield from (f"{kind.type}.{field}" for field in sorted(fields)) if kind.type in OPEN else (kind.type,)


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
def _dropped(kind: type[FactBase], *, is_party: bool) -> dict[str, None]:
    """Nothing for each field that is not open to this reader; never changed, only merged."""
    return dict.fromkeys(kind.model_fields.keys() - _open(kind.type, is_party=is_party))


def _open(kind: str, *, is_party: bool) -> set[str]:
    rows = (IN_EACH, OPEN.get(kind, OpenFields()))
    return {name for row in rows for name in (*row.everybody, *(row.parties if is_party else ()))}


if missing := list(unnamed(FACTS.values())):
    # Before any process of ours could send one.
    raise RuntimeError(f"nobody decided yet who may see {', '.join(missing)}")
