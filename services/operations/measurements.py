"""What operations shows at `/metrics` of every group, also of one whose service is silent."""

from datetime import datetime, timedelta
from typing import Final

from services.operations.domain.streams import StreamsStanding
from services.runtime.metrics import GROUP_TOPIC, Measurement

OLD_AFTER: Final = timedelta(seconds=60)
"""A look that is older says nothing of how it is now."""
LAG_MESSAGES: Final = Measurement(
    "concert_consumer_lag_messages", "Records that a group has not applied.", GROUP_TOPIC
)
LAG_SECONDS: Final = Measurement(
    "concert_consumer_lag_seconds",
    "How long the oldest of them is there, by when its log was first seen to reach so far.",
    GROUP_TOPIC,
)
COMMIT_AGE: Final = Measurement(
    "concert_consumer_last_commit_age_seconds",
    "Since the group last committed: where records wait the longest, else anywhere.",
    GROUP_TOPIC,
)


def measure(streams: StreamsStanding, now: datetime) -> None:
    """Tell what the last look found, where it is not too old, and of each group what is known of it."""
    is_fresh = streams.as_of is not None and now - streams.as_of < OLD_AFTER
    for figure, name in (
        (LAG_MESSAGES, "lag_messages"),
        (LAG_SECONDS, "lag_seconds"),
        (COMMIT_AGE, "commit_age_seconds"),
    ):
        found = {(one.group, one.topic): getattr(one, name) for one in streams.groups if is_fresh}
        figure.tell({place: value for place, value in found.items() if value is not None})
