"""A reader that does not get on says so: it sees nothing for a while, or stands while its log grows."""

from datetime import UTC, datetime, timedelta

from services.runtime.progress import ReaderProgress

AT = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
ONE, OTHER = ("steps", 0), ("steps", 1)


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_a_reader_that_has_long_not_looked_waits() -> None:
    progress = ReaderProgress("referrals", AT)

    assert not list(progress.alarms(after(29)))
    assert [(one.rule, one.where, one.since) for one in progress.alarms(after(30))] == [
        ("reader_waits", "referrals", AT)
    ]
    progress.look({}, {}, after(31))
    assert not list(progress.alarms(after(60)))


def test_a_partition_that_stands_while_its_log_goes_on_is_stuck_until_it_moves() -> None:
    progress = ReaderProgress("referrals", AT)
    for seconds in range(0, 61, 10):
        progress.look({ONE: 5, OTHER: seconds}, {ONE: 6, OTHER: 100}, after(seconds))

    assert [(one.rule, one.where, one.since) for one in progress.alarms(after(60))] == [
        ("reader_stuck", "steps/0: 5", AT)
    ]
    progress.look({ONE: 6, OTHER: 60}, {ONE: 6, OTHER: 100}, after(61))
    assert not list(progress.alarms(after(61)))


def test_a_partition_at_its_logs_end_or_held_on_purpose_is_not_stuck() -> None:
    progress = ReaderProgress("referrals", AT)
    progress.look({ONE: 6}, {ONE: 6, OTHER: 9}, AT)
    progress.look({ONE: 6}, {ONE: 6, OTHER: 9}, after(70))

    assert not list(progress.alarms(after(70)))
