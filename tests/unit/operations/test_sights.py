"""What a look makes of answers and of what brokers tell: whoever lies moves no other's figures."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from services.operations.sights import GroupSight, GroupStream, StreamsLook, read_streams
from services.runtime.brokers_sight import BrokersSight
from services.runtime.service_report import ServiceReport
from tests.support.clock import NOON

TOPIC = "concert.sector.health.steps.v1"
LOG, OTHER_LOG = UUID(int=1), UUID(int=2)
STREAM = GroupStream("referrals", "referrals", TOPIC)


def a_position(part: int, following: int, age: float = 1.0, **other: Any) -> dict[str, Any]:
    place = {"group": "referrals", "topic": TOPIC, "partition": part, "topic_id": LOG, "next": following}
    return place | {"commit_age_seconds": age} | other


def a_report(*positions: dict[str, Any], look_age: float = 2.0) -> ServiceReport:
    return ServiceReport.model_validate(
        {
            "service": "referrals", "process": "referrals", "version": "0.1.0", "started_at": NOON,
            "positions": positions, "log_ends": [], "outbox": None, "dead_letters": [],
            "sweeps": [{"name": "reader", "success_age_seconds": look_age}], "certificate_ends_at": None,
            "last_backup_at": None, "alarms": [], "figures": {},
        }
    )  # fmt: skip


def brokers(told: int = 0, members: int = 1) -> BrokersSight:
    ends = {(TOPIC, part): (LOG, 100) for part in range(2)}
    return BrokersSight(ends, {"referrals": members}, {"referrals": {(TOPIC, 0): told}}, None, None)


def seen(report: ServiceReport | None, told: BrokersSight | None = None, **changes: Any) -> GroupSight:
    told = told or brokers()
    fields: dict[str, Any] = {
        "at": NOON, "reports": {"referrals": (report, NOON)} if report else {},
        "silent": {}, "were_silent": {},
        "brokers": told, "brokers_before": told, "ends": told.ends, "stays_for": lambda *_: 50.0,
    }  # fmt: skip
    return StreamsLook(**(fields | changes)).sight_of(STREAM, is_asked=True)


def test_a_reader_without_a_place_is_at_the_beginning() -> None:
    found = seen(a_report(a_position(0, 100)))

    assert found.with_lag({}).lag_messages == 100
    assert found.waits_at == {(TOPIC, 1, LOG, 0)}


def test_a_partition_that_waits_and_one_that_commits_rarely_are_not_added_up() -> None:
    found = seen(a_report(a_position(0, 99, age=600.0), a_position(1, 10, age=1.0)))

    lag = found.with_lag({(TOPIC, 0, LOG, 99): 0.5, (TOPIC, 1, LOG, 10): 20.0})

    assert (lag.lag_seconds, lag.standing_seconds, lag.lag_messages) == (20.0, 1.0, 91)
    assert found.commit_age == 600.0


def test_places_of_another_group_or_log_count_for_nobody() -> None:
    foreign = a_position(0, 100, group="notifications")
    of_another_log = a_position(1, 100, topic_id=OTHER_LOG)

    assert seen(a_report(foreign, of_another_log)).with_lag({}).lag_messages == 200


def test_a_place_beyond_the_end_is_no_lead() -> None:
    lag = seen(a_report(a_position(0, 101), a_position(1, 90))).with_lag({})

    assert (lag.is_beyond_end, lag.lag_messages) == (True, 10)


def test_of_a_silent_service_the_last_answer_counts_and_what_brokers_were_told_since() -> None:
    report = a_report(a_position(0, 40), a_position(1, 100))
    silent: dict[str, Any] = {"silent": {"referrals": "silent"}, "at": NOON + timedelta(seconds=30)}

    found = seen(report, brokers(told=60), **silent)

    assert found.standing.answers is False
    assert found.standing.look_age_seconds is None
    assert not found.standing.reads_on
    assert found.with_lag({}).lag_messages == 40
    assert found.commit_age == 50.0, "for as long as operations has seen it there"


def test_a_service_that_was_silent_already_and_gets_on_is_seen_to_read() -> None:
    report = a_report(a_position(0, 40), a_position(1, 100))
    silent = {"referrals": "silent"}

    found = seen(report, brokers(told=60), silent=silent, were_silent=silent, brokers_before=brokers(told=50))

    assert found.standing.reads_on


def test_of_a_service_that_never_answered_no_lag_is_known() -> None:
    lag = seen(None, silent={"referrals": "silent"}).with_lag({})

    assert (lag.lag_messages, lag.lag_seconds) == (None, None)


def test_every_reader_and_view_of_the_table_is_a_stream() -> None:
    found = read_streams("t1.")

    assert len(set(found)) == len(found)
    assert STREAM in read_streams("")
    assert (
        GroupStream("t1.concert.referrals.views", "referrals_views", "t1.concert.referrals.facts.v1") in found
    )
