"""Governance on its internal port: what the operator hands in is kept and published together, or refused."""

import asyncio
import base64
import json
import re
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from deploy.local import control
from schemas.events.governance import AgencyCurrent, ServiceCurrent
from schemas.topics import GOVERNANCE_STATE
from schemas.wire.body import key_of
from schemas.wire.envelope import ReadEvent, read
from services.governance.domain.founding import FoundingAct
from services.governance.wiring import wire
from services.runtime.clock import SystemClock
from services.runtime.database import Database
from services.runtime.peers import internal_client
from services.runtime.process import running
from services.runtime.settings import PortSettings
from tests.support.builders import a_service, an_agency
from tests.support.commands import CommandResult, run_command
from tests.support.governance import HOLDERS, KEYS_TEXT, STRANGER_TO_ALL, signed
from tests.support.kafka import a_bare_reader
from tests.support.partnership import partnership_settings
from tests.support.platform import CELL, Space
from tests.support.ports import free_port
from tests.support.stage import a_founding, described
from tests.support.waiting import until

PARTNERS = {
    **dict.fromkeys(
        (
            *(f"agency-{name}" for name in ("one", "two", "next", "new", "locked", "bad", "by-service")),
            *("signed-one", "signed-two", "keys-old", "keys-new", "keys-own", "keys-other", "org-old"),
            *(f"{name}-race-{number}" for name in ("keys", "org") for number in range(4)),
            *("cli-one", "cli-two", "cli-other"),
        ),
        "health",
    ),
    "org-new": "police",
}
"""Whom the founding act admits: agencies that these tests publish, each with its sector."""


