"""Packet keys at their agency's sector: what is registered, seen, refused and taken back, over HTTP."""

import hashlib
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.wire.hpke import new_pair
from schemas.wire.key_records import KeyRecord, sign_key_record
from services.sector.handlers.keys import KEYS_PER_AGENCY_MAX
from tests.integration.test_sector_api import OTHER, OWN, Scene
from tests.support.clock import NOON
from tests.support.sector import StoredSector

DAY = timedelta(days=1)
Json = dict[str, Any]


class Keys:
    """The keys' routes of one sector, for two of its agencies."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    async def ask(self, method: str, key: str = "", body: Any = None, **who: str) -> httpx2.Response:
        agency, role = who.get("agency", OWN), who.get("role", "coordinator")
        headers = {"Authorization": f"Bearer {self.scene.token(agency, role=role)}"}
        path = f"/v1/keys/{key}" if key else "/v1/keys"
        return await self.scene.client.request(method, path, json=body, headers=headers)

    async def put(self, record: Json, **who: str) -> httpx2.Response:
        return await self.ask("PUT", record["key"], record, **who)


@pytest.fixture
async def keys(sector: StoredSector) -> Keys:
    for agency in (OWN, OTHER):
        await sector.admit(agency, sector=sector.profile.name)
    return Keys(Scene(sector))


def a_record(holder: str = OWN, by: str = "", suite: int = 2, **changes: Any) -> Json:
    """A fresh key, signed by its holder's admitted key unless another one signs."""
    seed = hashlib.sha256((by or holder).encode()).digest()
    content: Json = {
        "suite": suite,
        "public": new_pair(suite)[1],
        "not_before": NOON,
        "not_after": NOON + DAY,
    }
    record = sign_key_record(Ed25519PrivateKey.from_private_bytes(seed), holder=holder, **content | changes)
    return record.model_dump(mode="json")


async def test_an_agency_registers_its_keys_and_sees_its_own_alone(keys: Keys) -> None:
    first, second = a_record(suite=1), a_record(not_before=NOON + DAY, not_after=NOON + 90 * DAY)

    put = [await keys.put(first), await keys.put(second), await keys.put(first)]
    await keys.put(a_record(OTHER), agency=OTHER)
    listed = await keys.ask("GET")

    assert [one.status_code for one in put] == [200] * 3
    assert put[0].json() == put[2].json() == {"record": first, "is_revoked": False}
    assert [one["record"] for one in listed.json()["data"]] == [second, first]


async def test_a_key_that_was_taken_back_stays_so(keys: Keys) -> None:
    record = a_record()
    await keys.put(record)

    foreign = await keys.ask("DELETE", record["key"], agency=OTHER)
    revoked = await keys.ask("DELETE", record["key"])
    again = await keys.put(record)

    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
    assert revoked.json() == again.json() == {"record": record, "is_revoked": True}


REFUSED: list[tuple[Json, str]] = [
    (a_record(OTHER), "key_of_another_agency"),
    (a_record(by=OTHER), "key_record_unsigned"),
    (a_record(not_before=NOON - DAY, not_after=NOON), "key_not_valid_now"),
    (a_record(not_before=NOON + 91 * DAY, not_after=NOON + 92 * DAY), "key_not_valid_now"),
]
INVALID: list[tuple[Json, str]] = [
    (a_record() | {"public": a_record()["public"]}, "weak_key"),
    (a_record() | {"planted": "planted"}, "extra_forbidden"),
]


@pytest.mark.parametrize(("record", "code"), REFUSED)
async def test_a_record_that_does_not_stand_is_refused_by_its_code(
    keys: Keys, record: Json, code: str
) -> None:
    answer = await keys.put(record)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert (await keys.ask("GET")).json()["data"] == []


@pytest.mark.parametrize(("record", "detail"), INVALID)
async def test_a_record_that_is_none_is_refused_by_its_fault_and_never_echoed(
    keys: Keys, record: Json, detail: str
) -> None:
    answer = await keys.put(record)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert detail in [one["detail"] for one in answer.json()["errors"]]
    assert "lanted" not in answer.text


async def test_a_key_has_one_record_and_an_address_of_its_own(keys: Keys) -> None:
    record = a_record()
    await keys.put(record)
    public = KeyRecord.model_validate(record).public

    other_time = await keys.put(a_record(public=public, not_after=NOON + 2 * DAY))
    other_agency = await keys.put(a_record(OTHER, public=public), agency=OTHER)
    other_place = await keys.ask("PUT", a_record()["key"], record)

    answers = [(one.status_code, one.json()["code"]) for one in (other_time, other_agency, other_place)]
    assert answers == [(409, "key_registered"), (409, "key_registered"), (422, "other_key")]


async def test_keys_do_not_grow_without_end(keys: Keys) -> None:
    answers = [await keys.put(a_record(suite=1)) for _ in range(KEYS_PER_AGENCY_MAX + 1)]

    assert {one.status_code for one in answers[:-1]} == {200}
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (409, "too_many_keys")


async def test_only_who_arranges_things_at_an_active_agency_of_the_sector_registers(
    keys: Keys, sector: StoredSector
) -> None:
    record = a_record()
    await keys.put(record)
    nurse = await keys.put(a_record(), role="nurse")
    stranger = await keys.put(a_record("nowhere-agency"), agency="nowhere-agency")
    await sector.suspend(OWN)
    suspended = await keys.put(a_record())
    revoked = await keys.ask("DELETE", record["key"])

    assert [(one.status_code, one.json()["code"]) for one in (nurse, stranger, suspended)] == [
        (403, "role_forbids"), (403, "agency_not_admitted"), (403, "agency_inactive"),
    ]  # fmt: skip
    assert revoked.json()["is_revoked"]
