"""Kafka's jars: fetched from the repository that is named, checked by hash, kept for the next time."""

import gc
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local import jars
from deploy.local.refusals import CannotRun

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""The library that fetches does not close the connection of an answer that it does not read."""


@pytest.fixture(scope="module", autouse=True)
def connections_end_here() -> Iterator[None]:
    yield
    gc.collect()


NOWHERE = "http://127.0.0.1:9"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package repository on this machine with one small file."""
    folder = tmp_path / "repository" / "org" / "example" / "thing" / "1.0"
    folder.mkdir(parents=True)
    (folder / "thing-1.0.jar").write_bytes(b"content")
    handler = partial(Quiet, directory=str(tmp_path / "repository"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv(jars.REPOSITORY_VARIABLE, f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()
        thread.join()


def a_lock(folder: Path, digest: str | None = None, artifact: str = "thing") -> Path:
    lock = folder / "thing.lock"
    digest = digest or hashlib.sha256(b"content").hexdigest()
    lock.write_text(f"# a comment\norg.example:{artifact}:1.0\t{digest}\t7\n")
    return lock


def test_the_committed_lock_names_46_jars_once_each() -> None:
    found = jars.read_lock()
    assert len({jar.file_name for jar in found}) == len(found) == 46


def test_a_jar_is_fetched_once_and_then_found(
    tmp_path: Path, repository: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, cache, said = a_lock(tmp_path), tmp_path / "cache", list[str]()
    (path,) = jars.class_path(cache, said.append, lock)
    assert path.read_bytes() == b"content"
    monkeypatch.setenv(jars.REPOSITORY_VARIABLE, NOWHERE)
    assert jars.class_path(cache, said.append, lock) == (path,)
    assert len(said) == 1


def test_a_jar_with_another_hash_is_refused_and_not_kept(tmp_path: Path, repository: None) -> None:
    lock, cache = a_lock(tmp_path, "0" * 64), tmp_path / "cache"
    with pytest.raises(CannotRun) as refusal:
        jars.class_path(cache, lock=lock)
    assert (refusal.value.code, refusal.value.exit_code) == ("wrong_hash", 1)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_jar_that_was_cut_short_is_fetched_again(tmp_path: Path, repository: None) -> None:
    lock, cache = a_lock(tmp_path), tmp_path / "cache"
    (path,) = jars.class_path(cache, lock=lock)
    path.write_bytes(b"con")
    jars.class_path(cache, lock=lock)
    assert path.read_bytes() == b"content"


def test_without_network_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(jars.REPOSITORY_VARIABLE, NOWHERE)
    with pytest.raises(CannotRun) as refusal:
        jars.class_path(tmp_path / "cache", lock=a_lock(tmp_path))
    assert (refusal.value.code, refusal.value.exit_code) == ("no_network", 6)


def test_a_repository_without_the_jar_is_named_as_that(tmp_path: Path, repository: None) -> None:
    with pytest.raises(CannotRun) as refusal:
        jars.class_path(tmp_path / "cache", lock=a_lock(tmp_path, artifact="other"))
    assert refusal.value.code == "not_in_repository"
