"""Small files of a process that a power cut must not take back; only their owner may read them."""

import errno
import os
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600


def append(file: Path, content: bytes, *, durably: bool = True) -> None:
    """Add to a file of our own; when this returns, and unless told otherwise, a power cut cannot undo it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
    try:
        before = os.fstat(descriptor).st_size
        if os.write(descriptor, content) != len(content):
            os.ftruncate(descriptor, before)  # else the next line would begin within half of this one
            raise OSError(errno.ENOSPC, "the disk is full")
        if durably:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if durably:
        sync_folder(file.parent)


def write_durably(file: Path, content: bytes) -> None:
    """Replace a file as a whole; readers see the old content or the new, and it is its folder's owner's."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    append(fresh, content)
    if os.geteuid() == 0:  # such as a restore, for a service that runs as another user
        owner = file.parent.stat()
        os.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make names of a folder last: new ones, and the absence of those taken away."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
