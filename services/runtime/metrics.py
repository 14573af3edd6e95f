"""The figures that each process shows at `/metrics`; labels are topics, groups and codes, never people."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

PROCESS: Final = Gauge("concert_process", "1 under the name of the process that shows this.", ["process"])
OUTBOX_SENT: Final = Counter("concert_outbox_sent", "Events that the brokers hold.")
OUTBOX_PENDING: Final = Gauge("concert_outbox_pending", "Events written and not yet sent; 10,000 at most.")
OUTBOX_OLDEST_SECONDS: Final = Gauge("concert_outbox_oldest_seconds", "How long the oldest of them waits.")
DEAD_LETTER_DEPTH: Final = Gauge(
    "concert_dead_letter_depth", "Records set aside that nobody has looked at.", ["reason"]
)
ALARMS: Final = Gauge("concert_alarm", "Places where a rule fires now.", ["rule"])
APPLIED: Final = Counter("concert_consumer_applied", "Events applied.", ["group"])
COMMITS: Final = Counter("concert_consumer_commits", "Transactions of the consumer.", ["group"])
DUPLICATES: Final = Counter("concert_consumer_duplicates", "Events seen before.", ["group"])
DEAD_LETTERS: Final = Counter("concert_dead_letters", "Records that could not be used.", ["group", "reason"])
TRANSACTION_SECONDS: Final = Histogram(
    "concert_consumer_transaction_seconds", "One transaction of the consumer.", ["group"], buckets=_SECONDS
)
LAST_COMMIT: Final = Gauge(
    "concert_consumer_last_commit_timestamp_seconds", "When it last committed.", ["group"]
)
VIEW_APPLIED: Final = Counter("concert_view_applied", "Events that a view has applied.")
VIEW_SKIPPED: Final = Counter("concert_view_skipped", "Records that a view could not use.", ["reason"])
