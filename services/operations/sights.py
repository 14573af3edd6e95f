"""What one look found of each stream, put together from services' answers and what brokers tell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from schemas.topics import TOPICS, VIEWS
from services.operations.domain.verdicts import StreamSight
from services.operations.store.samples import Place
from services.runtime.brokers_sight import BrokersSight
from services.runtime.service_report import ServiceReport

LAG_MAX: Final = (1 << 63) - 1
"""What a column holds; ends that services tell could come to more."""
Partition = tuple[str, int]
Ends = Mapping[Partition, tuple[UUID, int]]


@dataclass(frozen=True, slots=True)
class GroupStream:
    """A group of readers and a topic of theirs."""

    group: str
    service: str
    """The service, or the view, that the group is."""
    topic: str


def read_streams(namespace: str) -> tuple[GroupStream, ...]:
    """Every one, of the table of topics; names are those of the brokers."""
    of_services = [
        GroupStream(f"{namespace}{reader}", reader, topic.name(namespace))
        for topic in TOPICS
        for reader in topic.readers
    ]
    of_views = [GroupStream(view.group(namespace), view.user, view.source.name(namespace)) for view in VIEWS]
    return (*sorted(of_services, key=lambda one: (one.service, one.topic)), *of_views)


@dataclass(frozen=True, slots=True)
class PartitionSight:
    """Where a group is in one partition, where that ends, and how long ago it committed there."""

    place: Place
    end: int
    commit_age: float

    @property
    def behind(self) -> int:
        """How many records it has not read."""
        return max(0, self.end - self.place[3])


@dataclass(frozen=True, slots=True)
class GroupSight:
    """All of that for one stream."""

    standing: StreamSight
    """What is known but the lag."""
    partitions: Sequence[PartitionSight] | None
    """None where nobody knows its places or its ends."""

    @property
    def waits_at(self) -> set[Place]:
        """The places beyond which there is something to read."""
        return {one.place for one in self.partitions or () if one.behind}

    @property
    def commit_age(self) -> float | None:
        """How long ago it committed: where records wait the longest, else anywhere."""
        late = [one.commit_age for one in self.partitions or () if one.behind]
        return max(late) if late else min((one.commit_age for one in self.partitions or ()), default=None)

    def with_lag(self, waited: Mapping[Place, float]) -> StreamSight:
        """The sight with its lag, given for how long logs have reached beyond its places."""
        seen = self.standing
        if self.partitions is None:
            return seen
        late = [(waited.get(one.place, 0.0), one.commit_age) for one in self.partitions if one.behind]
        return StreamSight(
            seen.answers,
            seen.answer_is_sound,
            any(one.place[3] > one.end for one in self.partitions),
            seen.reads_on,
            seen.members,
            seen.look_age_seconds,
            min(sum(one.behind for one in self.partitions), LAG_MAX),
            max((lag for lag, _ in late), default=0.0),
            max((min(lag, commit) for lag, commit in late), default=0.0),
        )


@dataclass(frozen=True, slots=True)
class StreamsLook:
    """One look at all services and the brokers."""

    at: datetime
    reports: Mapping[str, tuple[ServiceReport, datetime]]
    """What each service said last, and when."""
    silent: Mapping[str, str]
    """Service → why its answer does not count now: `silent` or `unsound`."""
    were_silent: Mapping[str, str]
    brokers: BrokersSight | None
    brokers_before: BrokersSight | None
    ends: Ends
    stays_for: Callable[[str, Partition, int], float]
    """For how many seconds operations itself has seen a group at this place."""

    def sight_of(self, stream: GroupStream, *, is_asked: bool) -> GroupSight:
        """What is known of a stream; of one that has no service to ask, brokers alone tell."""
        why = self.silent.get(stream.service)
        report, said_at = self.reports.get(stream.service, (None, None))
        told = self._told_to(self.brokers, stream)
        before = self._told_to(self.brokers_before, stream) if stream.service in self.were_silent else told
        looks = [one.success_age_seconds for one in report.sweeps if one.name == "reader"] if report else []
        standing = StreamSight(
            answers=None if not is_asked else why is None,
            answer_is_sound=why != "unsound",
            reads_on=any(following > before.get(one, following) for one, following in told.items()),
            members=self.brokers.members.get(stream.group) if self.brokers else None,
            look_age_seconds=looks[0] if looks and why is None else None,
        )
        partitions = {one: end for one, end in self.ends.items() if one[0] == stream.topic}
        if not partitions or (is_asked and report is None):
            return GroupSight(standing, None)
        silence = (self.at - said_at).total_seconds() if said_at else 0.0
        places = {
            (one.topic, one.partition): (one.topic_id, one.next, one.commit_age_seconds + silence)
            for one in (report.positions if report else ())
            if one.group == stream.group
        }
        found = []
        for one, (topic_id, end) in partitions.items():
            known_id, following, age = places.get(one, (topic_id, 0, None))
            if known_id != topic_id:  # the reader finds its place anew, and tells of it
                following, age = 0, None
            if not is_asked or why is not None:  # brokers know what came after its last answer
                following = max(following, told.get(one, 0))
            stays = self.stays_for(stream.group, one, following)
            age = stays if age is None or why is not None else age
            found.append(PartitionSight((*one, topic_id, following), end, age))
        return GroupSight(standing, found)

    @staticmethod
    def _told_to(brokers: BrokersSight | None, stream: GroupStream) -> Mapping[Partition, int]:
        """Where the group told the brokers to be on this topic."""
        told = brokers.positions.get(stream.group, {}) if brokers else {}
        return {one: following for one, following in told.items() if one[0] == stream.topic}
