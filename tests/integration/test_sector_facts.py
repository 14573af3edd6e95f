"""What comes over the bus: views, feeds, and what is in force."""

from collections.abc import Sequence

import pytest
import structlog

from schemas.events.facts import FactBase, StepRefused
from schemas.events.governance_keys import SignatureFault
from schemas.topics import DIRECTORY_STATE, GOVERNANCE_STATE, INBOX
from schemas.wire.envelope import ReadEvent
from services.runtime.errors import Invalid
from services.sector.handlers.facts import keep_facts, keep_in_force
from tests.support.builders import (
    OWNER,
    RECEIVER,
    REFERRAL,
    STRANGER,
    a_protocol_current,
    an_agency,
    an_entry,
    an_event,
    an_id,
    organization_of,
)
from tests.support.sector import StoredSector
from tests.unit.sector.test_views import accepted, offered


def received(*facts: FactBase) -> Sequence[ReadEvent[FactBase]]:
    return [an_event(INBOX["health"], fact, place) for place, fact in enumerate(facts, 1)]


async def views(sector: StoredSector) -> set[tuple[str, str]]:
    return {(row.referral, row.agency) for row in await sector.rows("SELECT * FROM referral_view")}


async def told(sector: StoredSector, agency: str = OWNER) -> list[tuple[int, str]]:
    events = await sector.work.views.feed(agency, 0, 200) or ()
    return [(event.position, event.type) for event in events]


async def test_a_batch_of_facts_moves_views_and_feeds_and_a_repeat_is_not_told_twice(
    sector: StoredSector,
) -> None:
    first, second = offered(OWNER, receiver=OWNER), accepted(to=OWNER)

    await keep_facts(received(first, first), sector.work)
    await keep_facts(received(first, second), sector.work)

    assert (await sector.view(OWNER)).state == "accepted"
    assert await told(sector) == [(1, "referral.offered"), (2, "referral.accepted")]


async def test_two_agencies_of_one_sector_have_two_views(sector: StoredSector) -> None:
    """One of them not heard of yet, which is the arbiter's to know."""
    facts = [offered(agency, receiver=agency) for agency in (OWNER, "quay-social")]

    await keep_facts(received(*facts), sector.work)

    assert await views(sector) == {(REFERRAL, OWNER), (REFERRAL, "quay-social")}


async def test_a_fact_to_another_sectors_agency_is_invalid(sector: StoredSector) -> None:
    with pytest.raises(Invalid) as refused:
        await keep_facts(received(offered(STRANGER, receiver=STRANGER)), sector.work)

    assert (refused.value.reason, refused.value.path) == ("schema_mismatch", "/to")


@pytest.mark.parametrize(
    ("to", "number", "code", "event"),
    [(RECEIVER, None, "not_a_party", "step_forged"), ("quay-social", 1, "agency_inactive", "step_unknown")],
    ids=["for another sector's agency", "that nobody here asked for"],
)
async def test_the_refusal_of_a_stray_step_is_logged_and_holds_up_nothing(
    sector: StoredSector, to: str, number: int | None, code: str, event: str
) -> None:
    foreign = an_id("referral", "foreign")
    refused = StepRefused(
        referral=foreign, to=to, number=number, step=an_id("event"), asked="start", code=code
    )

    with structlog.testing.capture_logs() as lines:
        await keep_facts(received(refused, offered(OWNER, receiver=OWNER)), sector.work)

    assert await views(sector) == {(REFERRAL, OWNER)}
    assert await told(sector, to) == []
    assert lines == [{"event": event, "log_level": "error", "count": 1, "agency_id": to}]


async def test_what_is_in_force_is_kept_and_an_older_version_changes_nothing(sector: StoredSector) -> None:
    agency, protocol = an_agency("quay-social", version=2, sector="social_services"), a_protocol_current()
    older = agency.model_copy(update={"version": 1, "status": "suspended"})
    entry = an_entry(organization=organization_of("quay-social"))

    await keep_in_force([an_event(GOVERNANCE_STATE, protocol)], sector.work)
    await keep_in_force([an_event(GOVERNANCE_STATE, agency)], sector.work)
    with pytest.raises(SignatureFault, match="version_not_newer"):
        await keep_in_force([an_event(GOVERNANCE_STATE, older)], sector.work)
    await keep_in_force([an_event(DIRECTORY_STATE, entry)], sector.work)

    register = sector.work.register
    assert (await register.standings(["quay-social"]))["quay-social"].is_active
    kept = await register.protocol_with(protocol.hash)
    assert kept is not None
    assert (kept.id, kept.hash.hex()) == (protocol.document.id, protocol.hash)
    [listed] = await register.entries("", 9)
    assert listed.model_dump() == entry.model_dump() | {"agency": "quay-social", "sector": "social_services"}
