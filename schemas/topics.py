"""Every service and every topic, once: Kafka's rights, subscriptions, schemas and AsyncAPI come from here."""

from functools import cache
from typing import Final

from schemas.events import dialogue, facts, learning, partnership, referral
from schemas.events.directory import ServiceRegistered
from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent
from schemas.events.operations import ActRecorded
from schemas.events.partnership import CommitteeCurrent, MandateCurrent
from schemas.events.unmet_need import ReportUnmetNeed, UnmetNeedRecorded
from schemas.wire.body import by_type
from schemas.wire.receipts import DeliveryReceipt
from schemas.wire.topic import Topic, ViewTopics

SECTORS: Final = ("health", "police", "social_services", "education", "civil_society")
SERVICES: Final = (*SECTORS, "referrals", "notifications", "audit", "governance", "operations")
"""A service's name is also its Kafka user, its database role and the end of its CloudEvents source."""


@cache
def steps_of(sector: str) -> Topic:
    """What a sector's agencies ask of the arbiter."""
    return Topic(
        title=f"sector.{sector}.steps",
        writer=sector,
        readers=("referrals",),
        classification="restricted",
        keys=("referral", "unmet", "receipt"),
        carries={**referral.STEPS, **by_type(ReportUnmetNeed, DeliveryReceipt)},
        outer="sector.step",
        leads_back=f"sector.{sector}.inbox",
    )


@cache
def inbox_of(sector: str) -> Topic:
    """What the arbiter tells a sector, as that sector may see it."""
    return Topic(
        title=f"sector.{sector}.inbox",
        writer="referrals",
        readers=(sector,),
        classification="restricted",
        keys=("referral", "receipt"),
        carries={**facts.FACTS, **by_type(DeliveryReceipt)},
        outer="sector.fact",
        leads_back=f"sector.{sector}.steps",
    )


STEPS: Final = {sector: steps_of(sector) for sector in SECTORS}
INBOX: Final = {sector: inbox_of(sector) for sector in SECTORS}
REFERRALS_FACTS: Final = Topic(
    title="referrals.facts",
    writer="referrals",
    readers=("notifications", "governance"),
    classification="restricted",
    keys=("referral", "unmet"),
    carries={**facts.FACTS, **by_type(UnmetNeedRecorded)},
    outer="referrals.fact",
)
GOVERNANCE_STATE: Final = Topic(
    title="governance.state",
    writer="governance",
    readers=(*SECTORS, "referrals", "notifications"),
    classification="internal",
    keys=("agency", "service_name", "protocol", "committee", "mandate"),
    carries=by_type(AgencyCurrent, ServiceCurrent, ProtocolCurrent, CommitteeCurrent, MandateCurrent),
    compacted=True,
    partitions=3,
)
GOVERNANCE_FACTS: Final = Topic(
    title="governance.facts",
    writer="governance",
    readers=("governance",),
    classification="confidential",
    keys=(
        "agency",
        "protocol",
        "committee",
        "mandate",
        "dialogue",
        "recommendation",
        "scorecard",
        "lesson",
        "joint_release",
    ),
    carries={**partnership.FACTS, **dialogue.FACTS, **learning.FACTS},
    partitions=3,
)
DIRECTORY_STATE: Final = Topic(
    title="directory.state",
    writer="referrals",
    readers=SECTORS,
    classification="internal",
    keys=("service",),
    carries=by_type(ServiceRegistered),
    compacted=True,
    partitions=3,
)
OPERATIONS_FACTS: Final = Topic(
    title="operations.facts",
    writer="operations",
    readers=(),
    classification="confidential",
    keys=("operator_act",),
    carries=by_type(ActRecorded),
    partitions=3,
)

TOPICS: Final = (
    *STEPS.values(),
    *INBOX.values(),
    REFERRALS_FACTS,
    GOVERNANCE_STATE,
    GOVERNANCE_FACTS,
    DIRECTORY_STATE,
    OPERATIONS_FACTS,
)
ONLOOKERS: Final = ("operations",)
"""Users that see where every log, group and broker stands, and nothing of what a log holds."""


def written_by(service: str) -> tuple[Topic, ...]:
    """The topics that a service writes."""
    return tuple(topic for topic in TOPICS if topic.writer == service)


REFERRALS_VIEWS: Final = ViewTopics("referrals", REFERRALS_FACTS, ("open_offers", "facts_a_minute"))
VIEWS: Final = (REFERRALS_VIEWS,)
"""The views, which read what their own service writes; losing one costs a replay."""
