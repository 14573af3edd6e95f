"""The figures that each process shows at `/metrics`; labels are topics, groups and codes, never people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double a scrape, and nobody asks for them

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_DESTINATION: Final = "messaging_destination_name"
_GROUP: Final = "messaging_consumer_group_name"
GROUP_TOPIC: Final = ("group", "topic")
ALONE: Final = ()
"""The labels' values of a figure that has none."""


class Measurement(Collector):
    """A figure that is told anew at each look: what nobody knows then is absent, and not what it was."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, counts: bool = False
    ) -> None:
        """One that `counts` only grows while its process lives."""
        self._described = (name, documentation)
        self._labels = labels
        self._family = CounterMetricFamily if counts else GaugeMetricFamily
        self._values: Mapping[tuple[str, ...], float] = {}
        REGISTRY.register(self)

    def tell(self, values: Mapping[tuple[str, ...], float]) -> None:
        """What is known now, by the values of the labels."""
        self._values = values

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """What was last told, as Prometheus reads it."""
        family = self._family(*self._described, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


BUILD: Final = Measurement("concert_build_info", "1 under the version that runs.", ["version"])
ALARMS: Final = Gauge("concert_alarm", "Places where a rule fires now.", ["rule"])
LOOP_LAG: Final = Histogram(
    "concert_event_loop_lag_seconds", "How late the event loop came to what was due.", buckets=_SECONDS
)
POOL_IN_USE: Final = Measurement("concert_database_pool_in_use", "Connections that something holds.")

OUTBOX_PENDING: Final = Measurement(
    "concert_outbox_pending", "Events written and not yet sent; 10,000 at most."
)
OUTBOX_OLDEST: Final = Measurement("concert_outbox_oldest_seconds", "How long the oldest of them waits.")
SENT: Final = Counter(
    "messaging_client_sent_messages", "Events that the brokers said they hold.", [_DESTINATION]
)
SEND_SECONDS: Final = Histogram(
    "messaging_client_operation_duration_seconds",
    "One sending, from the first record to the brokers' last yes.",
    ["messaging_operation_name"],
    buckets=_SECONDS,
)

CONSUMED: Final = Counter(
    "messaging_client_consumed_messages", "Records that a reader took.", [_GROUP, _DESTINATION]
)
BATCH_SECONDS: Final = Histogram(
    "messaging_process_duration_seconds",
    "One batch, with every wait for the database.",
    [_GROUP],
    buckets=_SECONDS,
)
TRANSACTION_SECONDS: Final = Histogram(
    "concert_consumer_transaction_seconds", "One transaction of the consumer.", ["group"], buckets=_SECONDS
)
BATCH_EVENTS: Final = Histogram(
    "concert_consumer_batch_events", "Records in one transaction.", ["group"], buckets=_BATCH
)
COMMITS: Final = Counter("concert_consumer_commits", "Transactions that were committed.", ["group"])
APPLIED: Final = Counter("concert_consumer_applied", "Events applied.", ["group"])
DUPLICATES: Final = Counter("concert_consumer_duplicates", "Events seen before.", GROUP_TOPIC)
REBALANCES: Final = Counter("concert_consumer_rebalances", "How often partitions were given anew.", ["group"])
ASSIGNED: Final = Measurement(
    "concert_consumer_assigned_partitions", "Partitions that are this process's.", GROUP_TOPIC
)

DEAD_LETTERS: Final = Counter("concert_dead_letters", "Records that could not be used.", ["group", "reason"])
DEAD_LETTER_DEPTH: Final = Measurement(
    "concert_dead_letter_depth", "Records set aside that nobody has looked at; 10,000 at most.", ["reason"]
)
DEAD_LETTER_OLDEST: Final = Measurement(
    "concert_dead_letter_oldest_seconds", "How long the oldest of them waits.", ["reason"]
)
