"""What she was promised, at a release: her no wins, her new home stays hidden, she is asked once."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from schemas.events.packet import PacketProtection
from schemas.events.referral import RedirectReferral, WithdrawReferral
from schemas.wire.packets import Release
from schemas.wire.topic import source_of
from services.runtime.errors import NotFound
from services.sector.api import release_app
from services.sector.domain.bodies import ErasureRequest, RedirectRequest
from services.sector.handlers import closures
from services.sector.handlers.packets import write_group
from services.sector.handlers.requests import ask_step
from services.sector.vault.requests import OpenRequest
from services.sector.vault_client import VaultClient
from services.social_services.profile import PROFILE
from tests.integration.test_sector_packets import READABLE
from tests.integration.test_sector_releases import in_danger, refused, withdraw
from tests.support.builders import OWNER, RECEIVER, SECTOR_OF, SERVICE, STRANGER
from tests.support.platform import Space
from tests.support.releases import SAFE, ReleaseScene
from tests.support.scenes import asker
from tests.support.sector import CELL, StoredSector
from tests.support.waiting import until


@pytest.fixture
def scene(sector: StoredSector, tmp_path: Path) -> ReleaseScene:
    return ReleaseScene(sector, tmp_path)


async def erase(scene: ReleaseScene, referral: str) -> None:
    """She wants her case erased: the row of the ledger stands, and nothing else is done yet."""
    case = (await scene.sector.view(OWNER, referral)).case or ""
    await closures.close_erased(case, ErasureRequest(duty="intake"), asker(), scene.sector.work)


CLOSING = {"withdrawn": withdraw, "erased": erase}


@pytest.mark.parametrize("close", CLOSING.values(), ids=CLOSING)
async def test_no_danger_opens_what_she_took_back_or_had_erased(
    scene: ReleaseScene, close: Callable[[ReleaseScene, str], Awaitable[None]]
) -> None:
    referral = await scene.prepare()
    pull = await in_danger(scene, referral)
    permitted = await scene.releases.permit(pull)
    await close(scene, referral)

    with pytest.raises(NotFound):
        await scene.releases.release(permitted, scene.take)

    assert scene.given == []
    assert await refused(scene, pull) is NotFound


RELEASERS = 8


@pytest.fixture
async def many(space: Space, tmp_path: Path) -> AsyncIterator[list[ReleaseScene]]:
    """One sector over many connections, each of whose transactions is a real one."""
    database = space.database_as_admin("education")
    async with AsyncExitStack() as opened:
        opened.push_async_callback(database.close)
        sessions = [await opened.enter_async_context(database.session()) for _ in range(RELEASERS + 1)]
        first, *others = [StoredSector(PROFILE, session) for session in sessions]
        await first.admit(*SECTOR_OF)
        scene = ReleaseScene(first, tmp_path)
        yield [scene, *(scene.beside(other) for other in others)]


async def close_wholly(scene: ReleaseScene, referral: str, kind: str) -> None:
    """Withdraw or erase as a request does: closed in one transaction, the rest in the next."""
    sector, by = scene.sector, asker()
    async with sector.open() as work:
        if kind == "erased":
            case = (await sector.view(OWNER, referral)).case or ""
            erasure = await closures.close_erased(case, ErasureRequest(duty="intake"), by, work)
        else:
            asked = WithdrawReferral(referral=referral, agency=OWNER, duty="intake")
            withdrawal = await closures.close_withdrawn(referral, asked, by, work)
    async with sector.open() as work:
        if kind == "erased":
            await closures.erase(erasure, work)
        elif withdrawal:
            await closures.withdraw(withdrawal, work)


async def test_no_release_in_danger_ends_after_she_took_back_or_had_erased(
    many: list[ReleaseScene], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in CLOSING:
        assert await ends_after_closing(many, kind, monkeypatch) == []


async def ends_after_closing(
    many: list[ReleaseScene], kind: str, monkeypatch: pytest.MonkeyPatch
) -> list[float]:
    """When releases ended after she was answered, many of them asked at once."""
    scene, *releasers = many
    referral = await scene.prepare()
    pull = await in_danger(scene, referral, referral=referral)
    ends: list[float] = []

    async def open_slowly(request: OpenRequest) -> Release:
        await asyncio.sleep(0.4)  # decided, and not yet written down; longer than closing alone would take
        return await VaultClient.open(scene.vault, request)

    async def hand_over(_content: bytes) -> None:
        ends.append(time.monotonic())

    monkeypatch.setattr(scene.vault, "open", open_slowly)

    async def look_on(one: ReleaseScene) -> None:
        with suppress(NotFound):
            while True:
                await one.releases.release(await one.releases.permit(pull), hand_over)

    async with asyncio.TaskGroup() as looking:
        for one in releasers:
            looking.create_task(look_on(one))
        await until(lambda: len(ends) >= RELEASERS)
        await close_wholly(scene, referral, kind)
        answered = time.monotonic()
    return [end for end in ends if end > answered]


async def moved_on(scene: ReleaseScene, referral: str, to: str) -> str:
    """The owner asks another service in place of the one that declined; gives the successor, accepted."""
    await scene.move(referral, "declined")
    asked = RedirectRequest(recipient=to, service=SERVICE, duty="intake")
    work = scene.sector.work
    reply = await ask_step(RedirectReferral, referral, asked, asker(), work, seen=None)
    successor = str(reply.body["successor"])
    await scene.accept(successor, to)
    return successor


async def test_harm_3_a_new_address_stands_nowhere_but_where_it_was_pulled(scene: ReleaseScene) -> None:
    referral = await scene.prepare(
        recipients=[RECEIVER, STRANGER], groups=["protection"], purposes=["care", "protection"],
        fields={STRANGER: ["protection.home"], RECEIVER: ["protection.home"]},
    )  # fmt: skip
    case = str((await scene.sector.view(OWNER, referral)).case)
    fled = PacketProtection(home="Tainted Lane 77")
    await write_group("protection", fled, case, asker(), scene.sector.work)

    clinic = await scene.released(scene.pull(referral, "protection"))
    successor = await moved_on(scene, referral, STRANGER)
    police = await scene.released(scene.pull(successor, "protection", by=STRANGER, purpose="protection"))

    assert police["protection"] == {"home": fled.home}
    assert clinic["protection"] == {}  # the matrix says never, whatever she named
    tables = await scene.sector.rows(READABLE)
    rows = [str(await scene.sector.rows(f"SELECT t::text FROM {one.tablename} t")) for one in tables]
    left = (*rows, *map(str, await scene.sector.sent()), *map(str, scene.trail.asked), str(scene.given))
    assert not [form for form in forms_of("Tainted Lane") if any(form in one for one in left)]


def forms_of(word: str) -> tuple[str, ...]:
    """A word as a text, a dump or a key would spell it."""
    plain = word.encode()
    return (
        word,
        plain.hex(),
        word.encode("utf-16-le").hex(),
        base64.b64encode(plain[: len(plain) // 3 * 3]).decode(),
    )


async def test_harm_22_the_next_service_reads_what_she_told_once_and_nobody_asks_her_again(
    scene: ReleaseScene,
) -> None:
    referral = await scene.prepare(recipients=[RECEIVER, STRANGER], purposes=["care", "protection"])
    view = await scene.sector.view(OWNER, referral)
    packet = (await scene.sector.work.cases.find(str(view.case), OWNER)).packet
    told = await scene.sector.work.packets.versions(packet)

    before = await scene.released(scene.pull(referral, "contact"))
    successor = await moved_on(scene, referral, STRANGER)
    after = await scene.released(scene.pull(successor, "contact", by=STRANGER, purpose="protection"))

    assert after == before
    assert after["contact"]["safe_contact"]["channels"] == SAFE["channels"]
    assert await scene.sector.work.packets.versions(packet) == told
    assert set(RedirectRequest.model_fields) == {"recipient", "service", "groups", "duty"}


def certified(app: FastAPI, name: str | None) -> httpx2.AsyncClient:
    """A client whose certificate bears that name."""
    certificate = {"subjectAltName": (("URI", name),)} if name else None

    async def shown(asked: Any, receive: Any, send: Any) -> None:
        await app({**asked, "extensions": {"peer_certificate": certificate}}, receive, send)

    return httpx2.AsyncClient(base_url="https://sector.example", transport=httpx2.ASGITransport(app=shown))


NOT_ITS_SECTOR = [source_of(CELL, name) for name in ("social_services", "referrals", "operator")]


async def test_only_the_recipients_own_sector_is_released_to(scene: ReleaseScene) -> None:
    referral = await scene.prepare()
    app = release_app(scene.releases, scene.sector.open, CELL, "tried")
    answers = {}
    for name in (*NOT_ITS_SECTOR, source_of("test-other", "health"), None, source_of(CELL, "health")):
        body = scene.pull(referral, "clinical").model_dump(mode="json", exclude_none=True)
        async with certified(app, name) as client:
            answers[name] = await client.post("/v1/releases", json=body)

    *others, own = answers.values()
    assert [one.json()["code"] for one in others] == ["sectors_only"] * 4 + ["not_found"]
    assert [one.status_code for one in others] == [403] * 4 + [404]
    assert own.status_code == 200, own.text
    assert len(scene.trail.asked) == 1
