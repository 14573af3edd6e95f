"""`concert status` asks each part: what stands still, is gone or has halted is told by its rule."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deploy.local import control
from deploy.local.databases import DATABASES
from deploy.local.founding import operator_client
from schemas.topics import SERVICES, TOPICS, VIEWS
from services.cli.__main__ import application
from services.cli.demo.trial import until
from services.cli.status import standing_alarms
from tests.e2e.conftest import Session

Firing = set[tuple[str, str]]
"""Rules, each with where it fires."""
FROZEN = ("health", "kafka", "postgres", "mail_sink", "referrals")


async def concert(session: Session, *words: str) -> Result:
    """A command over the session's installation, without a process of its own; it has a loop of its own."""
    data = str(session.trial.installation.configuration.data)
    return await asyncio.to_thread(CliRunner().invoke, application(words), [*words, "--data", data])


async def rules(session: Session) -> Firing:
    """What fires now, and where."""
    configuration = session.trial.installation.configuration
    state = control.read_state(configuration.run)
    assert state
    return {(alarm.rule, alarm.where) for alarm in await standing_alarms(configuration, state)}


@pytest.fixture
async def before(session: Session) -> AsyncIterator[Firing]:
    """What fires already, which no test here answers for; once the fault is mended, nothing more does."""
    before = await rules(session)
    yield before

    async def is_mended() -> bool:
        return await rules(session) <= before

    await until(is_mended, "nothing fires that did not before")


async def test_after_all_that_the_demo_did_nothing_goes_on_firing(session: Session) -> None:
    async def is_well() -> bool:
        return not await rules(session)

    await until(is_well, "nothing fires")


@contextmanager
def frozen(session: Session) -> Iterator[None]:
    pids = [session.trial.platform.pid(name) for name in FROZEN]
    for pid in pids:
        os.kill(pid or 0, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid or 0, signal.SIGCONT)


@pytest.mark.usefixtures("before")
async def test_parts_that_stand_still_give_no_answer_and_the_command_exits_1(session: Session) -> None:
    with frozen(session):
        told = await concert(session, "status")

    lines = told.stdout.splitlines()
    assert told.exit_code == 1, told.stderr
    for name in FROZEN:
        assert any(line.startswith(f"no_answer: {name}, since 20") for line in lines), told.stdout


async def test_a_sector_that_is_gone_is_down(session: Session, before: Firing) -> None:
    await session.trial.platform.stop("police")
    try:
        assert await rules(session) - before == {("part_down", "police")}
    finally:
        await session.trial.platform.start("police")


async def in_database(session: Session, service: str, sql: str) -> None:
    async with session.trial.installation.server.connection(DATABASES[service].name) as connection:
        await connection.execute(sql)


OLD_KEYS = "SELECT count(*) FROM data_key WHERE epoch <> 'e2' OR NOT is_adopted"


@pytest.mark.usefixtures("before")
async def test_a_vault_begins_a_new_epoch_and_every_stored_key_is_wrapped_anew(session: Session) -> None:
    told = await concert(session, "vault", "rotate", "social_services")
    database = DATABASES["social_services"].name

    async def are_wrapped_anew() -> bool:
        async with session.trial.installation.server.connection(database) as connection:
            return bool(await connection.fetchval(OLD_KEYS) == 0)

    assert told.exit_code == 0, told.stderr
    await until(are_wrapped_anew, "no key of the older epoch is left")
    shown = json.loads((await concert(session, "vault", "status", "--json")).stdout)
    assert {row["service"]: row["epoch"] for row in shown} == {
        "social_services": "e2", "health": "e1", "police": "e1", "education": "e1",
        "civil_society": "e1",
    }  # fmt: skip
    assert {row["closed"] for row in shown} == {None}


@pytest.mark.usefixtures("before")
async def test_a_vault_that_stands_still_is_told(session: Session) -> None:
    await session.trial.platform.stop("police_vault")
    try:
        assert ("part_down", "police_vault") in await rules(session)
    finally:
        await session.trial.platform.start("police_vault")


async def halted(session: Session) -> bool:
    why = "audit_sign: the database is behind what was signed"
    return ("signer_halted", why) in await rules(session)


@pytest.mark.usefixtures("before")
async def test_a_signer_that_finds_a_smaller_trail_than_it_signed_is_told_to_have_halted(
    session: Session,
) -> None:
    trail = partial(in_database, session, "audit")
    await trail("CREATE TABLE due AS SELECT due_size FROM log_state")
    await trail("UPDATE log_state SET due_size = 0")
    try:
        await until(lambda: halted(session), "the signer has halted")
    finally:
        await trail("UPDATE log_state SET due_size = due.due_size FROM due")
        await trail("DROP TABLE due")
        await session.trial.platform.restart("audit_sign")


DAMAGE = "UPDATE entry SET {what} = set_byte({what}, 40, get_byte({what}, 40) # 1) WHERE idx = 7"
"""Done twice it is undone."""


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize(("what", "rule"), [("leaf", "trail_closed"), ("detail_ct", "detail_damaged")])
async def test_a_damaged_trail_is_told_by_the_index(session: Session, what: str, rule: str) -> None:
    platform, damage = session.trial.platform, DAMAGE.format(what=what)
    await in_database(session, "audit", damage)
    try:
        await platform.restart("audit")

        async def is_told() -> bool:
            return (rule, "audit: entry 7") in await rules(session)

        await until(is_told, "the damage is told")
    finally:
        await in_database(session, "audit", damage)
        await platform.restart("audit")


