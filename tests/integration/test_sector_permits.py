"""Nothing is shown without a valid permit, used once; each failing check shows nothing."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from schemas.events.access import Item, PermitAnswer
from schemas.events.governance import ProtocolCurrent
from services.runtime.errors import NotFound
from services.sector.domain.refusals import TrailUnavailable
from services.sector.handlers.looks import look_at_case, look_at_list, look_at_referral, own_view
from services.sector.handlers.work import Work
from services.sector.permits import ATTEMPTS_MAX, Permits
from tests.support.builders import RECEIVER, REFERRAL, STRANGER, a_protocol_current, an_id
from tests.support.scenes import asker
from tests.support.sector import StoredSector
from tests.support.trail import TrailTwin
from tests.unit.sector.test_views import folded, offered

HERE = "urn:concert:test-local:health"


@pytest.fixture(autouse=True)
async def a_view(sector: StoredSector) -> None:
    await sector.work.views.save([folded(None, offered())])


@pytest.fixture
def trail() -> TrailTwin:
    return TrailTwin(HERE)


async def used(sector: StoredSector) -> int:
    return len(await sector.rows("SELECT 1 FROM permit_used"))


def shows(sector: StoredSector, trail: TrailTwin) -> Permits:
    return Permits(trail.client(), audience=HERE, trust=trail.trust, open_work=sector.open)


async def show_it(sector: StoredSector, trail: TrailTwin) -> str:
    by = asker(RECEIVER)
    look = await look_at_referral(REFERRAL, by, "care", sector.work)
    view = await shows(sector, trail)(look, lambda work: own_view(REFERRAL, by, work))
    return view.referral


async def test_a_look_is_asked_for_used_and_settled(sector: StoredSector, trail: TrailTwin) -> None:
    assert await show_it(sector, trail) == REFERRAL

    [asked] = trail.asked
    assert (asked.access.act, asked.access.purpose, asked.access.agency) == ("view", "care", RECEIVER)
    assert await used(sector) == 1
    [outcome] = await sector.reported()
    assert (outcome.result, outcome.intent) == ("released", 0)


async def test_the_permit_names_the_protocol_in_force(sector: StoredSector) -> None:
    protocol = a_protocol_current()
    await sector.work.register.keep(ProtocolCurrent, [protocol])
    await sector.work.views.save([folded(None, offered(protocol=protocol.hash))])

    look = await look_at_referral(REFERRAL, asker(RECEIVER), "care", sector.work)

    assert look.access.protocol is not None
    assert look.access.protocol.hash.hex() == protocol.hash


async def test_a_permit_serves_once(sector: StoredSector, trail: TrailTwin) -> None:
    assert await sector.work.reports.use(trail.trust.origin, 0)

    with pytest.raises(TrailUnavailable):
        await show_it(sector, trail)

    assert await sector.reported() == []


async def test_a_bad_permit_shows_nothing(sector: StoredSector, trail: TrailTwin) -> None:
    """What makes a permit bad, V1 to V7, stands in the suite of its checks."""

    def without_signature(answer: PermitAnswer) -> PermitAnswer:
        return answer.model_copy(update={"permit": answer.permit.model_copy(update={"sig": bytes(64)})})

    trail.spoil = without_signature

    with pytest.raises(TrailUnavailable):
        await show_it(sector, trail)

    assert await used(sector) == 0


async def test_the_answer_to_another_request_shows_nothing(sector: StoredSector, trail: TrailTwin) -> None:
    kept: list[PermitAnswer] = []
    trail.spoil = lambda answer: kept.append(answer) or answer  # type: ignore[func-returns-value]
    await show_it(sector, trail)
    trail.spoil = lambda _: kept[0]  # V3

    with pytest.raises(TrailUnavailable):
        await show_it(sector, trail)


async def test_a_tree_that_went_back_shows_nothing(sector: StoredSector, trail: TrailTwin) -> None:
    show = shows(sector, trail)
    look = look_at_list("awaits_agency", [Item(subject=REFERRAL, referral=REFERRAL)], asker(RECEIVER), "care")

    async def load(_: Work) -> int:
        return 1

    assert await show(look, load) == 1
    show._client = TrailTwin(HERE).client()  # V7: with the same keys, and a younger tree

    with pytest.raises(TrailUnavailable):
        await show(look_at_list("awaits_agency", [], asker(RECEIVER), "care"), load)


async def test_after_a_restart_too_and_it_is_said_until_the_log_is_whole(
    sector: StoredSector, trail: TrailTwin, tmp_path: Path
) -> None:
    file, look = tmp_path / "log_size", look_at_list("awaits_agency", [], asker(RECEIVER), "care")

    async def load(_: Work) -> int:
        return 1

    async def looked(twin: TrailTwin) -> tuple[bool, list[str]]:
        """Whether a service that starts now shows something, and what it says then."""
        show = Permits(twin.client(), audience=HERE, trust=trail.trust, open_work=sector.open, size_file=file)
        try:
            return await show(look, load) == 1, [alarm.rule for alarm in show.alarms()]
        except TrailUnavailable:
            return False, [alarm.rule for alarm in show.alarms()]

    for _ in range(3):
        await looked(trail)
    kept, at = file.read_text(), file.stat().st_mtime_ns

    assert await looked(TrailTwin(HERE)) == (False, ["trail_went_back"])
    assert (file.read_text(), file.stat().st_mtime_ns) == (kept, at) == (f"{trail.trust.origin} 2\n", at)
    assert await looked(trail) == (True, [])


async def test_without_room_for_what_becomes_of_a_look_none_is_begun(
    sector: StoredSector, trail: TrailTwin
) -> None:
    show = Permits(
        trail.client(),
        audience=HERE,
        trust=trail.trust,
        open_work=sector.open,
        has_room=lambda: False,
    )

    async def load(_: Work) -> int:
        return 1

    with pytest.raises(TrailUnavailable):
        await show(look_at_list("awaits_agency", [], asker(RECEIVER), "care"), load)

    assert trail.asked == []


@pytest.mark.parametrize("status", [503, 409])
async def test_what_may_pass_is_asked_again_under_the_same_idem(
    sector: StoredSector, trail: TrailTwin, status: int
) -> None:
    trail.statuses = [status, status]

    assert await show_it(sector, trail) == REFERRAL

    assert len(trail.asked) == ATTEMPTS_MAX
    assert len({(asked.idem, asked.nonce) for asked in trail.asked}) == 1


@pytest.mark.parametrize("status", [400, 403, 410, 422, 429, 500])
async def test_a_denial_is_final(sector: StoredSector, trail: TrailTwin, status: int) -> None:
    trail.statuses = [status]

    with pytest.raises(TrailUnavailable):
        await show_it(sector, trail)

    assert len(trail.asked) == 1
    assert await sector.reported() == []


@pytest.mark.parametrize(
    "answer", [httpx2.ConnectError("down"), b"no json", b"{}"], ids=["down", "bytes", "empty"]
)
async def test_a_trail_that_is_down_or_babbles_shows_nothing(sector: StoredSector, answer: Any) -> None:
    def reply(_request: httpx2.Request) -> httpx2.Response:
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(201, content=answer)

    twin = TrailTwin(HERE)
    client = httpx2.AsyncClient(base_url="https://trail.example", transport=httpx2.MockTransport(reply))
    show = Permits(client, audience=HERE, trust=twin.trust, open_work=sector.open)

    async def load(_: Work) -> None:
        raise AssertionError("nothing may be read")

    with pytest.raises(TrailUnavailable):
        await show(look_at_list("awaits_agency", [], asker(RECEIVER), "care"), load)


async def test_an_empty_worklist_is_looked_at_all_the_same(sector: StoredSector, trail: TrailTwin) -> None:
    async def load(_: Work) -> list[str]:
        return []

    assert await shows(sector, trail)(look_at_list("awaits_agency", [], asker(RECEIVER), "care"), load) == []

    [asked] = trail.asked
    assert (asked.access.act, asked.items) == ("list", ())


async def test_what_is_foreign_or_unknown_is_not_even_asked_for(sector: StoredSector) -> None:
    with pytest.raises(NotFound):
        await look_at_referral(REFERRAL, asker(STRANGER), "care", sector.work)
    with pytest.raises(NotFound):
        await look_at_case(an_id("case"), asker(RECEIVER), "care", sector.work)
