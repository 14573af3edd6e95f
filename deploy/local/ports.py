"""Which ports are used: what the operator names, else what was chosen before, else the usual one."""

import errno
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from deploy.local.refusals import CannotRun

HOST: Final = "127.0.0.1"
CHOSEN_FROM: Final = range(20_000, 32_000)
"""Below what systems give to outgoing connections, so that a port stays free while its part restarts."""
BLOCK: Final = 50
"""A process chooses from blocks of ports that it holds alone; other installations' parts may restart too."""

FREED_WITHIN_SECONDS: Final = 3.0
POLL_SECONDS: Final = 0.05


def is_free(port: int) -> bool:
    """Whether a part could listen on this port now."""
    try:
        listen(port, backlog=0).close()
    except CannotRun:
        return False
    return True


def listen(port: int, backlog: int = 512) -> socket.socket:
    """A listening socket on loopback."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
        found.listen(backlog)
    except OSError as error:
        found.close()
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise CannotRun("port_taken", f"Port {port} {reason}.") from None
    return found


def choose(
    usual: Mapping[str, int],
    named: Mapping[str, int],
    chosen: Mapping[str, int],
    free: Callable[[int], bool] = is_free,
    candidates: Iterator[int] | None = None,
) -> dict[str, int]:
    """A port for each name; a named one that is taken is refused, any other gives way to a free one."""
    candidates = candidates or _left
    ports: dict[str, int] = {}
    for name, port in usual.items():
        wishes = [wish for wish in (named.get(name), chosen.get(name), port) if wish]
        ports[name] = next(
            each for each in chain(wishes, candidates) if each not in ports.values() and free(each)
        )
        if ports[name] != named.get(name, ports[name]):
            raise CannotRun("port_taken", f"Port {named[name]}, named for {name}, is in use.")
    return ports


def trial_ports(names: Iterable[str]) -> dict[str, int]:
    """For trial installations: a random choice for each name, so that they never meet an ordinary one."""
    return choose(dict.fromkeys(names, 0), {}, {})


def wait_until_free(ports: Mapping[str, int]) -> None:
    """After everything was killed, the old parts need a moment to vanish."""
    ends = time.monotonic() + FREED_WITHIN_SECONDS
    while not all(is_free(port) for port in ports.values()) and time.monotonic() < ends:
        time.sleep(POLL_SECONDS)


def is_block_held(block: int) -> bool:
    """Whether this process got a block of ports for itself alone, until it ends."""
    sign = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sign.bind(f"\0concert-ports-{block}")
    except OSError:
        sign.close()
        return False
    sign.detach()  # stays bound as long as this process lives, and vanishes with it
    return True


def _own_ports() -> Iterator[int]:
    blocks = list(CHOSEN_FROM[::BLOCK])
    random.SystemRandom().shuffle(blocks)
    for block in blocks:
        if is_block_held(block):
            yield from range(block, block + BLOCK)
    raise CannotRun("port_taken", "No free port was found.")


_left: Final = _own_ports()
"""What this process has not chosen yet: it never chooses one twice, as what listened may come back."""