@pytest.mark.usefixtures("before")
async def test_lag_is_told_of_every_group_and_topic_also_of_a_service_that_is_down(session: Session) -> None:
    await session.trial.platform.stop("police")
    try:
        told = json.loads((await concert(session, "lag", "--json")).stdout)["data"]
    finally:
        await session.trial.platform.start("police")

    views = {(view.user, view.source.name()) for view in VIEWS}
    read = {(reader, topic.name()) for topic in TOPICS for reader in topic.readers} | views
    assert {(row["group"], row["topic"]) for row in told} == read
    assert len(told) == len(read)


async def parts_seen(session: Session) -> dict[str, Any]:
    """What operations shows of the processes, once it has looked."""
    async with operator_client(session.trial.installation, "operations") as client:
        found: dict[str, Any] = (await client.get("/v1/parts")).raise_for_status().json()
    return found


@pytest.mark.usefixtures("before")
async def test_every_service_answers_operations_and_each_stream_is_judged(session: Session) -> None:
    async def all_answer() -> bool:
        seen = await parts_seen(session)
        return {one["name"] for one in seen["parts"] if one["state"] == "answers"} == {*SERVICES}

    async def head_is_told() -> bool:
        return (await parts_seen(session))["checkpoint_age_seconds"] is not None

    async def are_well() -> bool:
        told = json.loads((await concert(session, "status", "--json")).stdout)["streams"]
        return bool(told) and {one["verdict"] for one in told["groups"]} == {"ok"}

    await until(all_answer, "every service answers")
    await until(are_well, "every group reads what comes")
    await until(head_is_told, "the trail's last signed head is told")
    seen = await parts_seen(session)

    assert all(one["version"] and one["certificate_ends_at"] for one in seen["parts"])


LETTERS = """
INSERT INTO dead_letter (id, grp, topic, topic_id, part, "offset", record_at, headers, reason)
SELECT n::text, 'police', 't', gen_random_uuid(), 0, n, now(), '[]', 'bad_json'
FROM generate_series(1, 2) n"""


async def test_records_that_were_set_aside_are_told_until_somebody_looked(
    session: Session, before: Firing
) -> None:
    await in_database(session, "police", LETTERS)

    told = await rules(session)
    listed = await concert(session, "dead-letters", "list", "--json")
    discard = ("dead-letters", "discard", "police", "bad_json", "--reason", "tests", "--confirm")
    wrong = await concert(session, *discard, "3")
    still = await rules(session)
    right = await concert(session, *discard, "2")
    alone = await rules(session)
    await in_database(session, "police", "DELETE FROM dead_letter WHERE reason = 'bad_json'")

    assert told - before == still - before == alone - before == {("dead_letters", "police: bad_json (2)")}
    assert [(row["service"], row["code"], row["count"]) for row in json.loads(listed.stdout)] == [
        ("police", "bad_json", 2)
    ]
    assert (wrong.exit_code, right.exit_code) == (5, 6), wrong.stderr + right.stderr
    assert "another person must approve it" in right.stderr


STOPPED = """
INSERT INTO partition_alarm (grp, topic, part, rule, reason)
VALUES ('referrals', 'concert.sector.health.steps.v1', 0, 'partition_stopped', 'key_mismatch')"""


async def test_an_arbiter_that_reads_a_partition_no_more_is_told_until_it_may_go_on(
    session: Session, before: Firing
) -> None:
    topic = "concert.sector.health.steps.v1"
    await in_database(session, "referrals", STOPPED)

    async def is_told() -> bool:
        return await rules(session) - before == {("partition_stopped", f"referrals: {topic}/0: key_mismatch")}

    await until(is_told, "the partition has stopped")
    resume = ("readers", "resume", "referrals", topic, "0", "--confirm", "1", "--reason", "seen")
    resumed = await concert(session, *resume)

    assert resumed.exit_code == 0, resumed.stderr


UNANSWERED = """
SELECT CASE WHEN urgency IN ('critical', 'urgent') THEN 'urgent' ELSE 'routine' END AS class,
  count(*) AS offers
FROM referral WHERE state IN ('offered', 'acknowledged') GROUP BY 1"""


async def test_status_shows_the_figures_of_the_record_also_after_the_view_was_made_again(
    session: Session,
) -> None:
    async def is_equal() -> bool:
        result = await concert(session, "status", "--json")
        unanswered = json.loads(result.stdout)["views"]["referrals"]["unanswered"]
        async with session.trial.installation.server.connection(DATABASES["referrals"].name) as connection:
            record = {row["class"]: row["offers"] for row in await connection.fetch(UNANSWERED)}
        return {urgency: sum(ages.values()) for urgency, ages in unanswered.items()} == record

    await until(is_equal, "the view equals the record")
    before = session.trial.platform.pid("referrals_views")

    result = await concert(session, "views", "reset", "referrals")

    assert (result.exit_code, result.stdout) == (0, "")
    assert session.trial.platform.pid("referrals_views") not in (None, before)
    await until(is_equal, "the view equals the record again")
