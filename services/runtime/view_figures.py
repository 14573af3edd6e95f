"""What faust's own sensor sees in the process of a view, told anew at each look, in base units."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from faust.sensors.metrics import performance_metrics
from prometheus_client import Counter

from services.runtime.metrics import ALONE, Measurement

Values = Mapping[tuple[str, ...], float]
Sections = Mapping[str, Any]
"""What faust sums up of its sensor: throughput, latency, consumer, tables, errors."""
OPERATIONS: Final = ("keys_retrieved", "keys_updated", "keys_deleted")


def _one(section: str, name: str) -> Callable[[Sections], Values]:
    return lambda seen: {ALONE: seen[section][name]}


def _commits(seen: Sections) -> Values:
    found = seen["latency"]["commit_latency"]
    return {ALONE: found["p95"]} if found["count"] else {}


def _operations(seen: Sections) -> Values:
    return {
        (table, operation): counts[operation]
        for table, counts in seen["tables"].items()
        for operation in OPERATIONS
    }


VIEW_APPLIED: Final = Counter("concert_view_applied", "Events that a view has applied.")
VIEW_SKIPPED: Final = Counter("concert_view_skipped", "Records that a view could not use.", ["reason"])
SENSED: Final[tuple[tuple[Measurement, Callable[[Sections], Values]], ...]] = (
    (
        Measurement("concert_view_received", "Records that faust took, the tables' own too.", counts=True),
        _one("throughput", "messages_received_total"),
    ),
    (
        Measurement("concert_view_active_events", "Events in hand."),
        _one("throughput", "events_active"),
    ),
    (
        Measurement("concert_view_event_seconds", "What the last second's events took on average."),
        _one("latency", "events_runtime_avg"),
    ),
    (
        Measurement("concert_view_commit_seconds", "What the last commits took: the 95th percentile."),
        _commits,
    ),
    (
        Measurement("concert_view_rebalances", "How often partitions were given anew.", counts=True),
        _one("consumer", "rebalances"),
    ),
    (
        Measurement("concert_view_assignments_failed", "How often that failed.", counts=True),
        _one("errors", "assignments_failed"),
    ),
    (
        Measurement("concert_view_send_errors", "Changes of a table that were not sent.", counts=True),
        _one("errors", "send_errors"),
    ),
    (
        Measurement(
            "concert_view_table_operations", "Keys read and written.", ["table", "operation"], counts=True
        ),
        _operations,
    ),
)


def tell_sensed(app: Any) -> None:
    """Tell what the sensor of a faust application has seen until now."""
    seen = performance_metrics(app)
    for figure, values_of in SENSED:
        figure.tell(values_of(seen))
