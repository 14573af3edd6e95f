"""Who each process is, as the servers report it: their view of a connection, and whose connection that is."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import psutil

from deploy.local.processes import PROCESSES
from deploy.local.refusals import CannotRun
from schemas.topics import TOPICS
from services.cli.demo.evidence import ProcessIdentity
from services.cli.demo.founding import admission, publish
from services.cli.demo.onlooker import Onlooker
from services.cli.demo.trial import Trial, until
from services.runtime import administration
from services.runtime.administration import log_requests, logged_connections

BROKER: Final = 1
"""The id of the one node that `deploy/local` starts."""
ON_KAFKA: Final = {user for topic in TOPICS for user in (topic.writer, *topic.readers)}
_ROLES: Final = "SELECT client_port, usename FROM pg_stat_activity WHERE client_port > 0"

Names = Mapping[str, set[str]]
"""What a server calls each process."""


async def identities(trial: Trial, onlooker: Onlooker) -> tuple[ProcessIdentity, ...]:
    """Every service process with its roles and users."""
    pids = {each.name: trial.platform.pid(each.name) or 0 for each in PROCESSES}
    users = await _kafka_users(trial, pids)
    rows = await onlooker.connections["governance"].fetch(_ROLES)
    roles = _by_process(rows, pids, trial.installation.ports["postgres"])
    return tuple(
        ProcessIdentity(name, pid, tuple(sorted(roles[name])), tuple(sorted(users[name])))
        for name, pid in pids.items()
    )


async def _kafka_users(trial: Trial, pids: Mapping[str, int]) -> Names:
    """Whom the broker sees behind each connection; governance is given something to send."""
    installation = trial.installation
    log = installation.configuration.logs / "kafka.log"
    begins = log.stat().st_size
    users: Names = {}

    async def all_seen() -> bool:
        nonlocal users
        users = _by_process(_told(log, begins), pids, installation.ports["kafka"])
        return all(users[name] for name in pids if name in ON_KAFKA)

    with administration.connect(installation.bootstrap, *installation.kafka_admin) as admin:
        await asyncio.to_thread(log_requests, admin, BROKER, wanted=True)
        try:
            agency = trial.agencies[0]
            await publish(trial, f"/v1/agencies/{agency.id}", admission(agency, version=2))
            with contextlib.suppress(CannotRun):  # what was not seen is for the check to tell
                await until(all_seen, "the broker tells who asks")
        finally:
            await asyncio.to_thread(log_requests, admin, BROKER, wanted=False)
    return users


def _told(log: Path, begins: int) -> Iterable[tuple[int, str]]:
    with log.open("rb") as file:
        file.seek(begins)
        return list(logged_connections(file.read()))


def _by_process(told: Iterable[tuple[int, str]], pids: Mapping[str, int], server_port: int) -> Names:
    """Names by process, from a server's names by client port."""
    names: dict[int, set[str]] = defaultdict(set)
    for port, name in told:
        names[port].add(name)
    return {
        process: {name for port in _ports_towards(server_port, pid) for name in names[port]}
        for process, pid in pids.items()
    }


def _ports_towards(server_port: int, pid: int) -> Iterable[int]:
    """The ports of a process's own end of its connections to a server."""
    for connection in psutil.Process(pid).net_connections("tcp") if pid else ():
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr.port == server_port:
            yield connection.laddr.port
