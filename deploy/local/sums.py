"""The checksums of a folder's secret files: what was lost, cut short or exchanged is named at a start."""

import hashlib
import os
from pathlib import Path
from typing import Final

from deploy.local.refusals import CannotRun

FILE: Final = "SHA256SUMS"
"""As `sha256sum -c` reads it. It gives nothing away: every secret holds at least 128 random bits."""


class Sums:
    """The list of a folder; a file is listed right after it was made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._list = folder / FILE

    def add(self, file: Path) -> None:
        """Lists a file. A crash before it leaves an unlisted file, which the next start lists."""
        with os.fdopen(os.open(self._list, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as sums:
            sums.write(f"{_sum(file)}  {file.name}\n")
            sums.flush()
            os.fsync(sums.fileno())

    def names(self, file: Path) -> bool:
        """Whether a file is listed, hence must be there."""
        return file.name in self._listed()

    def check(self, *files: Path) -> None:
        """Refuses what is not as it was made, and lists what is new."""
        listed = self._listed()
        for file in (*(self._folder / name for name in listed), *files):
            if not file.exists():
                raise bad_secret(file, "is gone")
            if not file.read_bytes().strip():
                raise bad_secret(file, "is empty")
            if file.name not in listed:
                self.add(file)
            elif _sum(file) != listed[file.name]:
                raise bad_secret(file, "is not the file that this installation was made with")

    def _listed(self) -> dict[str, str]:
        try:
            lines = self._list.read_text("ascii").splitlines()
        except FileNotFoundError:
            return {}
        except UnicodeDecodeError:
            raise bad_secret(self._list, "cannot be read") from None
        return {name: told for told, _, name in (line.partition("  ") for line in lines) if name}


def bad_secret(file: Path, what: str) -> CannotRun:
    """The refusal of a start on a secret file that cannot be right."""
    return CannotRun("bad_secret", f"{file} {what}; restore it from a backup. Nothing was changed.")


def _sum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
