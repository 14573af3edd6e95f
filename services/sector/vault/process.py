"""The vault's process: shut off from the network first, then answering frames on its Unix socket."""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import secrets
import signal
import socket
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.events.governance_keys import GovernanceKeys
from schemas.trail.notes import named_key
from schemas.trail.permits import Trust
from schemas.wire.topic import source_of
from services.runtime.clock import SystemClock
from services.runtime.logs import configure, log, tell_end
from services.runtime.settings import secret_from
from services.sector.vault.keys import KeyFiles
from services.sector.vault.operations import Vault, VaultTrust
from services.sector.vault.requests import FRAME_BYTES_MAX, LENGTH_BYTES, framed
from services.sector.vault.settings import SOCKET, VaultSettings

CLIENTS_MAX: Final = 64
FRAME_WITHIN_SECONDS: Final = 10.0
"""How long a frame may take from its first byte to its last."""
Answer = Callable[[bytes], bytes]
_CAP_IPC_LOCK: Final = 14
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_LOCK_ALL: Final = 7
"""MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT: every page from when it is first used."""
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38


class NetworkReachable(Exception):
    """The vault could speak to a network, which it must not."""


def run_vault(sector: str) -> None:
    """`python -m services.<sector> vault`: runs until SIGTERM or SIGINT."""
    settings = VaultSettings.from_environment()
    configure(f"{sector}_vault")
    try:
        is_locked = harden()
        if not is_locked:
            log().warning("vault_memory_not_locked")  # RLIMIT_MEMLOCK is not unlimited
        if is_network_reachable():
            if settings.mode == "live":
                raise NetworkReachable
            log().warning("vault_reaches_a_network")
        vault = make_vault(sector, settings, is_locked=is_locked)
        asyncio.run(serve(vault, settings.vault.folder))
    except Exception as error:
        tell_end(error)
        raise SystemExit(1) from None


def harden() -> bool:
    """No core dump, no reading of its memory by others of its account, and no network where that is allowed.

    It happens before there is a thread: a new user namespace is for a process with one thread alone. Returns
    whether its memory is locked, so that no key is ever written to swap.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    system = ctypes.CDLL(None)
    is_locked = _lock_memory(system)  # before the namespace: the right to do so is one of the machine's
    system.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if system.unshare(_CLONE_NEWNET) != 0:  # root may at once; others as root of a namespace of their own
        system.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    system.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return is_locked


def is_network_reachable() -> bool:
    """Whether even this machine itself can be reached: an empty namespace has no route to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(("127.0.0.1", 9))
        except OSError as error:
            return error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH)
    return True


def make_vault(sector: str, settings: VaultSettings, *, is_locked: bool = False) -> Vault:
    """The vault that these settings describe, with its state as its folder holds it."""
    folder = settings.vault.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    seed = b64decode(secret_from(settings.vault.signing_key_file).get_secret_value(), validate=True)
    trail = Trust(settings.log, (named_key(settings.audit.permit_key),), named_key(settings.audit.log_key))
    trust = VaultTrust(
        sector=sector,
        audience=source_of(settings.cell, sector),
        trail=trail,
        governance=GovernanceKeys.read(settings.governance_keys_file.read_bytes()),
    )
    return Vault(
        folder,
        trust,
        Ed25519PrivateKey.from_private_bytes(seed),
        KeyFiles(folder, secrets.token_bytes),
        SystemClock(),
        settle_within=settings.vault.settle_within,
        is_locked=is_locked,
    )


async def serve(vault: Vault, folder: Path) -> None:
    """Answer frames until told to stop; one frame at a time, from a bounded number of clients."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with listening(vault.answer, folder):
        log().info("vault_started", state=vault.why_closed() or "open")
        await stopping.wait()
    log().info("vault_stopped")


@contextlib.asynccontextmanager
async def listening(answer: Answer, folder: Path) -> AsyncIterator[None]:
    """A server on the folder's socket for as long as the block."""
    clients: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(writer)
        try:
            while len(clients) <= CLIENTS_MAX and (content := await read_frame(reader)):
                writer.write(framed(answer(content)))
                async with asyncio.timeout(FRAME_WITHIN_SECONDS):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # its client is gone or too slow, or this process ends
        finally:
            clients.remove(writer)
            writer.close()

    with bound_socket(folder) as bound:
        server = await asyncio.start_unix_server(talk, sock=bound)
        try:
            yield
        finally:
            server.close()
            for client in clients:
                client.close()


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The content of the next frame; None where the client left, or sends more than a frame may hold."""
    try:
        first = await reader.readexactly(1)  # an idle client may wait
    except asyncio.IncompleteReadError:
        return None
    async with asyncio.timeout(FRAME_WITHIN_SECONDS):
        length = int.from_bytes(first + await reader.readexactly(LENGTH_BYTES - 1))
        return await reader.readexactly(length) if length <= FRAME_BYTES_MAX else None


@contextlib.contextmanager
def bound_socket(folder: Path) -> Iterator[socket.socket]:
    """The socket in the folder, which only its owner may enter; one vault alone has it."""
    os.chdir(folder)  # a socket's path is short, a folder's may be long
    with Path("lock").open("w") as lock, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(SOCKET).unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            bound.bind(SOCKET)
        finally:
            os.umask(mask)
        bound.setblocking(False)
        yield bound


def _lock_memory(system: ctypes.CDLL) -> bool:
    """Lock all of it, where no limit stands that it could reach later: an answer would fail for memory."""
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if most != resource.RLIM_INFINITY and not _has_right(_CAP_IPC_LOCK):
        return False
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))
    return bool(system.mlockall(_LOCK_ALL) == 0)


def _has_right(number: int) -> bool:
    status = Path("/proc/self/status").read_text("ascii")
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> number & 1)
