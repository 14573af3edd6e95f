"""Imports the third-party packages once, then forks a process for each service that it is asked to start.

`python -m deploy.local.fork_server CONTROL SOCKET…` takes orders and tells deaths as JSON lines on CONTROL.
It has one thread, because only the thread that forks lives on in a child.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deploy.local.accounts import STRANGER, is_root
from deploy.local.places import may_enter
from deploy.local.tether import become_account, call_process, die_with

IMPORTED_ONCE: Final = (
    "aiokafka",
    "alembic",
    "asyncpg",
    "cryptography.x509",
    "cryptography.hazmat.primitives.ciphers.aead",
    "fastapi",
    "httpx2",
    "joserfc.jwt",
    "kafka.admin",
    "prometheus_client",
    "pydantic_settings",
    "rfc8785",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.ext.asyncio",
    "structlog",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.h11_impl",
    "services.runtime.process",
)
"""What most services need: third-party packages, and our own runtime."""

READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Order:
    """One process to start."""

    name: str
    module: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    descriptors: tuple[int, ...]
    log: str
    account: tuple[int, int] | None = None
    """User and group to become, where the supervisor is root."""

    def line(self) -> bytes:
        """As it goes to the fork server."""
        return json.dumps(asdict(self)).encode() + b"\n"


def read_order(line: bytes) -> Order:
    """The order in a line."""
    read = json.loads(line)
    return Order(**read | {"arguments": tuple(read["arguments"]), "descriptors": tuple(read["descriptors"])})


class ForkServer:
    """Waits for orders and deaths; `next_order` returns in a fresh child only."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._bell_out, self._bell_in = os.pipe()
        os.set_blocking(self._bell_in, False)
        os.set_blocking(self._bell_out, False)
        signal.set_wakeup_fd(self._bell_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._unread = b""

    def next_order(self) -> Order:
        """Forks for each order; in the child it is returned, in the server never."""
        while True:
            ready, _, _ = select.select([self._control.fileno(), self._bell_out], [], [])
            if self._bell_out in ready:
                self._tell_deaths()
            for order in self._orders() if self._control.fileno() in ready else ():
                pid = os.fork()
                if pid == 0:
                    self._leave()
                    return order
                self._tell({"started": order.name, "pid": pid})

    def _orders(self) -> Sequence[Order]:
        received = self._control.recv(READ_BYTES)
        if not received:
            sys.exit(0)  # the supervisor is gone, and so will be every child
        *lines, self._unread = (self._unread + received).split(b"\n")
        return [read_order(line) for line in lines]

    def _tell_deaths(self) -> None:
        os.read(self._bell_out, READ_BYTES)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._tell({"ended": pid, "status": os.waitstatus_to_exitcode(status)})

    def _tell(self, what: dict[str, object]) -> None:
        self._control.sendall(json.dumps(what).encode() + b"\n")

    def _leave(self) -> None:
        """In the child: nothing of the server's stays."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        for descriptor in (self._bell_in, self._bell_out):
            os.close(descriptor)


def import_packages(names: Sequence[str] = IMPORTED_ONCE) -> None:
    """Imports what every service needs and keeps its memory shared by all of them."""
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def become(order: Order, parent: int, inherited: Sequence[int]) -> None:
    """Turns a fresh child into its service: session, output, sockets, environment and arguments."""
    os.setsid()
    call_process(order.name)
    for descriptor in set(inherited) - set(order.descriptors):
        os.close(descriptor)
    _write_to(Path(order.log))
    if order.account:
        become_account(*order.account)
    die_with(parent)  # last: whoever changes its account is no longer told of its parent's death
    os.environ.clear()
    os.environ.update(order.environment)
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


def _write_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def main() -> None:
    """Serves until the supervisor goes; a child goes on as its service."""
    control = socket.socket(fileno=int(sys.argv[1]))
    inherited = [int(word) for word in sys.argv[2:]]
    if is_root():
        anchor_modules()
    import_packages()
    server, parent = ForkServer(control), os.getpid()
    become(server.next_order(), parent, inherited)


if __name__ == "__main__":
    main()
