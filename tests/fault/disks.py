"""Disks of their own for a trial: a file with ext4 in it, mounted through a loop device.

They can be filled to the last block and emptied, and lose their power: then nothing reaches them any more.
Only root may mount one; who may not gets `why_no_disk` for a skip that says so.
"""

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

SIZE_MIB: Final = 300
EXT4_SHUTDOWN: Final = 0x8004587D
WITHOUT_JOURNAL_FLUSH: Final = 2
FILLER: Final = "filler"
LET_GO_WITHIN_SECONDS: Final = 20.0
"""How long the last process on a disk may take to end before the disk is taken from it all the same."""
CHUNKS: Final = (1 << 20, 4096, 1)


@dataclass(frozen=True, slots=True)
class Disk:
    """One mounted file."""

    image: Path
    mount_point: Path

    @property
    def free_bytes(self) -> int:
        """What one who is not root may still write."""
        found = os.statvfs(self.mount_point)
        return found.f_bavail * found.f_frsize

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all room but so much, to the last byte."""
        filler = self.mount_point / FILLER
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(self.free_bytes - leave_bytes, 1))
        if leave_bytes:
            return
        with filler.open("ab", buffering=0) as file:
            for size in CHUNKS:
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
            with suppress(OSError):
                os.fsync(file.fileno())

    def free(self) -> None:
        """Give the room back, so that no power cut takes it again."""
        (self.mount_point / FILLER).unlink(missing_ok=True)
        self.flush()

    def flush(self) -> None:
        """Let all that was written so far reach it, whoever may not have asked for that."""
        _run("sync", "--file-system", self.mount_point)

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, not even what the journal holds; all that is tried fails.

        Kill whoever uses it, then `restore_power`: it comes back as a machine would find it.
        """
        folder = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, EXT4_SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL_FLUSH))
        finally:
            os.close(folder)

    def restore_power(self) -> None:
        """Mount it anew: ext4 plays its journal, and what only memory held is gone."""
        self.unmount()
        _run("mount", "-o", "loop", self.image, self.mount_point)

    def unmount(self) -> None:
        """Wait until nobody uses it, and take it away."""
        ends = time.monotonic() + LET_GO_WITHIN_SECONDS
        while self.mount_point.is_mount():
            is_late = time.monotonic() > ends
            words = ["umount", *(["--lazy"] if is_late else []), str(self.mount_point)]
            if subprocess.run(words, capture_output=True, check=is_late).returncode:
                time.sleep(0.1)


@contextmanager
def mounted(image: Path, mount_point: Path, *, size_mib: int = SIZE_MIB) -> Iterator[Disk]:
    """A fresh disk in a folder that is made where it is not there, for as long as the block."""
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    mount_point.mkdir(parents=True, exist_ok=True)
    _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    _run("mount", "-o", "loop", image, mount_point)
    (mount_point / "lost+found").rmdir()  # initdb wants an empty folder
    disk = Disk(image, mount_point)
    try:
        yield disk
    finally:
        disk.unmount()
        image.unlink()


@cache
def why_no_disk() -> str | None:
    """Why this machine lets us mount none, or None."""
    if os.geteuid():
        return "only root may mount a disk of its own"
    try:
        with TemporaryDirectory() as folder, mounted(Path(folder, "image"), Path(folder, "disk"), size_mib=8):
            return None
    except (OSError, subprocess.CalledProcessError):
        return "the machine lets nobody mount a disk of its own"


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
