"""The table of verdicts, cell by cell: a reader that is not seen to read is never `ok`."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from services.operations.domain.verdicts import (
    LOOKS_WITHIN_SECONDS,
    RULES,
    Floor,
    StreamSight,
    floor_of,
    judge,
    told,
)

FLOOR = Floor(slow=30.0, stalled=8.0)
READS = StreamSight(
    answers=True, members=1, look_age_seconds=2.0, lag_messages=0, lag_seconds=0.0, standing_seconds=0.0
)
BEHIND = replace(READS, lag_messages=5, lag_seconds=40.0)

CELLS: dict[str, tuple[StreamSight, str, str]] = {
    "it reads all that comes": (READS, "reads", "ok"),
    "a little behind, and it commits": (replace(BEHIND, lag_seconds=29.9), "reads", "ok"),
    "far behind, and it commits": (BEHIND, "late", "slow"),
    "exactly so far behind as it may not be": (replace(BEHIND, lag_seconds=30.0), "late", "slow"),
    "records wait and it commits nothing": (replace(BEHIND, standing_seconds=8.0), "stands", "stalled"),
    "not for long yet": (replace(BEHIND, lag_seconds=9.0, standing_seconds=7.9), "reads", "ok"),
    "nothing waits and its service is silent": (replace(READS, answers=False), "silent", "stalled"),
    "records wait and its service is silent": (replace(BEHIND, answers=False), "silent", "stalled"),
    "silent, and brokers see it read": (
        replace(READS, answers=False, reads_on=True), "silent_but_reads", "unknown",
    ),
    "nothing waits and nobody is in its group": (replace(READS, members=0), "nobody_reads", "stalled"),
    "nothing waits and its loop stands": (
        replace(READS, look_age_seconds=LOOKS_WITHIN_SECONDS), "reader_stands", "stalled",
    ),
    "its answer has other fields": (replace(READS, answer_is_sound=False), "unsound_answer", "unknown"),
    "it says to be beyond the end": (replace(READS, is_beyond_end=True), "beyond_end", "unknown"),
    "its place is not known": (
        replace(READS, lag_messages=None, lag_seconds=None), "nothing_known", "unknown",
    ),
    "only its place is known": (
        replace(READS, answers=None, members=None, look_age_seconds=None), "unseen", "unknown",
    ),
    "a view, of which brokers tell": (replace(READS, answers=None, look_age_seconds=None), "reads", "ok"),
    "a view in whose group nobody is": (
        replace(READS, answers=None, look_age_seconds=None, members=0), "nobody_reads", "stalled",
    ),
    "brokers are away and its own reader says that it looks": (replace(READS, members=None), "reads", "ok"),
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_the_first_rule_that_holds_is_the_verdict(cell: str) -> None:
    seen, rule, verdict = CELLS[cell]

    found = judge(seen, FLOOR)

    assert (found.name, found.verdict) == (rule, verdict)
    assert "{" not in told(found, seen, FLOOR)


def test_every_rule_has_a_cell() -> None:
    assert {rule for _, rule, _ in CELLS.values()} == {rule.name for rule in RULES}


STOPPED: tuple[dict[str, Any], ...] = (
    {"answers": False},
    {"members": 0},
    {"look_age_seconds": LOOKS_WITHIN_SECONDS},
    {"lag_messages": 1, "lag_seconds": FLOOR.stalled, "standing_seconds": FLOOR.stalled},
)


@pytest.mark.parametrize("stopped", STOPPED, ids=lambda one: next(iter(one)))
def test_a_stopped_reader_is_never_ok_whatever_else_is_seen(stopped: dict[str, Any]) -> None:
    others: dict[str, tuple[Any, ...]] = {
        "answers": (True, None),
        "members": (1, None),
        "look_age_seconds": (0.0, None),
        "lag_messages": (0, 3, None),
        "lag_seconds": (0.0, 40.0, None),
        "standing_seconds": (0.0, None),
        "reads_on": (True, False),
    }
    for values in product(*others.values()):
        seen = StreamSight(**(dict(zip(others, values, strict=True)) | stopped))
        assert judge(seen, FLOOR).verdict != "ok", seen


def test_a_view_has_a_floor_of_its_own_and_any_other_the_common_one() -> None:
    seen = replace(BEHIND, standing_seconds=29.0, lag_seconds=29.0)

    assert judge(seen, floor_of("referrals_views")).verdict == "ok"
    assert judge(seen, floor_of("referrals")).verdict == "stalled"
