"""The access trail when something breaks: kills, fences, lost connections, restored and edited databases."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import REGISTRY

from schemas.events.access import PermitRequest
from schemas.trail.bytes import decoded, encoded
from schemas.trail.notes import Checkpoint, Signer, checkpoint_text, signed_note
from schemas.trail.tree import EMPTY_ROOT
from services.audit.signer import CheckpointSigner, HighWater, SignerHalted
from services.audit.store import LogDatabase
from services.audit.verifier.check import Verdict, check
from services.audit.verifier.kit import DETAILS, Kit
from services.audit.wiring import wire, wire_signer
from services.cli.trail import download
from services.runtime.process import ServiceProcess, running
from tests.integration.test_audit_trail import (
    LIST,
    Trail,
    ask,
    permitted,
    register,
    request,
    told,
)
from tests.support.access import SUBJECT, an_access
from tests.support.builders import an_id
from tests.support.clock import StoppedClock
from tests.support.platform import Space
from tests.support.ports import free_port
from tests.support.processes import start_process
from tests.support.waiting import until


@pytest.fixture
def trail(space: Space, tmp_path: Path) -> Trail:
    """A log of its own for each test."""
    return Trail(space, tmp_path, f"audit.localhost/t{secrets.token_hex(4)}/2026")


@pytest.fixture
async def full(trail: Trail) -> AsyncIterator[Trail]:
    """A log that runs, has at least 32 entries, and has signed all of them."""
    async with trail.up():
        async with trail.client("health") as client:
            await until(lambda: _registered(client))
            for _ in range(20):
                await permitted(trail, client, request(an_access()))
            [head] = await sql(trail, "SELECT size FROM log_state WHERE log = :log")
            await until(lambda: signed_size(trail, max(32, head.size)))
        yield trail


async def _registered(client: httpx2.AsyncClient, subject: str = SUBJECT) -> bool:
    await register(client, subject)
    return (await ask(client, request(an_access(subject=subject)))).status_code == 201


async def signed_size(trail: Trail, least: int) -> bool:
    rows = await sql(trail, "SELECT coalesce(max(size), -1) AS size FROM checkpoint WHERE log = :log")
    return bool(rows[0].size >= least)


async def sql(trail: Trail, statement: str, **parameters: Any) -> Any:
    """Run SQL on the trail's database as its administrator; the log's name is `:log`."""
    database = trail.space.database_as_admin("audit")
    try:
        async with database.transaction() as transaction:
            if statement.startswith("SELECT"):
                return await transaction.rows(statement, log=trail.origin, **parameters)
            await transaction.run(statement, log=trail.origin, **parameters)
    finally:
        await database.close()


async def exported(trail: Trail, folder: Path, *, purpose: str | None = "oversight") -> Path:
    async with trail.client("operator") as client:
        await download(client, trail.log_key, folder, purpose=purpose)
    return folder


def verdict_on(folder: Path) -> Verdict:
    return check(Kit(folder), {SUBJECT: b"k" * 32})


async def test_an_export_is_sound_opens_every_entry_and_counts_without_a_gap(
    full: Trail, tmp_path: Path
) -> None:
    kit = await exported(full, tmp_path / "kit")
    verdict = verdict_on(kit)
    numbers = [detail["n"] for detail in opened(kit) if detail.get("subject") == SUBJECT]

    assert verdict.is_sound, verdict.failure
    assert verdict.checkpoint is not None
    assert verdict.details_checked == verdict.checkpoint.size
    assert verdict.tags_checked == len(numbers) > 10  # the fixture alone wrote more
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_opening_the_details_is_itself_an_entry(full: Trail, tmp_path: Path) -> None:
    await exported(full, tmp_path / "first")
    before = (await sql(full, "SELECT due_size FROM log_state WHERE log = :log"))[0].due_size
    await until(lambda: signed_size(full, before + 1))

    second = await exported(full, tmp_path / "second")

    assert b"trail_read" not in (tmp_path / "first" / DETAILS).read_bytes()
    assert [detail["act"] for detail in opened(second) if detail.get("act") == "trail_read"] == ["trail_read"]


def opened(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / DETAILS).read_bytes().splitlines()]
    return [json.loads(base64.b64decode(line["detail"])) for line in lines if "detail" in line]


async def test_what_was_erased_opens_to_nobody_after_a_restart_too_and_the_verifier_counts_it(
    trail: Trail, tmp_path: Path
) -> None:
    gone = an_id("referral", "gone")  # erased for all logs of this database
    erasure = {"idem": encoded(secrets.token_bytes(16)), "subject": gone, "reason": "case_erased"}
    body = {"erasures": [erasure]}
    async with trail.up(), trail.client("health") as client, trail.client("police") as police:
        await until(lambda: _registered(client, gone))
        for _ in range(3):
            await permitted(trail, client, request(an_access(subject=gone)))
        foreign = (await told(police, "/v1/erasures", body)).json()["results"]
        first, again = [(await told(client, "/v1/erasures", body)).json()["results"] for _ in range(2)]

    async with trail.up(), trail.client("health") as client:
        await permitted(trail, client, request(LIST))  # all others go on
        refused = await told(client, "/v1/permits", request(an_access(subject=gone)).plain())
        anew = await register(client, gone)
        await until(lambda: signed_size(trail, first[0]["index"] + 1))
        kit = await exported(trail, tmp_path / "kit")

    verdict, details = check(Kit(kit), {gone: b"k" * 32}), opened(kit)
    assert foreign[0]["problem"]["code"] == "not_yours"
    assert first == again
    assert (refused.status_code, refused.json()["code"]) == (410, "subject_erased")
    assert anew[0]["problem"]["code"] == "subject_erased"
    assert verdict.is_sound, verdict.failure
    [said] = [detail for detail in details if detail["kind"] == "erasure"]
    assert said["entries"] == verdict.details_erased >= 4
    assert verdict.tags_checked == 0, "her key opens no entry any more"
    assert gone not in str(details)


CHANGES = {
    27: "UPDATE tile SET hashes = set_byte(hashes, 27 * 32, get_byte(hashes, 27 * 32) # 1)"
    " WHERE log = :log AND level = 0",
    25: "DELETE FROM entry WHERE log = :log AND idx = 25",
    23: "UPDATE entry SET detail_ct = set_byte(detail_ct, 9, get_byte(detail_ct, 9) # 1)"
    " WHERE log = :log AND idx = 23",
    21: "UPDATE entry e SET leaf = o.leaf, detail_ct = o.detail_ct FROM entry o"
    " WHERE e.log = :log AND o.log = :log AND e.idx = 21 AND o.idx = 20",
    19: "UPDATE entry SET leaf = set_byte(leaf, 30, get_byte(leaf, 30) # 1) WHERE log = :log AND idx = 19",
}
"""Entry → what damages it; the tile first, while the log is quiet, for each append writes it anew."""


async def test_a_row_changed_by_sql_is_named_by_its_index(full: Trail, tmp_path: Path) -> None:
    await until(lambda: is_quiet(full))
    named = []
    for index, statement in CHANGES.items():
        await sql(full, statement)
        verdict = verdict_on(await exported(full, tmp_path / f"kit-{index}"))
        named.append(verdict.failure.index if verdict.failure else None)

    assert named == list(CHANGES)


async def test_start_up_refuses_a_changed_row_and_names_it(
    trail: Trail, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with trail.up(), trail.client("health") as client:
        await until(lambda: _registered(client))
        for _ in range(9):
            await permitted(trail, client, request(an_access()))
    await sql(
        trail,
        "UPDATE entry SET leaf = set_byte(leaf, 30, get_byte(leaf, 30) # 1) WHERE log = :log AND idx = 7",
    )

    async with running("audit", trail.settings(), wire) as process, trail.client("health") as client:
        answer = await until(lambda: _closed_for_good(client))
        alarms = (await process.health.look()).alarms

    assert (answer.status_code, answer.json()["code"]) == (503, "trail_closed")
    assert [(alarm.rule, alarm.where) for alarm in alarms] == [("trail_closed", "entry 7")]
    assert "entry 7" in capsys.readouterr().out


BAD_DETAIL = """UPDATE entry SET detail_ct = set_byte(detail_ct, 40, get_byte(detail_ct, 40) # 1)
WHERE log = :log AND idx = :index"""
BAD_CALLER = "UPDATE entry SET caller = 'police' WHERE log = :log AND idx = :index"
BAD_MONTH_KEY = """UPDATE data_key SET wrapped = set_byte(wrapped, 40, get_byte(wrapped, 40) # 1)
WHERE name IN (SELECT key FROM entry WHERE log = :log AND idx <> :index AND key LIKE '%/standard/%')"""


@pytest.mark.parametrize("statement", [BAD_DETAIL, BAD_CALLER, BAD_MONTH_KEY], ids=["bytes", "caller", "key"])
async def test_a_damaged_detail_is_told_by_its_index_and_reads_go_on(
    trail: Trail, tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: str
) -> None:
    listing = request(LIST)
    async with trail.up(), trail.client("health") as client:
        await until(lambda: _registered(client))
        await permitted(trail, client, request(an_access()))
        asked = listing if statement == BAD_MONTH_KEY else request(an_access())
        intent = (await permitted(trail, client, asked)).index
        await until(lambda: signed_size(trail, intent + 1))
    await sql(trail, statement, index=-1 if statement == BAD_MONTH_KEY else intent)

    report = {"intent": intent, "origin": trail.origin, "result": "released", "idem": encoded(bytes(16))}
    body = {"outcomes": [report | {"happened": "2026-03-02T12:00:00.000Z"}]}
    async with (
        running("audit", trail.settings(), wire) as process,
        running("audit", trail.signer_settings(), wire_signer),
        trail.client("health") as client,
    ):
        fresh = [await permitted(trail, client, request(one)) for one in (an_access(), listing.access)]
        outcome = await told(client, "/v1/outcomes", body)
        found = (await process.health.look()).alarms
        age_seconds = REGISTRY.get_sample_value("concert_audit_checkpoint_age_seconds")
        alarms = {alarm.where for alarm in found if alarm.rule == "detail_damaged"}
        await until(lambda: signed_size(trail, fresh[1].index + 1))
        verdict = verdict_on(await exported(trail, tmp_path / "kit"))

    assert age_seconds is not None
    assert 0 <= age_seconds < 120
    is_key = statement == BAD_MONTH_KEY  # so the padding that each lead begins with does not open either
    assert ("more entries" if is_key else f"entry {intent}") in alarms
    assert f"entry {0 if is_key else intent}: " in capsys.readouterr().out
    assert outcome.json()["results"][0]["problem"]["code"] == "detail_damaged"
    assert verdict.failure is None if statement == BAD_CALLER else verdict.failure is not None


async def _closed_for_good(
    client: httpx2.AsyncClient, asked: PermitRequest | None = None, *, reason: str = "database"
) -> httpx2.Response | None:
    """The refusal, once it is the last one: a process that has just started says other things first."""
    answer = await ask(client, asked or request(an_access()))
    assert answer.status_code == 503
    return answer if answer.json()["detail"].endswith(f"reason: {reason}") else None


async def test_after_a_restart_the_same_request_has_the_same_place(trail: Trail) -> None:
    asked = request(an_access())
    async with trail.up(), trail.client("health") as client:
        await until(lambda: _registered(client))
        before = await permitted(trail, client, asked)
    async with trail.up(), trail.client("health") as client:
        after = await permitted(trail, client, asked)
        fresh = await permitted(trail, client, request(an_access()))

    assert after.index == before.index
    assert fresh.index >= before.size


async def test_one_process_leads_and_another_takes_over(trail: Trail) -> None:
    async with trail.up(), trail.client("health") as client:
        await until(lambda: _registered(client))
        standby = free_port()
        async with running("audit", trail.settings(standby), wire):
            reader, writer = await asyncio.open_connection("127.0.0.1", standby)
            writer.write(b"no TLS, which whoever takes the connection would say\n")
            with pytest.raises(TimeoutError):  # it takes no request that it could only refuse
                await asyncio.wait_for(reader.read(1), 0.5)
            writer.close()
    async with trail.up(), trail.client("health") as client:
        permit = await permitted(trail, client, request(an_access()))

    assert permit.index > 0


CUT = (
    "DELETE FROM entry WHERE log = :log AND idx >= 16",
    "DELETE FROM checkpoint WHERE log = :log AND size > 16",
    "UPDATE tile SET hashes = substr(hashes, 1, 16 * 32) WHERE log = :log",
    "UPDATE log_state s SET size = 16, due_size = 16, root = c.root, due_root = c.root FROM checkpoint c"
    " WHERE s.log = :log AND c.log = :log AND c.size = 16",
)
"""What makes a log of at most 256 entries the one that it was at its first checkpoint."""


@pytest.mark.parametrize("signed", [32, 48], ids=["as long with the new lead", "longer"])
async def test_over_an_older_database_nothing_is_permitted_or_taken(trail: Trail, signed: int) -> None:
    async with trail.up(), trail.client("health") as client:
        await until(lambda: _registered(client))
        while not await signed_size(trail, signed):
            await permitted(trail, client, request(an_access()))
    for statement in CUT:
        await sql(trail, statement)
    subject, known = an_id("referral", "new"), len(await registered(trail))

    async with (
        running("audit", trail.settings(), wire),
        running("audit", trail.signer_settings(), wire_signer) as signer,
        trail.client("health") as client,
    ):
        await until(lambda: halted(signer))
        answers = [await ask(client, request(LIST)) for _ in range(20)]
        body = {"subjects": [{"id": subject, "key": encoded(b"k" * 32), "retention": "standard"}]}
        answers.append(await client.post("/v1/subjects", json=body))

    assert {answer.status_code for answer in answers} == {503}
    assert answers[-1].json()["detail"].endswith("reason: unconfirmed")
    assert len(await registered(trail)) == known


async def registered(trail: Trail) -> Any:
    return await sql(trail, "SELECT id, CAST(:log AS text) FROM subject")


async def halted(signer: ServiceProcess) -> bool:
    return (await signer.health.look()).reason == "signer_halted"


async def test_a_leader_that_was_overtaken_writes_nothing_until_it_has_read_again(full: Trail) -> None:
    await until(lambda: is_quiet(full))  # or the fence might already stop a checkpoint's padding
    await sql(full, "UPDATE log_state SET epoch = epoch + 1 WHERE log = :log")
    asked = request(an_access())
    async with full.client("health") as client:
        fenced = await ask(client, asked)
        written = await rows_of(full, asked.idem)
        permit = await permitted(full, client, asked)

    assert fenced.json()["code"] == "trail_closed"
    assert written == []
    assert await rows_of(full, asked.idem) == [permit.index]


async def is_quiet(trail: Trail) -> bool:
    rows = await sql(trail, "SELECT size = due_size AS it_is FROM log_state WHERE log = :log")
    return bool(rows[0].it_is)


async def rows_of(trail: Trail, idem: bytes) -> list[int]:
    rows = await sql(trail, "SELECT idx FROM entry WHERE log = :log AND idem = :idem", idem=idem)
    return [row.idx for row in rows]


async def test_lost_connections_close_the_trail_until_they_are_back(full: Trail) -> None:
    asked = request(an_access())
    await sql(full, "SELECT pg_terminate_backend(pid), :log FROM pg_stat_activity WHERE usename = 'audit'")
    async with full.client("health") as client:
        permit = await permitted(full, client, asked)

    assert await rows_of(full, asked.idem) == [permit.index]
    await whole(full)


async def whole(trail: Trail) -> None:
    """Indices run from 0 without a gap up to the head, seen in one look: the log goes on by itself."""
    [seen] = await sql(
        trail,
        "SELECT count(e.idx) AS entries, max(e.idx) + 1 AS next, s.size FROM log_state s"
        " JOIN entry e USING (log) WHERE s.log = :log GROUP BY s.size",
    )
    assert seen.entries == seen.next == seen.size


@pytest.mark.parametrize("place", ["sequencer.grouped", "sequencer.committed"])
async def test_a_sequencer_killed_within_a_group_loses_and_doubles_nothing(trail: Trail, place: str) -> None:
    async with trail.up(), trail.client("health") as client:
        await until(lambda: _registered(client))
    asked = request(an_access())
    process = await start_process("audit", trail.settings(), CONCERT_CRASH_AT=place)
    async with running("audit", trail.signer_settings(), wire_signer), trail.client("health") as client:
        await until(lambda: _kills(client, asked, process))

    async with trail.up(), trail.client("health") as client:
        permit = await permitted(trail, client, asked)

    assert await process.wait() == 137
    assert await rows_of(trail, asked.idem) == [permit.index]
    await whole(trail)


async def _kills(client: httpx2.AsyncClient, asked: Any, process: asyncio.subprocess.Process) -> bool:
    try:
        await ask(client, asked)
    except httpx2.TransportError:
        return process.returncode is not None
    return False


@pytest.mark.parametrize("place", ["signer.remembered", "signer.signed"])
async def test_a_signer_killed_while_signing_signs_the_same_again(trail: Trail, place: str) -> None:
    async with running("audit", trail.settings(), wire), trail.client("health") as client:
        await until(lambda: sql(trail, "SELECT 1 FROM log_state WHERE log = :log"))
        process = await start_process("audit", trail.signer_settings(), "signer", CONCERT_CRASH_AT=place)
        assert await process.wait() == 137
        async with running("audit", trail.signer_settings(), wire_signer):
            await until(lambda: _registered(client))
            await until(lambda: signed_size(trail, 16))

    rows = await sql(trail, "SELECT size FROM checkpoint WHERE log = :log ORDER BY size")
    assert [row.size for row in rows] == sorted({row.size for row in rows})
    assert rows[0].size == 0


async def sweep_signer(trail: Trail, folder: Path) -> None:
    """One round of a signer that starts now, with the high-water file of a folder."""
    database = trail.space.database("audit", "audit_sign")
    signer = _signer(trail, folder, database)
    try:
        await signer.sweep()
    finally:
        await signer.close()
        await database.close()


def _signer(trail: Trail, folder: Path, database: Any) -> CheckpointSigner:
    key = Signer.from_seed(trail.origin, decoded(trail.keys["log"].read_text()))
    return CheckpointSigner(
        LogDatabase(database, trail.origin), key, HighWater(folder / "high_water"), StoppedClock()
    )


async def signed_then_stopped(trail: Trail) -> None:
    async with trail.up(), trail.client("health") as client:
        await until(lambda: _registered(client))
        await until(lambda: signed_size(trail, 16))


async def test_a_signer_goes_on_from_what_it_signed(trail: Trail) -> None:
    await signed_then_stopped(trail)

    await sweep_signer(trail, trail.folder)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE log_state SET due_size = 0 WHERE log = :log", "behind"),
        ("UPDATE tile SET hashes = set_byte(hashes, 40, 1) WHERE log = :log AND level = 0", "another tree"),
        (None, "does not exist"),
    ],
)
async def test_a_signer_halts_at_a_database_that_is_not_what_it_signed_or_without_its_file(
    trail: Trail, statement: str | None, says: str
) -> None:
    await signed_then_stopped(trail)
    if statement:
        await sql(trail, statement)
    else:
        (trail.folder / "high_water").unlink()

    with pytest.raises(SignerHalted, match=says):
        await sweep_signer(trail, trail.folder)


async def test_before_the_first_checkpoint_nothing_is_written_or_permitted(trail: Trail) -> None:
    asked = request(LIST)
    async with running("audit", trail.settings(), wire), trail.client("health") as client:
        await until(lambda: sql(trail, "SELECT 1 FROM log_state WHERE log = :log"))
        answer = await until(lambda: _closed_for_good(client, asked, reason="shard"))

    assert answer.json()["detail"].endswith("reason: shard")
    assert await rows_of(trail, asked.idem) == []


async def exchange_wrap_key(trail: Trail) -> None:
    trail.keys["wrap"] = trail.folder / "other"
    trail.keys["wrap"].write_text(encoded(b"o" * 32))


async def lose_entries(trail: Trail) -> None:
    """The checkpoint is now ahead of its database."""
    await sql(trail, "DELETE FROM entry WHERE log = :log")
    await sql(trail, "DELETE FROM tile WHERE log = :log")
    empty = "root = :root, due_root = :root, size = 0, due_size = 0"
    await sql(trail, f"UPDATE log_state SET {empty} WHERE log = :log", root=EMPTY_ROOT)


async def exchange_checkpoint(trail: Trail, *, seed: bytes | None = None, root: bytes | None = None) -> None:
    """The newest one is now of another key, or of another tree."""
    stored = (await sql(trail, "SELECT size, root FROM checkpoint WHERE log = :log ORDER BY size DESC"))[0]
    signer = Signer.from_seed(trail.origin, seed or decoded(trail.keys["log"].read_text()))
    note = signed_note(checkpoint_text(Checkpoint(trail.origin, stored.size, root or stored.root)), signer)
    changed = "UPDATE checkpoint SET note = :note WHERE log = :log AND size = :size"
    await sql(trail, changed, note=note, size=stored.size)


@pytest.mark.parametrize(
    "tamper",
    [
        exchange_wrap_key,
        lose_entries,
        partial(exchange_checkpoint, seed=b"x" * 32),
        partial(exchange_checkpoint, root=bytes(32)),
    ],
    ids=["wrap key", "entries", "checkpoint's key", "checkpoint's tree"],
)
async def test_a_sequencer_stays_closed_over_what_is_not_its_logs(
    trail: Trail, tamper: Callable[[Trail], Awaitable[None]]
) -> None:
    await signed_then_stopped(trail)
    await tamper(trail)

    async with running("audit", trail.settings(), wire), trail.client("health") as client:
        answer = await until(lambda: _closed_for_good(client))

    assert answer.json()["code"] == "trail_closed"
