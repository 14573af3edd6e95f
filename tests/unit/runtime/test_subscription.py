"""Within a batch, what is in force is read before the steps that rest on it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.events.referral import AcknowledgeReferral
from schemas.topics import DIRECTORY_STATE, GOVERNANCE_STATE, STEPS
from schemas.wire.body import Body
from schemas.wire.envelope import ReadEvent
from schemas.wire.topic import Topic
from services.runtime.batch import shares
from services.runtime.subscription import Received, Subscription

BODY = AcknowledgeReferral(referral="ref_" + "a" * 26, agency="north-clinic", duty="intake")


def an_event(topic: Topic, sequence: int, body: Body = BODY) -> ReadEvent:
    return ReadEvent(
        id=f"evt_{topic.title}_{sequence}", source="urn:concert:test-local:health", service="health",
        topic=topic, key="key", subject="key", correlation="key", caused_by=None, sequence=sequence,
        at=datetime(2026, 11, 24, tzinfo=UTC), type="", dataschema="", body=body, digest=b"",
    )  # fmt: skip


async def ignore(_events: Sequence[Received[Any]], _work: Any) -> None:
    """A handler that no test here calls."""


STATE = Subscription((GOVERNANCE_STATE,), ignore)
ASKED = Subscription((STEPS["health"], STEPS["police"]), ignore)
UNUSED = Subscription((DIRECTORY_STATE,), ignore)


def test_subscriptions_get_their_events_in_the_order_of_the_table() -> None:
    fresh = [
        an_event(STEPS["health"], 1), an_event(GOVERNANCE_STATE, 1),
        an_event(STEPS["police"], 1), an_event(GOVERNANCE_STATE, 2),
    ]  # fmt: skip

    given = [
        (one, [(event.topic, event.sequence) for event in own])
        for one, own in shares(fresh, (STATE, UNUSED, ASKED))
    ]

    assert given == [
        (STATE, [(GOVERNANCE_STATE, 1), (GOVERNANCE_STATE, 2)]),
        (ASKED, [(STEPS["health"], 1), (STEPS["police"], 1)]),
    ]


def test_a_handler_gets_what_it_needs_of_an_event() -> None:
    event = an_event(STEPS["health"], 4)

    ((_, (received,)),) = shares([event], (ASKED,))

    assert received == Received(
        event.id, "health", STEPS["health"], "key", 4, event.at, caused_by=None, body=BODY
    )
