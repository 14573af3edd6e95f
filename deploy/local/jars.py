"""Kafka's class path: the jars that the lock file names, fetched once per user and checked by hash."""

import hashlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from deploy.local.places import make_directory
from deploy.local.refusals import CannotRun
from deploy.local.subprocesses import Say, silence

LOCK: Final = Path(__file__).with_name("kafka-4.2.2.lock")
REPOSITORY_VARIABLE: Final = "CONCERT_MAVEN_REPOSITORY"
THREADS: Final = 8
DISK_FULL: Final = (28, 122)


class Jar(NamedTuple):
    """One line of the lock file."""

    name: str
    """Group, artifact and version, with colons between."""
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """Its name in the cache, where all jars lie in one folder."""
        return "{1}-{2}.jar".format(*self.name.split(":"))


def read_lock(lock: Path = LOCK) -> tuple[Jar, ...]:
    """The jars of a lock file, in its order."""
    lines = (line.split() for line in lock.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Jar(name, digest, int(size)) for name, digest, size in lines)


def class_path(cache: Path, say: Say = silence, lock: Path = LOCK) -> tuple[Path, ...]:
    """Every jar of the lock in the cache, sorted; fetches what is missing. Blocks: call it in a thread."""
    folder = make_directory(cache / lock.stem, 0o755)
    jars = read_lock(lock)
    missing = [jar for jar in jars if not _is_there(folder, jar)]
    if missing:
        megabytes = sum(jar.size for jar in missing) // 1_000_000
        say(f"fetching Apache Kafka ({len(missing)} files, {megabytes} MB; once)")
        _fetch(missing, folder, say)
    return tuple(sorted(folder / jar.file_name for jar in jars))


def _is_there(folder: Path, jar: Jar) -> bool:
    # Only checked files are ever moved here, so the size tells a file cut short by a full disk.
    try:
        return (folder / jar.file_name).stat().st_size == jar.size
    except FileNotFoundError:
        return False


def _fetch(jars: list[Jar], folder: Path, say: Say) -> None:
    fetching = Path(tempfile.mkdtemp(prefix="fetching-", dir=folder))
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            finished = pool.map(lambda jar: _fetch_one(jar, fetching, folder), jars)
            for done, _ in enumerate(finished, 1):
                if done % 10 == 0:
                    say(f"fetching Apache Kafka: {done} of {len(jars)}")
    finally:
        shutil.rmtree(fetching, ignore_errors=True)


def _fetch_one(jar: Jar, fetching: Path, folder: Path) -> None:
    from jgo.maven import MavenContext  # imported only at a first start
    from requests import RequestException

    named = os.environ.get(REPOSITORY_VARIABLE)
    context = MavenContext(repo_cache=fetching, remote_repos={"named": named} if named else None, timeout=60)
    # One artifact at a time: the library's dependency resolution once mixed two Kafka versions.
    group, artifact, version = jar.name.split(":")
    try:
        found = Path(context.project(group, artifact).at_version(version).artifact().resolve())
    except RequestException:
        sentence = f"No network: {jar.file_name} could not be fetched; try again later."
        raise CannotRun("no_network", sentence) from None
    except OSError as error:
        if error.errno in DISK_FULL:
            raise CannotRun("disk_full", f"The disk is full: {jar.file_name} could not be kept.") from None
        raise
    except RuntimeError:
        raise CannotRun("not_in_repository", f"The package repository lacks {jar.file_name}.") from None
    if hashlib.sha256(found.read_bytes()).hexdigest() != jar.sha256:
        raise CannotRun("wrong_hash", f"{jar.file_name} has not the hash of the lock file; it was not used.")
    found.chmod(0o644)
    found.replace(folder / jar.file_name)
