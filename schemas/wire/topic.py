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


def host_of(service: str) -> str:
    """The DNS name in a service's certificate, by which a peer knows that it reached this service."""
    return service.replace("_", "-")


def source_of(cell: str, service: str) -> str:
    """The CloudEvents source of a service, which is also the URI name in its certificate."""
    return f"urn:concert:{cell}:{service}"
