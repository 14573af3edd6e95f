"""What comes over the bus: views, feeds, and what is in force."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
import structlog

from schemas.events.referral import FactBase, StepRefused
from schemas.topics import DIRECTORY_STATE, GOVERNANCE_STATE, INBOX
from schemas.wire.body import Body
from schemas.wire.envelope import ReadEvent
from services.health.profile import PROFILE
from services.runtime.errors import Invalid
from services.sector.handlers.facts import keep_facts, keep_in_force
from services.sector.store.steps import StepStore
from tests.support.builders import (
    OWNER,
    RECEIVER,
    REFERRAL,
    a_protocol_current,
    an_agency,
    an_entry,
    an_event,
    an_id,
)
from tests.unit.sector.test_views import accepted, offered
from tests.unit.sector.twins import MemorySector


@pytest.fixture
def sector() -> MemorySector:
    return MemorySector(PROFILE)


def received(*facts: FactBase) -> Sequence[ReadEvent[FactBase]]:
    return [an_event(INBOX["health"], fact, place) for place, fact in enumerate(facts, 1)]


async def test_a_batch_of_facts_moves_views_and_feeds(sector: MemorySector) -> None:
    await keep_facts(received(offered(), accepted()), sector.work)

    assert sector.views.kept[REFERRAL, RECEIVER].state == "accepted"
    assert [event.type for event in sector.views.feeds[RECEIVER]] == ["referral.offered", "referral.accepted"]


async def test_a_repeated_fact_is_not_told_twice(sector: MemorySector) -> None:
    await keep_facts(received(offered(), offered()), sector.work)
    await keep_facts(received(offered(), accepted()), sector.work)

    assert [event.number for event in sector.views.feeds[RECEIVER]] == [1, 2]


async def test_owner_and_receiver_in_one_sector_have_two_views(sector: MemorySector) -> None:
    other = "hill-clinic"

    await keep_facts(received(offered(), offered(other, receiver=other)), sector.work)

    assert set(sector.views.kept) == {(REFERRAL, RECEIVER), (REFERRAL, other)}


async def test_a_fact_to_another_sectors_agency_is_invalid(sector: MemorySector) -> None:
    with pytest.raises(Invalid) as refused:
        await keep_facts(received(offered(OWNER, receiver=OWNER)), sector.work)

    assert (refused.value.reason, refused.value.path) == ("schema_mismatch", "/to")


async def test_a_fact_to_an_agency_not_heard_of_yet_is_kept(sector: MemorySector) -> None:
    await keep_facts(received(offered("new-clinic", receiver="new-clinic")), sector.work)

    assert (REFERRAL, "new-clinic") in sector.views.kept


DISOWNED = StepRefused(
    referral=an_id("referral", "foreign"), to=OWNER, step=an_id("event"), asked="start", code="not_a_party"
)


async def test_the_refusal_of_a_step_for_anothers_agency_is_forged_and_holds_up_nothing(
    sector: MemorySector,
) -> None:
    await keep_facts(received(DISOWNED, offered()), sector.work)

    assert set(sector.views.kept) == {(REFERRAL, RECEIVER)}
    assert set(sector.views.feeds) == {RECEIVER}
    assert sector.steps.forged == [DISOWNED]


def test_a_forged_step_is_said_aloud() -> None:
    with structlog.testing.capture_logs() as lines:
        StepStore(cast(Any, None), cast(Any, None), "health").log_forged(DISOWNED)

    assert lines == [
        {"event": "step_forged", "log_level": "error", "agency_id": OWNER, "error_code": "not_a_party"}
    ]


async def test_governance_and_directory_are_kept(sector: MemorySector) -> None:
    agency, protocol, entry = an_agency("new-clinic"), a_protocol_current(), an_entry()
    bodies: Sequence[Body] = (agency, protocol)
    governance = [an_event(GOVERNANCE_STATE, body, place) for place, body in enumerate(bodies, 1)]

    await keep_in_force(governance, sector.work)
    await keep_in_force([an_event(DIRECTORY_STATE, entry)], sector.work)

    assert sector.register.sectors["new-clinic"] == "health"
    assert sector.register.protocols == {protocol.hash: protocol.document.id}
    assert [one.service for one in sector.register.kept] == [entry.service]
