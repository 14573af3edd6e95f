"""What a topic is: its name, its rights and its settings on the brokers; the table is `schemas/topics.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas.wire.body import Body

Classification = Literal["restricted", "internal", "confidential", "public"]

HOURS_KEPT_IN_THE_CLEAR: Final = 72
"""Payloads of restricted topics are not sealed yet, so brokers keep them three days and no longer."""

MESSAGE_BYTES_MAX: Final = 256 * 1024
"""The largest batch that brokers take, as it is sent: twice what a relay sends."""

ALWAYS: Final[Mapping[str, str]] = {
    "message.timestamp.type": "CreateTime",  # a broker's own clock would tell times finer than we do
    "compression.type": "producer",  # else the broker unpacks whole batches in its own memory
    "max.message.bytes": str(MESSAGE_BYTES_MAX),
    "retention.bytes": "-1",
}
"""Settings of every topic, so that no broker's default decides."""


@dataclass(frozen=True, slots=True, eq=False)
class Topic:
    """One topic: who may write it, who may read it, and what its records are about."""

    title: str
    """The name without `concert.` and version: `sector.health.steps`."""
    writer: str
    readers: tuple[str, ...]
    classification: Classification
    keys: tuple[str, ...]
    """The kinds of id that can be a record's key."""
    carries: Mapping[str, type[Body]]
    """Short type → class of the events inside: `referral.offer` → `OfferReferral`."""
    outer: str | None = None
    """On restricted topics the one generic type that intermediaries see, such as `sector.step`."""
    leads_back: str | None = None
    """The title of the topic on which its reader confirms what it applied, where it does."""
    compacted: bool = False
    partitions: int = 12
    partitions_local: int = 3

    def name(self, namespace: str = "") -> str:
        """The name on the brokers; a namespace keeps parallel test runs apart and is empty in production."""
        return f"{namespace}concert.{self.title}.v1"

    @property
    def is_restricted(self) -> bool:
        """Whether its events concern a person."""
        return self.classification == "restricted"

    def settings(self) -> Mapping[str, str]:
        """The topic's own settings on the brokers."""
        if self.compacted:
            return {
                **ALWAYS,
                "cleanup.policy": "compact",
                "min.cleanable.dirty.ratio": "0.1",
                "segment.ms": str(24 * 3_600_000),
            }
        kept_ms = HOURS_KEPT_IN_THE_CLEAR * 3_600_000
        return {**ALWAYS, "cleanup.policy": "delete", "retention.ms": str(kept_ms)}


@dataclass(frozen=True, slots=True, eq=False)
class Changelog(Topic):
    """Where a view keeps one of its tables on the brokers; faust gives it its name."""

    def name(self, namespace: str = "") -> str:
        """The name on the brokers, which is not built like that of other topics."""
        return f"{namespace}{self.title}-changelog"


@dataclass(frozen=True, slots=True)
class ViewTopics:
    """What a view reads, and the tables that it makes of it; it has a user and a group of its own."""

    service: str
    source: Topic
    tables: tuple[str, ...]

    @property
    def user(self) -> str:
        """The view's Kafka user, which is also the name of its process."""
        return f"{self.service}_views"

    @property
    def member(self) -> str:
        """The static name of its one process in that group."""
        return f"{self.user}-1"

    def group(self, namespace: str = "") -> str:
        """The view's consumer group, which is faust's name for the whole."""
        return f"{namespace}concert.{self.service}.views"

    @property
    def changelogs(self) -> tuple[Changelog, ...]:
        """The topics of its tables: as many partitions as the source, for a change goes beside its event."""
        return tuple(
            Changelog(
                title=f"{self.group()}-{table}",
                writer=self.user,
                readers=(self.user,),
                classification=self.source.classification,
                keys=self.source.keys,
                carries={},
                compacted=True,  # and no more: faust cannot recover from a partition that was emptied
                partitions=self.source.partitions,
                partitions_local=self.source.partitions_local,
            )
            for table in self.tables
        )


def host_of(service: str) -> str:
    """The DNS name in a service's certificate, by which a peer knows that it reached this service."""
    return service.replace("_", "-")


def source_of(cell: str, service: str) -> str:
    """The CloudEvents source of a service, which is also the URI name in its certificate."""
    return f"urn:concert:{cell}:{service}"
