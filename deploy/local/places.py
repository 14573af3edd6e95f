"""Where things lie on this machine, and who may reach them."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy.local.accounts import STRANGER, Account, change, is_root, link_refused
from deploy.local.refusals import CannotRun

TEMPORARY_ROOTS: Final = (tempfile.gettempdir(), "/tmp", "/var/tmp")  # noqa: S108 (mkdtemp makes the name)


def default_directory() -> Path:
    """The ordinary data directory of this user."""
    if is_root():
        return Path("/var/lib/concert")
    return Path(os.environ.get("XDG_STATE_HOME") or _home() / ".local" / "state") / "concert"


def cache_directory() -> Path:
    """Where downloads lie that all data directories of this user share."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "concert"
    return Path("/var/cache/concert") if is_root() else _home() / ".cache" / "concert"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise CannotRun("no_account", "The current user has no home directory; name a directory.") from None


def make_directory(path: Path, mode: int = 0o700) -> Path:
    """Makes a directory of our own, or says in one sentence why not; one that exists keeps its mode."""
    try:
        path.mkdir(mode=mode, parents=True)
        change(mode, path)  # whatever the umask
    except FileExistsError:
        if path.is_symlink() and path.lstat().st_uid != os.geteuid():
            raise link_refused(path) from None
        if not path.is_dir():
            raise CannotRun("unreachable_directory", f"{path} is a file; a directory is needed.") from None
    except OSError as error:
        raise CannotRun("unreachable_directory", f"{path} cannot be made: {error.strerror}.") from None
    return path


def can_reach(path: Path, account: Account) -> bool:
    """Whether an account may pass through every folder above `path` and read it."""
    return may_enter(path.parent, account) and _may(path, account, stat.S_IROTH)


def may_enter(folder: Path, account: Account) -> bool:
    """Whether an account may pass through a folder and all above it."""
    passed = {part for way in (folder.absolute(), folder.resolve()) for part in (way, *way.parents)}
    return all(_may(part, account, stat.S_IXOTH) for part in passed)


def _may(path: Path, account: Account, right: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    if found.st_uid == account.uid:
        return bool(found.st_mode & right << 6)
    if found.st_gid == account.gid:
        return bool(found.st_mode & right << 3)
    return bool(found.st_mode & right)


def must_reach(folder: Path, account: Account | None) -> None:
    """Refuses a folder that a part's account could never enter."""
    if account and not may_enter(folder, account):
        raise CannotRun(
            "unreachable_directory",
            f"Started as root, parts run as accounts of their own, which cannot reach {folder}; choose a "
            "directory outside of private homes, or let others pass through it (chmod o+x).",
        )


def write_private(path: Path, content: str | bytes, *, durably: bool = True) -> Path:
    """Writes a file that only its owner may read; readers see the old content or the new, never a part."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        if durably:
            os.fsync(file.fileno())
    return fresh.replace(path)


def flush(folder: Path) -> None:
    """Lets a power cut find a folder's own files as they are now."""
    for path in (*(each for each in folder.iterdir() if each.is_file()), folder):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def temporary_directory(prefix: str = "concert-") -> Iterator[Path]:
    """A directory that vanishes afterwards and that every part may reach."""
    reached = [root for root in TEMPORARY_ROOTS if not is_root() or may_enter(Path(root), STRANGER)]
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=next(iter(reached), None)))
    path.chmod(0o711 if is_root() else 0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
