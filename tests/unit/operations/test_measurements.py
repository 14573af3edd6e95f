"""What operations shows of every group, and what it leaves out."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import REGISTRY

from services.operations.domain.streams import StreamsStanding, StreamStanding
from services.operations.measurements import OLD_AFTER, measure

AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def a_standing(group: str, **known: Any) -> StreamStanding:
    told = {"lag_seconds": None, "lag_messages": None, "commit_age_seconds": None, "members": None} | known
    return StreamStanding(
        group=group, service=group, topic="t", verdict="ok", rule="r", words="w", since=AT, history=(), **told
    )


def shown(name: str, group: str) -> float | None:
    return REGISTRY.get_sample_value(f"concert_consumer_{name}", {"group": group, "topic": "t"})


def test_what_the_last_look_found_is_shown_and_what_nobody_knows_is_absent() -> None:
    known = a_standing("known", lag_seconds=7, lag_messages=3, commit_age_seconds=0)

    measure(StreamsStanding(AT, [known, a_standing("unknown")]), AT)

    assert [shown(name, "known") for name in ("lag_seconds", "lag_messages", "last_commit_age_seconds")] == [
        7, 3, 0,
    ]  # fmt: skip
    assert shown("lag_seconds", "unknown") is None


def test_a_look_that_is_too_old_says_nothing_of_now() -> None:
    streams = StreamsStanding(AT, [a_standing("known", lag_seconds=7)])

    measure(streams, AT + OLD_AFTER - timedelta(seconds=1))
    assert shown("lag_seconds", "known") == 7
    measure(streams, AT + OLD_AFTER)
    assert shown("lag_seconds", "known") is None
