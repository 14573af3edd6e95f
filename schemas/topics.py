"""Every service and every topic, once: Kafka's topics and rights, and AsyncAPI, come from here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas import directory, governance, referral

Classification = Literal["restricted", "internal", "confidential", "public"]

SECTORS: Final = ("health", "police", "social_services", "education")
SERVICES: Final = (*SECTORS, "referrals", "notifications", "audit", "governance")
"""A service's name is also its Kafka user, its database role and the end of its CloudEvents source."""

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


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: who may write it, who may read it, and what its records are about."""

    title: str
    """The name without `concert.` and version: `sector.health.steps`."""
    writer: str
    readers: tuple[str, ...]
    classification: Classification
    carries: tuple[str, ...]
    """The short types of the events inside, such as `referral.offer`."""
    outer: str | None = None
    """On restricted topics the one generic type that intermediaries see, such as `sector.step`."""
    compacted: bool = False
    partitions: int = 12
    partitions_local: int = 3
    major: int = 1

    def name(self, namespace: str = "") -> str:
        """The name on the brokers; a namespace keeps parallel test runs apart and is empty in production."""
        return f"{namespace}concert.{self.title}.v{self.major}"

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


def steps_of(sector: str) -> Topic:
    """What a sector's agencies ask of the arbiter."""
    return Topic(
        title=f"sector.{sector}.steps",
        writer=sector,
        readers=("referrals",),
        classification="restricted",
        carries=tuple(referral.STEPS),
        outer="sector.step",
    )


def inbox_of(sector: str) -> Topic:
    """What the arbiter tells a sector, as that sector may see it."""
    return Topic(
        title=f"sector.{sector}.inbox",
        writer="referrals",
        readers=(sector,),
        classification="restricted",
        carries=tuple(referral.FACTS),
        outer="sector.fact",
    )


STEPS: Final = {sector: steps_of(sector) for sector in SECTORS}
INBOX: Final = {sector: inbox_of(sector) for sector in SECTORS}
REFERRALS_FACTS: Final = Topic(
    title="referrals.facts",
    writer="referrals",
    readers=("notifications",),
    classification="restricted",
    carries=tuple(referral.FACTS),
    outer="referrals.fact",
)
GOVERNANCE_STATE: Final = Topic(
    title="governance.state",
    writer="governance",
    readers=(*SECTORS, "referrals", "notifications"),
    classification="internal",
    carries=tuple(governance.BODIES),
    compacted=True,
    partitions=3,
)
DIRECTORY_STATE: Final = Topic(
    title="directory.state",
    writer="referrals",
    readers=SECTORS,
    classification="internal",
    carries=tuple(directory.BODIES),
    compacted=True,
    partitions=3,
)

TOPICS: Final = (*STEPS.values(), *INBOX.values(), REFERRALS_FACTS, GOVERNANCE_STATE, DIRECTORY_STATE)


def host_of(service: str) -> str:
    """The DNS name in a service's certificate, by which a peer knows that it reached this service."""
    return service.replace("_", "-")


def source_of(cell: str, service: str) -> str:
    """The CloudEvents source of a service, which is also the URI name in its certificate."""
    return f"urn:concert:{cell}:{service}"
