"""Who each process is, as the servers report it: their view of a connection, and whose connection that is."""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from deploy.local.processes import PROCESSES
from schemas.topics import TOPICS
from services.cli.demo.evidence import Identity
from services.cli.demo.founding import renew_keys
from services.cli.demo.looking import Onlooker
from services.cli.demo.stage import Stage
from services.runtime import administration
from services.runtime.request_log import connections_told, tell_requests

BROKER: Final = 1
"""The id of the one node that `deploy/local` starts."""
TOLD_WITHIN_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
_ROLES: Final = "SELECT client_port, usename FROM pg_stat_activity WHERE client_port > 0"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
KAFKA_USERS: Final = {topic.writer for topic in TOPICS} | {
    reader for topic in TOPICS for reader in topic.readers
}
WITHOUT_DATABASE: Final = frozenset({"mail_sink"})

ESTABLISHED: Final = "01"

Seen = Mapping[int, set[str]]


async def identities(stage: Stage, onlooker: Onlooker) -> tuple[Identity, ...]:
    """Every service process with its roles and users."""
    pids = {each.name: stage.platform.pid(each.name) or 0 for each in PROCESSES}
    wanted = {name for name in pids if name in KAFKA_USERS}
    users = await _users(stage, pids, wanted)
    rows = await onlooker.connections["governance"].fetch(_ROLES)
    server = stage.installation.ports["postgres"]
    roles = by_pid(((row["client_port"], row["usename"]) for row in rows), pids.values(), server)
    return tuple(
        Identity(
            name,
            pid,
            tuple(sorted(roles.get(pid, ()))),
            tuple(sorted(users.get(pid, ()))),
            None if name in WITHOUT_DATABASE else name,
            name if name in wanted else None,
        )
        for name, pid in pids.items()
    )


async def _users(stage: Stage, pids: Mapping[str, int], wanted: set[str]) -> Seen:
    """Whom the broker sees behind each connection; governance is given something to send."""
    installation = stage.installation
    log = installation.configuration.logs / "kafka.log"
    begins = log.stat().st_size
    with await asyncio.to_thread(
        administration.connect, installation.bootstrap, *installation.kafka_admin
    ) as admin:
        await asyncio.to_thread(tell_requests, admin, BROKER, wanted=True)
        try:
            await renew_keys(stage, stage.agencies[0])
            ends = time.monotonic() + TOLD_WITHIN_SECONDS
            while True:
                seen = by_pid(_told(log, begins), pids.values(), installation.ports["kafka"])
                if all(seen.get(pids[name]) for name in wanted) or time.monotonic() > ends:
                    return seen
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await asyncio.to_thread(tell_requests, admin, BROKER, wanted=False)


def _told(log: Path, begins: int) -> list[tuple[int, str]]:
    with log.open("rb") as file:
        file.seek(begins)
        return list(connections_told(file.read()))


def by_pid(told: Iterable[tuple[int, str]], pids: Iterable[int], server_port: int) -> Seen:
    """Names by process, from a server's names by client port."""
    inodes = inodes_of_ports(Path("/proc/net/tcp").read_text(), server_port)
    owners = {inode: pid for pid in pids for inode in _sockets_of(pid)}
    found: dict[int, set[str]] = defaultdict(set)
    for port, name in told:
        pid = owners.get(inodes.get(port, ""))
        if pid:
            found[pid].add(name)
    return found


def inodes_of_ports(table: str, server_port: int) -> Mapping[int, str]:
    """Local port → inode of the connection from it to the server; others may share the port."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {_port(row[1]): row[9] for row in rows if _port(row[2]) == server_port and row[3] == ESTABLISHED}


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _sockets_of(pid: int) -> Iterable[str]:
    folder = Path("/proc") / str(pid) / "fd"
    for link in folder.iterdir() if pid else ():
        try:
            found = _SOCKET.fullmatch(str(link.readlink()))
        except OSError:
            continue  # closed meanwhile
        if found:
            yield found[1]
