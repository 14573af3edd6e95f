"""The logs of parts: cut before they fill a disk, and read in the order of time."""

import heapq
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Final

from deploy.local.subprocesses import Say

LOG_BYTES_MAX: Final = 16 << 20
COPIED_BYTES: Final = 1 << 20
LINE_BYTES_MAX: Final = 1 << 16

_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d[.,]\d{3})")
"""As Concert, Kafka and PostgreSQL write it, all in UTC; it sorts as it stands once it is written one way."""


def rotate(folder: Path, say: Say, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Move what a log holds beyond its size to `NAME.log.1`, in the place of what was there.

    Processes write on into the same file. Lines of the instant between copy and cut are lost.
    """
    for log in folder.glob("*.log"):
        with suppress(FileNotFoundError):
            if log.stat().st_size > bytes_max:
                _cut(log, say)


def _cut(log: Path, say: Say) -> None:
    older, copy = Path(f"{log}.1"), Path(f"{log}.new")
    try:
        with log.open("rb") as source, os.fdopen(_created(copy), "wb") as target:
            while read := source.read(COPIED_BYTES):
                target.write(read)
        copy.replace(older)
    except OSError as error:  # a full disk is not made fuller: the log gives way, and says so
        copy.unlink(missing_ok=True)
        say(f"{log.name} is cut without a copy: {error.strerror}")
    os.truncate(log, 0)


def _created(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)


def lines_since(folder: Path, parts: Iterable[str], since: datetime | None) -> Iterator[str]:
    """The lines of parts' logs by their time; a line without time stays behind the one before it.

    Whatever could steer a terminal is written as an escape.
    """
    earliest = since.strftime("%Y-%m-%d %H:%M:%S.%f") if since else ""
    logs = (_lines(folder / f"{name}.log") for name in parts)
    for instant, line in heapq.merge(*logs, key=itemgetter(0)):
        if instant >= earliest:
            yield line


def _lines(log: Path) -> Iterator[tuple[str, str]]:
    instant = ""
    for path in (Path(f"{log}.1"), log):
        with suppress(FileNotFoundError), path.open("rb") as file:
            while read := file.readline(LINE_BYTES_MAX):
                line = read.decode("utf-8", "replace").rstrip("\r\n")
                if found := _INSTANT.search(line):
                    # A clock that was set back must not put a line before those that stand above it.
                    instant = max(instant, f"{found[1]} {found[2].replace(',', '.')}")
                yield instant, "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in line)
