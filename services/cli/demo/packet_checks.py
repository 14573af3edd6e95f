"""The checks of packets: who opened what, when, and under which entry of the trail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

ACCEPTED, TOO_EARLY, STRANGER, NOT_AGREED, NOT_SHARED, RACED, WITHDRAWN = (
    "after the acceptance", "before the acceptance", "of a stranger", "of what she did not agree to",
    "of what the protocol does not share", "beside the withdrawal", "after the withdrawal",
)  # fmt: skip
EXPECTED: Final[Mapping[str, frozenset[str | None]]] = {
    ACCEPTED: frozenset({None}),
    TOO_EARLY: frozenset({"not_found"}),
    STRANGER: frozenset({"not_found"}),
    NOT_AGREED: frozenset({"consent_does_not_cover"}),
    NOT_SHARED: frozenset({"group_not_shared"}),
    RACED: frozenset({None, "not_found", "ground_changed"}),
    WITHDRAWN: frozenset({"not_found"}),
}
"""When a pull is asked → the codes that may refuse it, None where it opens."""


@dataclass(frozen=True, slots=True)
class TriedPull:
    """One pull as the agency's own system saw it: when it was asked, and what came of it."""

    referral: str
    agency: str
    sector: str
    groups: tuple[str, ...]
    moment: str
    """One of `EXPECTED`: what stood in its way, if anything."""
    asked_at: float
    code: str | None = None
    """Why it was refused."""
    entry: int | None = None
    """The entry of the trail that its permit names."""
    fields: tuple[str, ...] = ()
    """What the agency opened, as `group.field`."""


def pulls_answered(pulls: Sequence[TriedPull]) -> list[str]:
    """A packet opens for the receiver that accepted and for nobody else; each pull is answered as it must."""
    problems = [
        f"a pull {pull.moment} by {pull.agency} of referral {pull.referral} was answered {pull.code or 'all'}"
        for pull in pulls
        if pull.code not in EXPECTED[pull.moment] or bool(pull.fields) != (pull.code is None)
    ]
    tried = {pull.moment for pull in pulls}
    return problems + [f"no pull {moment} was tried" for moment in EXPECTED if moment not in tried]


def releases_in_trail(pulls: Sequence[TriedPull], entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whatever a recipient opened has an entry of its own, written before: who, of whom, which groups."""
    intents = {entry["index"]: entry for entry in entries if entry.get("act") == "disclosure"}
    problems = []
    for pull in filter(lambda pull: pull.fields, pulls):
        entry = intents.pop(pull.entry, {})
        groups = {name.partition(".")[0] for name in pull.fields}
        same = (entry.get("referral"), entry.get("agency")) == (pull.referral, pull.agency)
        if not same or not groups <= set(entry.get("groups", ())):
            problems.append(f"{pull.agency} opened {', '.join(groups)} of {pull.referral} without an entry")
    return problems


def nothing_after_withdrawal(pulls: Sequence[TriedPull], withdrawn_at: Mapping[str, float]) -> list[str]:
    """Once a withdrawal has been answered, no pull that is asked after it opens anything."""
    return [
        f"{pull.agency} opened referral {pull.referral} after it was withdrawn"
        for pull in pulls
        if pull.fields and pull.asked_at >= withdrawn_at.get(pull.referral, pull.asked_at + 1)
    ]


def police_see_nothing_clinical(pulls: Sequence[TriedPull]) -> list[str]:
    """The police open packets, and no clinical field is in any of them."""
    opened = [pull for pull in pulls if pull.sector == "police" and pull.fields]
    seen = [f"{each.agency} opened {name}" for each in opened for name in each.fields if "clinical" in name]
    return seen if opened else ["the police opened nothing at all"]
