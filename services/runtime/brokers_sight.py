"""What an onlooker sees of the brokers: where logs end, where groups are, and how full the disks are."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    NotCoordinatorError,
)

from services.runtime import administration
from services.runtime.settings import KafkaSettings, secret_from

CONNECTED_WITHIN_MS: Final = 3_000
FAILURES: Final = administration.FAILURES
NOT_TOLD: Final = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError)
"""Of this group the brokers say nothing now; of the others they may."""


@dataclass(frozen=True, slots=True)
class BrokersSight:
    """Where logs and groups stand, as brokers tell it; of a group that is left out they said nothing."""

    ends: Mapping[tuple[str, int], tuple[uuid.UUID, int]]
    """The topic's own id and the next offset of each partition."""
    members: Mapping[str, int]
    positions: Mapping[str, Mapping[tuple[str, int], int]]
    disk_bytes: int | None
    disk_free_bytes: int | None


def look_at_brokers(settings: KafkaSettings, topics: Sequence[str], groups: Sequence[str]) -> BrokersSight:
    """Where logs and groups stand; blocks, raises what an administrator's connection can raise."""
    password = secret_from(settings.password_file).get_secret_value()
    with administration.connect(
        settings.bootstrap, settings.user, password, within_ms=CONNECTED_WITHIN_MS
    ) as admin:
        return look(admin, topics, groups)


def look(admin: KafkaAdminClient, topics: Sequence[str], groups: Sequence[str]) -> BrokersSight:
    """All that an onlooker may see; a topic that is missing is left out."""
    ids = administration.topic_ids(admin, topics)
    found = administration.ends(admin, [*ids]) if ids else {}
    members: dict[str, int] = {}
    positions = {}
    for group in groups:
        try:
            positions[group] = administration.positions(admin, group)
            [told] = admin.describe_groups([group]).values()
            members[group] = len(told["members"])
        except GroupIdNotFoundError:
            members[group] = 0
        except NOT_TOLD:
            continue
    disks = [one for broker in admin.describe_log_dirs([*ids]) for one in broker["log_dirs"]]
    known = [(one.get("total_bytes", -1), one.get("usable_bytes", -1)) for one in disks]
    is_known = bool(known) and min(min(one) for one in known) >= 0
    return BrokersSight(
        {one: (ids[one[0]], following) for one, following in found.items()},
        members,
        positions,
        sum(total for total, _ in known) if is_known else None,
        sum(free for _, free in known) if is_known else None,
    )