@pytest.fixture(scope="module")
async def holder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A third holder, who made their key by the command: the private file, and the public line."""
    file = tmp_path_factory.mktemp("holder") / "holder.key"
    created = await run_command("governance", "keys", "create", file)
    return file, json.loads(created.out)


@pytest.fixture(scope="module")
async def address(space: Space, holder: tuple[Path, dict[str, str]]) -> AsyncIterator[str]:
    port = free_port()
    settings = partnership_settings(space, ports=PortSettings(internal=port))
    pinned = holder[0].with_name("governance.json")
    first_two = dict(list(json.loads(KEYS_TEXT).items())[:2])
    pinned.write_text(json.dumps(first_two | holder[1]))
    settings = settings.model_copy(update={"governance_keys_file": pinned})
    async with running("governance", settings, wire):
        address = f"https://127.0.0.1:{port}"
        async with internal_client(space.tls_settings("operator"), "governance", base_url=address) as client:
            founding = signed(FoundingAct.model_validate(founding_of(PARTNERS)))
            answer = await client.put("/v1/founding", json=founding.model_dump(mode="json"))
        assert answer.status_code == 200, answer.text
        yield address


@pytest.fixture
async def operator(space: Space, address: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with internal_client(space.tls_settings("operator"), "governance", base_url=address) as client:
        yield client


def founding_of(partners: Mapping[str, str]) -> dict[str, Any]:
    """Five founders, and these partners besides, each with its sector."""
    begun = a_founding(at=SystemClock().now() - timedelta(days=1))
    more = [{"id": name, **described("sector_agency", sector=sector)} for name, sector in partners.items()]
    return begun | {"partners": [*begun["partners"], *more]}


def agency(name: str, **changes: Any) -> dict[str, Any]:
    return an_agency(name, **changes).model_dump(mode="json")


async def admit(client: httpx2.AsyncClient, name: str, **changes: Any) -> httpx2.Response:
    return await client.put(f"/v1/agencies/{name}", json=agency(name, **changes))


async def events_about(space: Space, name: str, count: int) -> list[ReadEvent[Any]]:
    """The first so many events of one key, as a reader of the topic gets them."""
    topic, partitions = GOVERNANCE_STATE.name(space.namespace), range(GOVERNANCE_STATE.partitions_local)
    found: list[ReadEvent[Any]] = []
    async with a_bare_reader(space, "health", topic, partitions) as consumer, asyncio.timeout(30):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [_read(record) for record in records if record.key == name.encode()]
    return found


def _read(record: Any) -> ReadEvent[Any]:
    return read(GOVERNANCE_STATE, record.headers, record.key, record.value, cell=CELL, mode="local")


async def outgoing(space: Space, name: str) -> int:
    async with space.transaction("governance") as transaction:
        rows = await transaction.rows(
            "SELECT key FROM outbox WHERE key = :key AND topic = :topic"
            " UNION ALL SELECT key FROM outbox_sent WHERE key = :key AND topic = :topic",
            key=name.encode(),
            topic=GOVERNANCE_STATE.name(space.namespace),
        )
    return len(rows)


async def test_an_agency_is_published_with_each_of_its_versions(
    space: Space, operator: httpx2.AsyncClient
) -> None:
    first = await admit(operator, "agency-one")
    second = await admit(operator, "agency-one", version=2, status="suspended")

    assert [first.status_code, second.status_code] == [200, 200]
    assert first.json()["is_news"]
    assert first.json()["hash"] != second.json()["hash"]
    events = await events_about(space, "agency-one", 2)
    assert [event.body for event in events] == [
        AgencyCurrent.model_validate(agency("agency-one")),
        AgencyCurrent.model_validate(agency("agency-one", version=2, status="suspended")),
    ]
    assert [event.sequence for event in events] == [1, 2]


async def test_what_is_no_next_version_changes_and_publishes_nothing(
    space: Space, operator: httpx2.AsyncClient
) -> None:
    await admit(operator, "agency-next")

    again = await admit(operator, "agency-next")
    ahead = [
        await admit(operator, "agency-next", status="suspended"),
        await admit(operator, "agency-next", version=3),
        await admit(operator, "agency-new", version=2),
    ]

    assert (again.status_code, again.json()["is_news"]) == (200, False)
    assert [(one.status_code, one.json()["code"]) for one in ahead] == [(409, "version_not_next")] * 3
    assert [await outgoing(space, name) for name in ("agency-next", "agency-new")] == [1, 0]
    listed = (await operator.get("/v1/agencies")).json()["data"]
    assert agency("agency-next") in [entry["content"] for entry in listed]


async def test_whoever_looks_at_an_id_keeps_others_from_adding_a_version(
    space: Space, operator: httpx2.AsyncClient
) -> None:
    await admit(operator, "agency-locked")
    database = space.database_as_admin("governance")
    async with asyncio.TaskGroup() as group, database.transaction() as first:
        await first.run("SELECT pg_advisory_xact_lock(hashtextextended('agency-locked', 0))")
        second = group.create_task(admit(operator, "agency-locked", version=2))
        await until(lambda: _is_waiting(database))
        waited = not second.done()
    await database.close()

    assert waited
    assert second.result().json()["is_news"]


async def _is_waiting(database: Database) -> bool:
    async with database.transaction() as transaction:
        found = await transaction.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return bool(found)


async def test_only_what_two_holders_signed_is_published_and_a_suspension_at_once(
    space: Space, operator: httpx2.AsyncClient
) -> None:
    async def put(body: AgencyCurrent | ServiceCurrent, kind: str = "agencies") -> tuple[int, str | None]:
        answer = await operator.put(f"/v1/{kind}/{key_of(body)}", json=body.model_dump(mode="json"))
        return answer.status_code, answer.json().get("code")

    good, service = an_agency("signed-one"), a_service("police")
    unsigned = {"signatures": ()}
    suspended = good.model_copy(update={"version": 2, "status": "suspended"} | unsigned)
    sneaked = suspended.model_copy(update={"encryption_key": an_agency("signed-two").encryption_key})
    held = service.model_copy(update={"version": 2, "vault_key": good.signing_key})
    back = an_agency("signed-one", version=3)

    answers = [
        await put(good.model_copy(update=unsigned)),
        await put(signed(good, HOLDERS[0])),
        await put(signed(good, HOLDERS[0], STRANGER_TO_ALL)),
        await put(back.model_copy(update={"version": 1, "sector": "police"})),
        await put(suspended.model_copy(update={"version": 1})),
        await put(good),
        await put(sneaked),
        await put(suspended),
        await put(back.model_copy(update=unsigned)),
        await put(back),
        await put(service.model_copy(update=unsigned), "services"),
        await put(service, "services"),
        await put(signed(held), "services"),
    ]

    assert [code for _, code in answers] == [
        "unsigned", "signed_once", "key_not_pinned", "signature_mismatch", "unsigned", None, "unsigned", None,
        "unsigned", None, "unsigned", None, "key_in_use",
    ]  # fmt: skip
    assert await outgoing(space, "signed-one") == 3
    assert await outgoing(space, "police") == 1
    listed = (await operator.get("/v1/services")).json()["data"]
    assert [row["content"] for row in listed if row["id"] == "police"] == [service.model_dump(mode="json")]


async def test_a_key_that_another_holds_or_held_is_not_admitted(
    space: Space, operator: httpx2.AsyncClient
) -> None:
    old, new = an_agency("keys-old"), an_agency("keys-new")
    fresh = {"signing_key": new.signing_key, "encryption_key": new.encryption_key}
    admitted = [await admit(operator, "keys-own"), await admit(operator, "keys-own", version=2, **fresh)]

    own = an_agency("keys-own")
    answers = [
        await admit(operator, "keys-other", signing_key=own.signing_key),
        await admit(operator, "keys-other", encryption_key=own.signing_key.replace("ed25519", "x25519")),
        await admit(operator, "keys-other", encryption_key=new.encryption_key),
    ]
    back = await admit(operator, "keys-own", version=3)
    raced = await asyncio.gather(
        *(admit(operator, f"keys-race-{n}", signing_key=old.signing_key) for n in range(4))
    )

    assert [one.status_code for one in (*admitted, back)] == [200] * 3
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(409, "key_in_use")] * 3
    assert await outgoing(space, "keys-other") == 0
    assert sorted(one.status_code for one in raced) == [200, 409, 409, 409]


async def test_an_organization_has_one_active_agency(space: Space, operator: httpx2.AsyncClient) -> None:
    organization = an_agency("org-old").organization
    await admit(operator, "org-old")

    answers = [
        await admit(operator, "org-new", organization=organization, sector="police"),
        await admit(operator, "org-old", version=2, status="suspended"),
        await admit(operator, "org-new", organization=organization, sector="police"),
        await admit(operator, "org-old", version=3),
        await admit(operator, "org-old", version=3, sector="police", status="suspended"),
        await admit(operator, "org-old", version=3, status="suspended"),
    ]
    raced = await asyncio.gather(
        *(admit(operator, f"org-race-{n}", organization=an_agency("org-race").organization) for n in range(4))
    )

    assert [(one.status_code, one.json().get("code")) for one in answers] == [
        (409, "organization_in_use"), (200, None), (200, None), (409, "organization_in_use"),
        (409, "sector_fixed"), (200, None),
    ]  # fmt: skip
    assert await outgoing(space, "org-old") == 3
    assert sorted(one.status_code for one in raced) == [200, 409, 409, 409]


async def test_only_a_partner_is_admitted_as_an_agency_and_in_its_own_sector_alone(
    space: Space, operator: httpx2.AsyncClient
) -> None:
    answers = [
        await admit(operator, "no-partner"),
        await admit(operator, "un-office"),
        await admit(operator, "agency-two", sector="police"),
    ]

    assert [(one.status_code, one.json()["code"]) for one in answers] == [(422, "agency_no_partner")] * 3
    assert await outgoing(space, "agency-two") == 0
    assert (await admit(operator, "agency-two")).json()["is_news"]


async def test_bad_input_is_refused_by_name_and_never_echoed(operator: httpx2.AsyncClient) -> None:
    good = agency("agency-bad")

    answers = [
        await operator.put("/v1/agencies/agency-bad", json={**good, "note": "planted"}),
        await operator.put("/v1/agencies/agency-bad", json={**good, "signing_key": "planted"}),
        await operator.put("/v1/agencies/Planted!", json=good),
        await operator.put("/v1/agencies/agency-bad", json={**good, "sector": "press"}),
        await operator.put("/v1/agencies/agency-other", json=good),
    ]

    codes = [*["invalid"] * 3, "unknown_sector", "other_id"]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (422, code) for code in codes
    ]
    assert not [answer for answer in answers if "lanted" in answer.text]


async def test_a_service_may_read_and_not_write(space: Space, address: str) -> None:
    async with internal_client(space.tls_settings("health"), "governance", base_url=address) as service:
        answers = [await admit(service, "agency-by-service"), await service.put("/v1/founding", json={})]
        listed = await service.get("/v1/agencies")

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "operator_only")] * 2
    assert listed.status_code == 200
    assert "agency-by-service" not in listed.text


@pytest.fixture
def data(space: Space, address: str, tmp_path: Path) -> Iterator[Path]:
    """A data directory in which the command finds this governance running."""
    space.tls_settings("operator")
    (tmp_path / "certificates").symlink_to(space.platform.certificates.folder)
    with control.locked(tmp_path / "run"):
        control.write_state(
            tmp_path / "run", {"ports": {"governance_internal": int(address.rpartition(":")[2])}}
        )
        yield tmp_path


def a_file(folder: Path, content: str) -> Path:
    file = folder / "document.json"
    file.write_text(content)
    return file


async def test_the_command_hands_in_what_two_holders_signed_on_files(
    data: Path, holder: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def run(noun: str, verb: str, *more: object) -> CommandResult:
        return await run_command(noun, verb, *more, "--data", data)

    assert (await run("agencies", "admit", a_file(data, json.dumps(agency("cli-one"))))).code == 0
    again = await run("agencies", "admit", a_file(data, json.dumps(agency("cli-one"))))
    file = a_file(data, an_agency("cli-two").model_dump_json(exclude={"signatures"}))
    other = tmp_path_factory.mktemp("other") / "other.key"
    other.write_text(base64.b64encode(HOLDERS[0].private_bytes_raw()).decode())
    sign = ("governance", "keys", "sign", file, "--key")
    signed_once = await run_command(*sign, holder[0], "--json")
    refused = [await run_command(*sign, holder[0]), await run("agencies", "admit", file)]
    await run_command(*sign, other)
    published = await run("agencies", "admit", file, "--json")
    listed = [(await run(noun, "list")).out for noun in ("agencies", "protocols")]

    assert "nothing changed" in again.out
    assert stat.S_IMODE(holder[0].stat().st_mode) == 0o600
    assert json.loads(signed_once.out)["hash"] == json.loads(published.out)["hash"]
    assert ["by this key already" in refused[0].err, "signed_once" in refused[1].err] == [True, True]
    assert published.code == 0
    assert json.loads(published.out)["is_news"]
    assert "cli-one\t1\thealth\tactive" in listed[0]
    assert listed[1] == "id\tversion\tvalid_from\tvalid_until\n"


async def test_the_command_hands_in_a_founding_act_and_nothing_is_founded_twice(
    data: Path, holder: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "other.key"
    other.write_text(base64.b64encode(HOLDERS[1].private_bytes_raw()).decode())
    file = a_file(data, json.dumps(a_founding(SystemClock().now())))

    for key in (other, holder[0]):
        done = await run_command("governance", "keys", "sign", file, "--key", key)
    refused = await run_command("governance", "found", file, "--data", data)

    assert f"`concert governance found {file}`" in done.err
    assert (refused.code, "founded_already" in refused.err) == (5, True)


async def test_a_service_is_drafted_signed_by_two_and_published_once(
    data: Path, holder: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "other.key"
    other.write_text(base64.b64encode(HOLDERS[1].private_bytes_raw()).decode())

    drafted = await run_command("services", "draft", "education", "--data", data)
    file = a_file(data, drafted.out)
    for key in (other, holder[0]):
        assert (await run_command("governance", "keys", "sign", file, "--key", key)).code == 0
    published = await run_command("services", "publish", file, "--data", data)
    again = await run_command("services", "draft", "education", "--data", data)
    listed = await run_command("services", "list", "--data", data)

    assert published.out.startswith("Service education, version 1, hash ")
    assert (again.code, again.out) == (1, "")
    assert "published as they are" in again.err
    assert json.loads(drafted.out)["vault_key"] in listed.out


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("", ""), 5, "version_not_next: "),
        (("active", "gone"), 1, "invalid: "),
        (("{", ""), 1, "must hold one JSON object"),
        (("}", ',"version":1}'), 1, "malformed: "),
    ],
)
async def test_the_command_says_in_a_sentence_what_is_wrong_and_how_it_ended(
    data: Path, change: tuple[str, str], code: int, said: str
) -> None:
    file = a_file(data, json.dumps(agency("cli-other", version=2)).replace(*change))

    result = await run_command("agencies", "admit", file, "--data", data)

    assert result.code == code
    assert re.fullmatch(f"concert: .*{re.escape(said)}.*", result.err.strip().splitlines()[-1])


async def test_what_the_partners_did_is_kept_from_the_topic_and_counted(
    space: Space, operator: httpx2.AsyncClient
) -> None:
    async def counted() -> list[Any]:
        async with space.transaction("governance") as transaction:
            rows = await transaction.rows("SELECT keys, count FROM figure WHERE part = 'committees'")
        return [tuple(row) for row in rows]

    assert await until(counted) == [(["constituted", "national"], 1)]
    first, again = [(await operator.post("/v1/figures/rebuild", json={})).json() for _ in range(2)]
    assert first["figures"] > 1
    assert first == again


async def test_the_command_says_that_nothing_runs_there(data: Path, tmp_path: Path) -> None:
    result = await run_command("agencies", "list", "--data", tmp_path / "nowhere")

    assert result.code == 1
    assert result.err.startswith("concert: Nothing runs in ")
