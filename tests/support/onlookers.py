"""What any other account could read while something runs: arguments and environment of every process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.02


@contextmanager
def looking_on(parent: int) -> Iterator[set[bytes]]:
    """Collects what stands in `/proc` of all that `parent` starts, for as long as the block."""
    seen: set[bytes] = set()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(POLL_SECONDS):
            for process in _below(parent):
                seen.update(_read(process / name) for name in ("cmdline", "environ"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def _below(parent: int) -> Iterator[Path]:
    try:
        tasks = list(Path(f"/proc/{parent}/task").iterdir())
    except OSError:  # it has ended meanwhile
        return
    for task in tasks:
        for pid in _read(task / "children").split():
            yield Path("/proc") / pid.decode()
            yield from _below(int(pid))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""
