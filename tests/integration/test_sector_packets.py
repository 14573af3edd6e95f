"""Writing a packet on a sector's real stores: sealed at once, all groups there, nothing said kept."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.events.packet import GROUPS, PacketClinical, PacketContact
from schemas.wire.hpke import new_pair
from schemas.wire.packets import IntakeKey, decrypt_group
from schemas.wire.signed import sign
from services.runtime.errors import NotFound
from services.sector.domain import packets
from services.sector.domain.refusals import IntakeMissing, TooManyVersions
from services.sector.handlers.packets import write_group
from tests.support.builders import STRANGER
from tests.support.intake import an_intake_key, unwrapped
from tests.support.scenes import a_case, asker
from tests.support.sector import StoredSector

CLINICAL = PacketClinical(injuries="canary-7731 of the left wrist", pep="given")

READABLE = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND has_table_privilege(tablename, 'SELECT')"""


async def opened(sector: StoredSector, packet: str, group: str) -> Any:
    """What the vault would read of the newest version."""
    [row] = await sector.work.packets.newest(packet, [group])
    place = row.wrap.packet_place(sector.profile.name, packet, row.agency, row.schema_name)
    content = decrypt_group(place, unwrapped(sector.profile.name, row.wrap), row.ct, row.kc)
    return json.loads(content)


async def test_the_first_write_seals_all_groups_and_a_second_one_its_own(sector: StoredSector) -> None:
    case = await a_case(sector)
    packet = (await sector.work.cases.find(case, asker().agency)).packet

    first = await write_group("clinical", CLINICAL, case, asker(), sector.work)
    second = await write_group("contact", PacketContact(), case, asker(), sector.work)
    third = await write_group("clinical", CLINICAL, case, asker(), sector.work)

    assert [answer.body["version"] for answer in (first, second, third)] == [1, 2, 2]
    versions = await sector.work.packets.versions(packet)
    assert versions == dict.fromkeys(GROUPS, 1) | {"contact": 2, "clinical": 2}
    assert await opened(sector, packet, "clinical") == {"injuries": CLINICAL.injuries, "pep": "given"}
    assert await opened(sector, packet, "legal") == {}


async def test_nothing_that_was_said_stands_in_a_table_or_an_answer(sector: StoredSector) -> None:
    case = await a_case(sector)

    answer = await write_group("clinical", CLINICAL, case, asker(), sector.work)

    tables = await sector.rows(READABLE)
    rows = [row for one in tables for row in await sector.rows(f"SELECT t::text FROM {one.tablename} t")]
    assert rows
    spelled = ("canary", b"canary".hex())
    assert not [row for row in (*rows, answer) if any(one in str(row) for one in spelled)]
    assert "canary" not in repr(CLINICAL)


async def test_a_strangers_case_is_not_there(sector: StoredSector) -> None:
    case = await a_case(sector)

    with pytest.raises(NotFound):
        await write_group("clinical", CLINICAL, case, asker(STRANGER), sector.work)


FOREIGN = sign(
    an_intake_key("social_services").model_copy(update={"public": new_pair(1)[1]}),
    Ed25519PrivateKey.from_private_bytes(b"f" * 32),
)
ALTERED = an_intake_key("social_services").model_copy(update={"public": new_pair(1)[1]})


@pytest.mark.parametrize("kept", [None, FOREIGN, ALTERED], ids=["none", "another vault's", "altered"])
async def test_without_a_key_of_its_own_vault_nothing_is_sealed(
    sector: StoredSector, kept: IntakeKey | None
) -> None:
    case = await a_case(sector)
    await sector.rows("UPDATE intake_key SET not_after = not_before")
    await sector.work.packets.keep_intake([kept] if kept else [])

    with pytest.raises(IntakeMissing):
        await write_group("clinical", CLINICAL, case, asker(), sector.work)

    assert not await sector.rows("SELECT 1 FROM packet_group")


async def test_versions_of_a_group_are_counted(sector: StoredSector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "VERSIONS_MAX", 1)
    case = await a_case(sector)
    await write_group("clinical", CLINICAL, case, asker(), sector.work)

    with pytest.raises(TooManyVersions):
        await write_group("clinical", CLINICAL, case, asker(), sector.work)
