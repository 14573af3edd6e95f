"""Imports the third-party packages once, then forks a process for each service that it is asked to start.

`python -m deploy.local.fork_server CONTROL` takes orders as JSON lines on CONTROL, each with a pipe and the
service's sockets. The process writes its number into the pipe and holds it: its end is the end of the pipe.
The server has one thread, because only the thread that forks lives on in a child.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.accounts import STRANGER, Account, is_root
from deploy.local.bound_program import become_account, call_process, die_with
from deploy.local.places import may_enter

IMPORTED_ONCE: Final = (
    "services.sector.wiring",
    "services.sector.vault.process",
    "services.referrals.wiring",
    "services.notifications.wiring",
    "services.governance.wiring",
    "services.operations.wiring",
    "faust.app",
    "faust.agents",
    "faust.assignor.leader_assignor",
    "faust.contrib.asgi",
    "faust.sensors.metrics",
    "faust.tables.recovery",
    "faust.topics",
    "faust.transport.drivers.aiokafka",
    "joserfc.jwt",
    "uvicorn.lifespan.on",
)
"""What services are made of, with all that they import. `audit` stays out: its gauge is its own process's.

Views stay out for the same reason; of faust these are the modules that it imports only as it starts, which
took most of a killed view's way back. Everyone carries them, in memory that is shared.
"""

READ_BYTES: Final = 65_536
DESCRIPTORS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Order:
    """One process to start."""

    name: str
    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    sockets: Sequence[str]
    """What each socket that comes with the order is for."""
    log: str
    account: Account | None
    """Who to become, where the supervisor is root."""


def next_order(control: socket.socket) -> tuple[Order, list[int]]:
    """Waits for an order, and for the descriptors that come with it."""
    line, descriptors = b"", list[int]()
    while not line.endswith(b"\n"):
        received, more, _, _ = socket.recv_fds(control, READ_BYTES, DESCRIPTORS_MAX)
        if not received:
            sys.exit(0)  # the supervisor is gone, and so will be every child
        line, descriptors = line + received, descriptors + more
    return Order(**json.loads(line)), descriptors


def import_modules() -> None:
    """Imports what every service needs and keeps its memory shared by all of them."""
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def become(order: Order, told: int, sockets: Sequence[int], parent: int) -> None:
    """Turns a fresh child into its service: session, output, environment and arguments."""
    os.setsid()
    os.set_inheritable(told, False)
    os.write(told, b"%d\n" % os.getpid())
    call_process(order.name)
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    if order.account:
        become_account(*order.account)
    die_with(parent)  # last: whoever changes its account is no longer told of its parent's death
    named = ",".join(f"{kind}={number}" for kind, number in zip(order.sockets, sockets, strict=True))
    os.environ.clear()
    os.environ.update({**order.environment, "CONCERT_SOCKETS": named})
    sys.argv = [order.module, *order.arguments]
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)


def anchor_modules() -> None:
    """Lets a child that is no longer root import from private homes: by the open folder, not by its path.

    The interpreter or the repository of root often lies where no other account may pass.
    """
    anchors = {
        folder: f"/proc/self/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}"
        for folder in sys.path
        if Path(folder).is_dir() and not may_enter(Path(folder), STRANGER)
    }

    def anchored(path: str) -> str:
        root = max((each for each in anchors if f"{path}/".startswith(f"{each}/")), key=len, default="")
        return anchors[root] + path.removeprefix(root) if root else path

    sys.path[:] = map(anchored, sys.path)
    for module in list(sys.modules.values()):
        if isinstance(folders := getattr(module, "__path__", None), list):
            folders[:] = map(anchored, folders)


def main() -> None:
    """Serves until the supervisor goes; a child goes on as its service."""
    control, server = socket.socket(fileno=int(sys.argv[1])), os.getpid()
    if is_root():
        anchor_modules()
    import_modules()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a child: its pipe tells its end
    while True:
        order, (told, *sockets) = next_order(control)
        if os.fork() == 0:
            break
        for descriptor in (told, *sockets):
            os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    control.close()
    become(order, told, sockets, server)


if __name__ == "__main__":
    main()
