"""The accounts that parts run as: of their own where the supervisor is root, else everything is ours."""

import errno
import os
import pwd
import subprocess
import time
from pathlib import Path
from typing import Final, NamedTuple

from deploy.local.refusals import CannotRun

SERVICES: Final = "concert"
KAFKA: Final = "concert-kafka"
POSTGRES: Final = "concert-postgres"
NAMES: Final = (SERVICES, KAFKA, POSTGRES)
USERADD: Final = (
    "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
    "--shell", "/usr/sbin/nologin",
)  # fmt: skip
TRIES_MAX: Final = 10
"""Another command may hold the list of accounts for a moment."""
TRIED_AGAIN_SECONDS: Final = 0.3


class Account(NamedTuple):
    """An account of this machine that a part is run as."""

    uid: int
    gid: int


STRANGER: Final = Account(-1, -1)
"""Somebody who owns nothing: where this one may enter, everybody may."""


def is_root() -> bool:
    """Whether this process may become anybody."""
    return os.geteuid() == 0


def missing() -> tuple[str, ...]:
    """The accounts that a start as root has to make."""
    return tuple(name for name in NAMES if not _found(name)) if is_root() else ()


def account_of(name: str) -> Account | None:
    """A part's account, made when it is missing; None where we are not root, hence ourselves."""
    if not is_root():
        return None
    for _ in range(TRIES_MAX):
        if found := _found(name):
            return found
        try:
            subprocess.run([*USERADD, name], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except FileNotFoundError:
            break
        if not _found(name):
            time.sleep(TRIED_AGAIN_SECONDS)
    raise CannotRun(
        "no_account",
        f"The system account {name} could not be made with useradd; make {', '.join(NAMES)} by hand, without "
        "shell and password, or run Concert as an ordinary user.",
    )


def _found(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def let_read(account: Account | None, *files: Path) -> None:
    """Lets a part read files that stay ours."""
    if account:
        change(0o640, *files, gid=account.gid)


def let_enter(account: Account | None, *folders: Path) -> None:
    """Lets a part reach what it may read in folders that stay ours, without listing them."""
    if account:
        change(0o710, *folders, gid=account.gid)


def give(account: Account | None, *folders: Path) -> None:
    """Makes folders a part's own."""
    if account:
        change(0o700, *folders, uid=account.uid, gid=account.gid)


def change(mode: int, *paths: Path, uid: int = -1, gid: int = -1) -> None:
    """Changes rights and owner of files or folders; refuses a link, which may lead to what is not ours."""
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise link_refused(path) from None
        try:
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)


def link_refused(path: Path) -> CannotRun:
    """The refusal of a link where a file or folder of our own belongs."""
    return CannotRun(
        "unreachable_directory", f"{path} is a link; remove it, or name a data directory where it leads."
    )
