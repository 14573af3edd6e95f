"""What the partners of a run decided, or could not: the evidence, and the checks that stand on it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.topics import SECTORS

WITHOUT_CIVIL: Final = ("civil_share_below", "constituency_missing", "quorum_without_constituency")
"""How governance refuses what civil society has no seat in."""
NOT_SIGNED: Final = "signed_once"
READERS: Final = (*SECTORS, "referrals")
"""Who acts by a protocol."""
_NAMED_BY: Final = (
    "release", "lesson", "recommendation", "dialogue", "decision", "meeting", "mandate", "committee",
    "partner", "agency",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UndecidedVersion:
    """A version of a protocol that was to be adopted without civil society."""

    code: str | None
    """Why no decision was taken."""
    state: str
    """What became of the version."""


@dataclass(frozen=True, slots=True)
class HalfSigned:
    """A version with one signature, as one reader met it."""

    version: int
    reason: str | None
    """Why it was set aside."""
    kept: int
    """The version that is in force there."""


@dataclass(frozen=True, slots=True)
class KeptAct:
    """An act as governance keeps it, and the facts that it says it told."""

    kind: str
    id: str
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToldDecision:
    """A fact of governance, and what it is about."""

    type: str
    id: str


def about(kind: str, fact: Mapping[str, Any]) -> ToldDecision:
    """A fact from the topic, by what it names first: a decision names its committee too."""
    if "protocol" in fact and "lesson" not in fact:
        return ToldDecision(kind, f"{fact['protocol']}.{fact['version']}")
    return ToldDecision(kind, str(next(fact[name] for name in _NAMED_BY if name in fact)))


def lines_of_partners(
    told_decisions: Sequence[ToldDecision],
    undecided: Mapping[str, UndecidedVersion],
    half_signed: Mapping[str, HalfSigned],
) -> list[str]:
    """What the partners did, in lines to be read aloud."""
    once = {(fact.type, fact.id) for fact in told_decisions}  # a committee that was filled is told again
    times = Counter(kind.removeprefix("governance.") for kind, _ in once)
    [(name, tried)] = undecided.items()
    refusing = sum(one.reason == NOT_SIGNED for one in half_signed.values())
    return [
        f"{times['partner_admitted']} partners take part: by the founding act, or two of them agreed.",
        f"They met {times['meeting_held']} times, in {times['committee_constituted']} committees under "
        f"{times['mandate_given']} mandates, and took {times['decision_taken']} decisions.",
        "A shelter tabled the protocol, its district's mechanism adopted it, two of three holders signed it.",
        f"Then civil society lost a seat, and {name} was not adopted: {tried.code}. It was filled again.",
        f"With one signature it was refused by {refusing} of {len(half_signed)} readers: {NOT_SIGNED}.",
    ]


def nothing_without_civil_society(undecided: Mapping[str, UndecidedVersion]) -> list[str]:
    """While a seat of civil society stands empty, the next version of the protocol is not adopted."""
    return [
        f"protocol {name} is {each.state}, its decision was answered {each.code}"
        for name, each in undecided.items()
        if each.code not in WITHOUT_CIVIL or each.state != "draft"
    ]


def one_signature_is_refused(half_signed: Mapping[str, HalfSigned]) -> list[str]:
    """The arbiter and every sector set aside what one holder signed, and go on with what is in force."""
    met = {reader: half_signed.get(reader, HalfSigned(0, None, 0)) for reader in READERS}
    return [
        f"{reader} answered version {one.version} with {one.reason}, and goes by version {one.kept}"
        for reader, one in met.items()
        if one.reason != NOT_SIGNED or not 0 < one.kept < one.version
    ]


def facts_are_of_acts(kept_acts: Sequence[KeptAct], told_decisions: Sequence[ToldDecision]) -> list[str]:
    """What governance tells is what its acts did: each fact of each act once, and no other."""
    done = Counter(ToldDecision(fact, act.id) for act in kept_acts for fact in act.facts)
    told = Counter(told_decisions)
    return [
        f"{one.type} of {one.id} was told {told[one]} times, and happened {done[one]} times"
        for one in sorted(done.keys() | told.keys(), key=lambda one: (one.type, one.id))
        if told[one] != done[one]
    ]


PARTNER_CHECKS: Final[tuple[tuple[str, Callable[..., list[str]]], ...]] = (
    ("nothing is decided without civil society", nothing_without_civil_society),
    ("one signature puts nothing in force", one_signature_is_refused),
    ("governance tells what partners did", facts_are_of_acts),
)
