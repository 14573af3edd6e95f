"""Where things lie, and who may reach them."""

import os
from pathlib import Path

import pytest

from deploy.local import accounts, places
from deploy.local.accounts import STRANGER, Account
from deploy.local.refusals import CannotRun

SOMEBODY = Account(54_321, 54_321)


def test_a_private_home_cannot_be_reached_by_another_account(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with pytest.raises(CannotRun, match="cannot reach") as refusal:
        places.must_reach(home, SOMEBODY)
    assert refusal.value.code == "unreachable_directory"
    places.must_reach(home, None)
    (home / "outside").symlink_to("/usr")
    assert not places.may_enter(home / "outside", SOMEBODY), "the way to the link counts too"


def test_a_temporary_directory_can_be_reached_and_vanishes() -> None:
    with places.temporary_directory() as path:
        (path / "file").touch()
        assert not accounts.is_root() or places.can_reach(path / "file", STRANGER)
    assert not path.exists()


def test_a_private_file_is_replaced_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    places.write_private(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_the_usual_directories_follow_the_environment_of_an_ordinary_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "is_root", lambda: False)
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere/state")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    assert places.default_directory() == Path("/somewhere/state/concert")
    assert places.cache_directory() == Path("/somewhere/cache/concert")
    monkeypatch.setattr(places, "is_root", lambda: True)
    assert places.default_directory() == Path("/var/lib/concert")
    monkeypatch.setattr(places, "is_root", lambda: False)
    monkeypatch.delenv("XDG_STATE_HOME")
    assert places.default_directory() == Path.home() / ".local" / "state" / "concert"


def test_a_file_where_a_directory_belongs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(CannotRun, match="a directory is needed"):
        places.make_directory(tmp_path / "taken")


def test_somebody_elses_link_is_no_directory_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "audit").symlink_to(tmp_path)
    places.make_directory(tmp_path / "audit")
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    with pytest.raises(CannotRun, match="audit is a link"):
        places.make_directory(tmp_path / "audit")


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir(mode=0o750)
    places.make_directory(given, 0o711)
    assert given.stat().st_mode & 0o777 == 0o750
    assert places.make_directory(tmp_path / "ours", 0o711).stat().st_mode & 0o777 == 0o711
