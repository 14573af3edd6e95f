"""A vault looked after by its service, on real stores: keys adopted, and wrapped anew in a new epoch."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from structlog.testing import capture_logs

from schemas.events.access import EntryProof, ProofRequest, PublishedProofs
from schemas.events.consent import Closure
from schemas.trail.notes import Checkpoint, checkpoint_text, signed_note
from services.runtime.errors import NotFound
from services.sector import upkeep
from services.sector.ledger import LedgerKeeper
from services.sector.upkeep import VaultUpkeep
from tests.support.builders import an_id
from tests.support.releases import CONTENTS, ReleaseScene
from tests.support.sector import StoredSector
from tests.support.trail import ORIGIN, TrailTwin


@pytest.fixture
def scene(sector: StoredSector, tmp_path: Path) -> ReleaseScene:
    return ReleaseScene(sector, tmp_path)


async def epochs(scene: ReleaseScene) -> set[tuple[str, bool]]:
    rows = await scene.sector.rows("SELECT DISTINCT epoch, is_adopted FROM data_key")
    return {(row.epoch, row.is_adopted) for row in rows}


def upkeep_of(scene: ReleaseScene) -> VaultUpkeep:
    return VaultUpkeep(scene.vault, scene.trail.client(), scene.sector.open, scene.sector.clock)


async def swept(its: VaultUpkeep | LedgerKeeper) -> None:
    while await its.sweep():
        pass


async def test_a_week_begins_an_epoch_and_leaves_no_stored_key_under_an_older_one(
    scene: ReleaseScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "ADOPTED_AT_ONCE_MAX", 3)  # several rounds
    referral = await scene.prepare()
    its = upkeep_of(scene)
    assert {adopted for _, adopted in await epochs(scene)} == {False}

    await swept(its)
    assert await epochs(scene) == {("e1", True)}
    scene.sector.clock.forward(timedelta(days=7))
    await swept(its)

    assert await epochs(scene) == {("e2", True)}
    scene.sector.clock.forward(timedelta(days=28))
    await scene.vault.status()
    assert not (tmp_path / "e1.kek").exists()
    wraps = await scene.sector.rows("SELECT key, keyset FROM data_key")
    adopted = await scene.vault.rewrap(await scene.sector.work.packets.behind("none", "", 100))
    assert len(adopted) == len(wraps)
    assert None not in adopted
    scene.sector.clock.forward(timedelta(days=-35))
    assert (await scene.released(scene.pull(referral, "clinical")))["clinical"] == CONTENTS["clinical"]


def proving(trail: TrailTwin) -> httpx2.AsyncClient:
    """A client of a trail that has published all that it holds."""
    head = Checkpoint(ORIGIN, trail.tree.size, trail.tree.root())

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked = ProofRequest.model_validate_json(request.content)
        proofs = [
            EntryProof(index=index, path=tuple(trail.tree.inclusion_proof(index, head.size)))
            for index in asked.indexes
        ]
        note = signed_note(checkpoint_text(head), trail.log_key)
        published = PublishedProofs(checkpoint=note, proofs=tuple(proofs))
        return httpx2.Response(200, content=published.model_dump_json())

    return httpx2.AsyncClient(base_url="https://trail.example", transport=httpx2.MockTransport(answer))


async def test_a_vault_is_brought_proofs_of_what_it_released_upon(scene: ReleaseScene) -> None:
    referral = await scene.prepare()
    for _ in range(2):
        await scene.released(scene.pull(referral, "clinical"))
    owed = (await scene.vault.status())["unsettled"]

    await swept(VaultUpkeep(scene.vault, proving(scene.trail), scene.sector.open, scene.sector.clock))

    assert owed == [0, 1]
    assert (await scene.vault.status())["unsettled"] == []


async def test_what_is_closed_reaches_the_vault(scene: ReleaseScene) -> None:
    await scene.sector.work.closures.restore([closed_keyset(1), closed_keyset(2)], scene.sector.clock.now())

    await swept(LedgerKeeper(scene.vault, scene.sector.open))

    assert (await scene.vault.status())["ledger"] == 2


async def test_an_older_copy_of_the_database_opens_nothing_before_the_ledger_is_back_in_it(
    scene: ReleaseScene,
) -> None:
    referral = await scene.prepare()
    its, keeper = upkeep_of(scene), LedgerKeeper(scene.vault, scene.sector.open)
    await swept(its)
    keyset = (await scene.sector.rows("SELECT keyset FROM packet"))[0].keyset
    await scene.vault.closed([Closure(n=1, kind="keyset", id=keyset)], 1)  # the copy is from before

    assert await keeper.sweep()  # it is noticed, and the row is taken back
    await its.sweep()
    assert (await scene.vault.status())["closed"] == "ledger_behind"
    assert [one.where for one in its.alarms()] == ["ledger_behind"]
    await swept(keeper)
    await its.sweep()

    assert (await scene.vault.status())["closed"] is None
    assert not [*its.alarms()]
    assert await scene.sector.work.closures.closed_among([keyset]) == {keyset}
    with pytest.raises(NotFound):
        await scene.released(scene.pull(referral, "clinical"))


async def test_what_is_closed_while_the_vault_is_asked_was_never_lost(
    scene: ReleaseScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    closures, closed = scene.sector.work.closures, scene.vault.closed
    await closures.restore([closed_keyset(1)], scene.sector.clock.now())

    async def overtaken(rows: Sequence[Closure], newest: int) -> list[Closure]:
        monkeypatch.undo()
        await closures.restore([closed_keyset(2)], scene.sector.clock.now())
        await closed([closed_keyset(1), closed_keyset(2)], 2)
        return await closed(rows, newest)

    monkeypatch.setattr(scene.vault, "closed", overtaken)
    with capture_logs() as told:
        await swept(LedgerKeeper(scene.vault, scene.sector.open))

    assert "ledger_restored" not in {one["event"] for one in told}
    assert (await scene.vault.status())["closed"] is None


def closed_keyset(number: int) -> Closure:
    return Closure(n=number, kind="keyset", id=an_id("keyset", number))


async def test_the_intake_keys_of_a_new_epoch_are_fetched_at_once(scene: ReleaseScene) -> None:
    its = upkeep_of(scene)
    await its.sweep()
    await scene.vault.rotate()

    await its.sweep()

    kept = await scene.sector.rows("SELECT epoch FROM intake_key")
    assert {row.epoch for row in kept} >= {"e2", "e3"}
