"""The way back of a trail on its database alone: on a new machine, and for what no signed size tells of."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from deploy.local import log_recovery
from deploy.local.configuration import ExternalDatabase
from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from deploy.local.places import make_directory, write_private
from deploy.local.provisioning import check_high_water
from deploy.local.refusals import CannotRun
from schemas.trail.notes import Checkpoint, Signer, checkpoint_text, signed_note
from schemas.trail.tree import Tree, leaf_hash
from tests.support.platform import Space
from tests.unit.deploy.test_backups import an_installation

SIZE = 3
LEAVES = [bytes([number]) * 52 for number in range(SIZE)]
ALL = "SELECT id, number, wrapped FROM subject ORDER BY id"


@pytest.fixture
def its(space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation whose server has this space's trail."""
    url = space.platform.servers.database_url
    password = tmp_path / "password"
    password.write_text(str(url.password))
    address = url.set(drivername="postgresql", password=None).render_as_string()
    audit = DATABASES["audit"]._replace(name=space.database_name("audit"))
    monkeypatch.setitem(DATABASES, "audit", audit)
    monkeypatch.setattr(log_recovery, "AUDIT", audit)
    server = ExternalDatabase(url=address, password_file=password)
    return an_installation(tmp_path / "data", database=server)


async def sql(
    its: Installation, statement: str, *arguments: Any, beside: str = "{}"
) -> list[tuple[Any, ...]]:
    async with its.server.connection(beside.format(DATABASES["audit"].name)) as connection:
        return [tuple(row) for row in await connection.fetch(statement, *arguments)]


async def signed(its: Installation) -> Checkpoint:
    """A log of three entries and one subject, all of it signed."""
    origin, tree = its.configuration.origin, Tree()
    tree.extend([leaf_hash(one) for one in LEAVES])
    head = Checkpoint(origin, SIZE, tree.root())
    signer = Signer.from_seed(origin, b64decode(its.secrets.key_file("log").read_text()))
    for table in ("checkpoint", "entry", "tile", "log_state", "subject"):
        await sql(its, f"DELETE FROM {table}")
    await sql(its, "INSERT INTO log_state VALUES ($1, 1, $2, $3, $2, $3)", origin, SIZE, head.root)
    for index, leaf in enumerate(LEAVES):
        insert = "INSERT INTO entry (log, idx, leaf, key, detail_ct) VALUES ($1, $2, $3, 'k', '')"
        await sql(its, insert, origin, index, leaf)
    note = signed_note(checkpoint_text(head), signer)
    await sql(its, "INSERT INTO checkpoint VALUES ($1, $2, $3, $4)", origin, SIZE, head.root, note)
    await sql(
        its, "INSERT INTO subject VALUES ('ref_a', 'health', 'r', 'k', 2), ('ref_b', 'health', 'r', 'k', 2)"
    )
    return head


async def test_on_a_new_machine_without_the_signers_mark_a_start_is_refused_until_another_log_begins(
    its: Installation,
) -> None:
    head = await signed(its)

    with pytest.raises(CannotRun, match="concert trail recover"):
        await check_high_water(its)
    found = await log_recovery.plan(its)
    assert (found.way, found.signed, found.kept) == ("new_log", SIZE, SIZE)
    assert its.configuration.origin == head.origin, "a plan changes nothing"
    await log_recovery.DO[found.way](its, found)

    await check_high_water(its)
    assert its.configuration.origin == f"{head.origin}-2"
    assert {number for _, number, _ in await sql(its, ALL)} == {2 + log_recovery.UNSIGNED_MOST}
    assert len(await sql(its, "SELECT FROM entry WHERE log = $1", head.origin)) == SIZE


async def test_who_was_registered_after_the_last_entry_comes_back_from_what_was_put_aside(
    its: Installation, space: Space
) -> None:
    head = await signed(its)
    write_private(make_directory(its.high_water_file.parent) / "high_water", checkpoint_text(head))
    own, platform = DATABASES["audit"].name, space.platform
    platform.loop.call(platform.make_database(f"{own}_replaced", "audit", own))
    await sql(its, "INSERT INTO subject VALUES ('ref_c', 'health', 'r', 'k', 0)", beside="{}_replaced")
    await sql(its, "UPDATE subject SET wrapped = '' WHERE id = 'ref_a'", beside="{}_replaced")
    await sql(its, "UPDATE subject SET wrapped = '' WHERE id = 'ref_b'")
    await check_high_water(its)  # nobody else sees that somebody is missing

    found = await log_recovery.plan(its)
    await log_recovery.DO[found.way](its, found)

    assert found.way == "none"
    assert await sql(its, ALL) == [("ref_a", 2, b""), ("ref_b", 2, b""), ("ref_c", 0, b"k")]
    platform.loop.call(platform.drop_database(f"{own}_replaced"))
