"""`concert lag`: how far readers are behind, by databases and brokers; how each does, by operations."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import asyncpg
import typer

from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from schemas.topics import TOPICS, VIEWS
from services.cli.installed import DataDirectory, installed, streams_seen
from services.cli.readers import READERS
from services.cli.talk import TEMPORARY, AsJson, command, fail, say, show
from services.runtime import administration
from services.runtime.offsets import Partition

app = typer.Typer()

SEEN_WITHIN_SECONDS: Final = 3.0
Positions = Mapping[Partition, int]
"""The offset that a reader goes on with; the first one where it has none yet."""

_POSITIONS: Final = "SELECT topic, part, next FROM consumer_offset WHERE grp = $1"
_SECONDS: Final = """
SELECT k.topic, k.part, greatest(0, extract(epoch FROM clock_timestamp() - min(l.at)))::float8 AS seconds
FROM unnest($1::text[], $2::int[], $3::uuid[], $4::bigint[]) AS k (topic, part, topic_id, next)
JOIN log_end l ON l.topic = k.topic AND l.part = k.part AND l.topic_id = k.topic_id AND l.next > k.next
GROUP BY k.topic, k.part"""


@app.command("lag")
def lag(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert lag`, `concert lag --json`.

    Shows by group and topic how many records were not read yet, and for how many seconds the first of them
    has been there: since its writer found the log that long, which looks every ten seconds and remembers a
    day. What records themselves say of their time counts nothing. Works while services are down. What each
    does, and by which rule, is what operations found at its last look.
    """
    installation = installed(data)
    try:
        rows, seen = asyncio.run(_measured_and_seen(installation))
    except (OSError, asyncpg.PostgresError):
        fail(f"a database does not answer; see {command('status', data)}", TEMPORARY)
    verdicts = {(one["service"], one["topic"]): one for one in seen["groups"]} if seen else {}
    for row in rows:
        one = verdicts.get((row["group"], row["topic"]), {})
        row |= {"verdict": one.get("verdict", "unknown"), "words": one.get("words")}
    line = "{group}\t{topic}\t{messages} records\t{seconds} s\t{verdict}"
    lines = [
        line.format_map(row) + (f": {row['words']}" if row["verdict"] != "ok" and row["words"] else "")
        for row in rows
    ]
    show({"data": rows, "judged_at": seen["as_of"] if seen else None}, lines, as_json=as_json)
    if not seen:
        say(f"operations does not answer, so nobody judges; see {command('status', data)}")


async def _measured_and_seen(installation: Installation) -> tuple[list[dict[str, Any]], Any]:
    rows, seen = await asyncio.gather(
        _measured(installation), streams_seen(installation, SEEN_WITHIN_SECONDS)
    )
    return rows, seen


async def _measured(installation: Installation) -> list[dict[str, Any]]:
    namespace, server = installation.kafka.namespace, installation.server
    groups: dict[str, Positions] = {}
    for reader in READERS:
        async with server.connection(DATABASES[reader].name) as connection:
            groups[reader] = await stored_positions(connection, namespace + reader)
    ends, ids = await asyncio.to_thread(_logs, installation)
    read_by = {name: [one for one in TOPICS if name in one.readers] for name in READERS}
    for view in VIEWS:
        groups[view.user] = await asyncio.to_thread(_told, installation, view.group(namespace))
        read_by[view.user] = [view.source]
    rows = []
    for group, topics in read_by.items():
        for topic in topics:
            name = topic.name(namespace)
            behind = {one: groups[group].get(one, 0) for one in ends if one[0] == name}
            async with server.connection(DATABASES[topic.writer].name) as connection:
                seconds = await seconds_behind(connection, behind, ids)
            rows.append({"group": group, "topic": name, **lag_of(behind, ends, seconds)})
    return rows


async def stored_positions(connection: asyncpg.Connection, group: str) -> Positions:
    """Where a service's database says that its reader goes on: what brokers were told may be older."""
    return {(row["topic"], row["part"]): row["next"] for row in await connection.fetch(_POSITIONS, group)}


async def seconds_behind(
    connection: asyncpg.Connection, positions: Positions, ids: Mapping[str, UUID]
) -> Mapping[Partition, float]:
    """For how long logs have reached beyond these positions, as their writer's database says."""
    places = [(topic, part, ids[topic], following) for (topic, part), following in positions.items()]
    rows = await connection.fetch(_SECONDS, *map(list, zip(*places, strict=True))) if places else ()
    return {(row["topic"], row["part"]): row["seconds"] for row in rows}


def lag_of(
    positions: Positions, ends: Mapping[Partition, int], seconds: Mapping[Partition, float]
) -> dict[str, int]:
    """All records that lie before the ends, and the seconds of the partition that waits longest.

    What its writer has not seen yet is there for less than ten seconds, and counts as none.
    """
    messages = {one: max(0, ends[one] - following) for one, following in positions.items()}
    waits = [seconds.get(one, 0.0) for one, count in messages.items() if count]
    return {"messages": sum(messages.values()), "seconds": round(max(waits, default=0.0))}


def _logs(installation: Installation) -> tuple[Mapping[Partition, int], Mapping[str, UUID]]:
    names = [topic.name(installation.kafka.namespace) for topic in TOPICS]
    with administration.connect(*installation.kafka_admin) as admin:
        return administration.ends(admin, names), administration.topic_ids(admin, names)


def _told(installation: Installation, group: str) -> Positions:
    with administration.connect(*installation.kafka_admin) as admin:
        return administration.positions(admin, group)
