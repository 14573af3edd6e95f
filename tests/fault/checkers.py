"""What a run must leave behind: pure, one pass over histories and records; each says what does not hold.

The checks of the demo are used where they say the same: every step answered, nothing twice, facts numbered
without a gap, arbiter and parties of one mind, no dead letter.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from services.cli.demo.checks import PlayedReferral
from tests.fault.load import FAIL, INFO, INVOKE, OK

STANDS: Final = frozenset({"withdrawn", "sealed"})
"""States of a referral that she withdrew."""
Sequences = Mapping[tuple[str, bytes], int]
"""How far each key of a topic is."""


def answered_once(entries: Iterable[Mapping[str, Any]], recorded: Sequence[str]) -> list[str]:
    """What was answered stands in the record once; one key, however often it was asked, made one step."""
    kinds: dict[str, Counter[str]] = {}
    steps: dict[str, set[str]] = {}
    for one in entries:
        kinds.setdefault(one["key"], Counter())[one["kind"]] += 1
        if one["kind"] == OK:
            steps.setdefault(one["key"], set()).add(one["step"])
    answered = {step for named in steps.values() for step in named}
    times = Counter(recorded)
    unknown = sum(1 for each in kinds.values() if not each[OK] and each[INVOKE] > each[FAIL])
    unasked = sorted(step for step in times if step not in answered)
    return [
        *(f"key {key} was answered by {len(named)} steps" for key, named in steps.items() if len(named) > 1),
        *(f"step {step} was answered and is in no record" for step in sorted(answered) if step not in times),
        *(f"step {step} is recorded {count} times" for step, count in times.items() if count > 1),
        *(f"step {step} is recorded and nobody was answered so" for step in unasked[unknown:]),
    ]


def applied_in_turn(written: Sequences, applied: Mapping[str, Sequences]) -> list[str]:
    """Each reader is at the last number of each key that it reads: 1..n, for it passes over no gap."""
    problems = []
    for reader, its in applied.items():
        topics = {topic for topic, _ in its}
        for (topic, key), last in written.items():
            if topic in topics and its.get((topic, key), 0) != last:
                found = its.get((topic, key), 0)
                problems.append(f"{reader} is at {found} of {last} of {key.decode()} on {topic}")
    return problems


def withdrawals_stand(
    withdrawn: Collection[str],
    played: Iterable[PlayedReferral],
    states: Mapping[str, str],
    views: Mapping[tuple[str, str], str],
) -> list[str]:
    """A withdrawal that was answered stands, for the arbiter and in both parties' views."""
    parties = {each.referral: (each.owner, each.receiver) for each in played}
    return [
        f"referral {referral} was withdrawn and {who} has it {state}"
        for referral in withdrawn
        for who, state in (
            ("the arbiter", states.get(referral)),
            *((agency, views.get((referral, agency))) for agency in parties[referral]),
        )
        if state not in STANDS
    ]


def counted(entries: Iterable[Mapping[str, Any]]) -> Mapping[str, int]:
    """How many requests, and how they ended."""
    kinds = Counter(one["kind"] for one in entries)
    return {kind: kinds[kind] for kind in (INVOKE, OK, INFO, FAIL)}
