"""What a backup may be used for: whole, of this installation, readable here; and no secret in clear."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.local import configuration
from deploy.local.backups import (
    MANIFEST,
    SEALED,
    BackupKey,
    BackupManifest,
    DatabaseCopy,
    SealedSecrets,
    check_backup,
    file_of,
    new_folder,
    put_back_secrets,
    read_manifest,
    seal_secrets,
    write_manifest,
)
from deploy.local.configuration import LOG_NUMBER
from deploy.local.installation import Installation
from deploy.local.refusals import CannotRun
from schemas.wire.hpke import key_id, length_prefixed, seal

KNOWN: Final = {"health": {"runtime_0001", "sector_0001"}, "audit": {"audit_0001"}}
CANARY: Final = "canary-7d1c0b"


def an_installation(folder: Path, **changes: Any) -> Installation:
    installation = Installation(configuration.trial(folder, **changes), {})
    installation.secrets.password("database", "postgres")
    return installation


@pytest.fixture
def its(tmp_path: Path) -> Installation:
    return an_installation(tmp_path / "data")


@pytest.fixture
def key(tmp_path: Path) -> BackupKey:
    return BackupKey.create(tmp_path / "key")


def made(its: Installation, key: BackupKey, directory: Path, **changes: Any) -> Path:
    """A backup whose copies hold a few bytes."""
    with new_folder(directory) as folder:
        copies = {}
        for service, revisions in KNOWN.items():
            file = folder / f"{service}.dump"
            file.write_bytes(b"rows")
            told = file_of(file).model_dump()
            copies[service] = DatabaseCopy(**told, revisions=tuple(sorted(revisions)), epoch=1)
        seal_secrets(its, key, folder / SEALED)
        words = {
            "made_at": datetime(2026, 11, 27, tzinfo=UTC),
            "mode": "local",
            "cell": "test-local",
            "origin": its.configuration.origin,
            "postgres": 18,
            "trail_size": 0,
            "databases": copies,
            "secrets": file_of(folder / SEALED),
        }
        write_manifest(folder, BackupManifest.model_validate(words | changes), its)
    return directory


def refused(directory: Path, its: Installation) -> str:
    with pytest.raises(CannotRun) as refusal:
        check_backup(directory, read_manifest(directory), its, KNOWN)
    return refusal.value.code


@pytest.mark.parametrize("number", [1, 2, 10])
def test_what_this_installation_made_of_any_log_of_its_year_may_be_used(
    its: Installation, key: BackupKey, tmp_path: Path, number: int
) -> None:
    (its.configuration.data / LOG_NUMBER).write_text(f"{number}\n")
    directory = made(its, key, tmp_path / "backup")

    check_backup(directory, read_manifest(directory), its, KNOWN)

    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("changes", [{"mode": "test"}, {"cell": "test-other"}, {"origin": "audit.x/y/2026"}])
def test_another_installations_is_refused(
    its: Installation, key: BackupKey, tmp_path: Path, changes: dict[str, str]
) -> None:
    assert refused(made(its, key, tmp_path / "backup", **changes), its) == "foreign_backup"


def test_what_another_key_signed_is_refused(its: Installation, key: BackupKey, tmp_path: Path) -> None:
    twin = an_installation(tmp_path / "twin")  # of the same name

    assert refused(made(twin, key, tmp_path / "backup"), its) == "foreign_backup"


def test_a_copy_of_a_newer_release_is_refused(its: Installation, key: BackupKey, tmp_path: Path) -> None:
    directory = made(its, key, tmp_path / "backup")

    for known in (KNOWN | {"audit": set()}, {"health": KNOWN["health"]}):
        with pytest.raises(CannotRun) as refusal:
            check_backup(directory, read_manifest(directory), its, known)
        assert refusal.value.code == "other_version"


def altered(file: Path, words: str = '"postgres": 18', by: str = '"postgres": 17') -> None:
    file.write_text(file.read_text().replace(words, by))


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda it: (it / MANIFEST).unlink(), "no_backup"),
        (lambda it: (it / MANIFEST).write_bytes((it / MANIFEST).read_bytes()[:-9]), "bad_backup"),
        (lambda it: altered(it / MANIFEST), "foreign_backup"),
        (lambda it: altered(it / MANIFEST, "test-local", "../../etc"), "bad_backup"),
        (lambda it: altered(it / MANIFEST, "audit.localhost/demo", "x"), "bad_backup"),
        (lambda it: (it / "health.dump").write_bytes(b"roWs"), "bad_backup"),
        (lambda it: (it / "health.dump").write_bytes(b"row"), "bad_backup"),
        (lambda it: (it / "audit.dump").unlink(), "bad_backup"),
        (lambda it: (it / SEALED).write_bytes(b"{}"), "bad_backup"),
    ],
)  # fmt: skip
def test_one_that_is_not_as_it_was_made_is_refused(
    its: Installation, key: BackupKey, tmp_path: Path, damage: Damage, code: str
) -> None:
    directory = made(its, key, tmp_path / "backup")
    damage(directory)

    assert refused(directory, its) == code


def test_one_that_was_cut_off_has_no_name(its: Installation, key: BackupKey, tmp_path: Path) -> None:
    made(its, key, tmp_path / "other").rename(tmp_path / ".backup.partial")  # killed before its renaming

    with contextlib.suppress(RuntimeError), new_folder(tmp_path / "late") as folder:
        (folder / "health.dump").write_bytes(b"rows")
        raise RuntimeError

    assert not (tmp_path / "late").exists()
    with pytest.raises(CannotRun) as refusal:
        read_manifest(tmp_path / "backup")
    assert refusal.value.code == "no_backup"
    assert read_manifest(made(its, key, tmp_path / "backup"))


def test_secrets_are_sealed_to_the_recipient_and_some_are_in_no_backup(
    its: Installation, key: BackupKey, tmp_path: Path
) -> None:
    secrets, vault = its.secrets.folder, its.vault_folder("health")
    vault.mkdir(parents=True)
    for file in (secrets / "a.password", secrets / "wrap.key", secrets / "vault-health.key", vault / "kek"):
        file.write_text(f"{CANARY} {file.name}")
    its.high_water_file.parent.mkdir()
    its.high_water_file.write_text(CANARY)

    directory = made(its, key, tmp_path / "backup")

    assert all(CANARY.encode() not in file.read_bytes() for file in directory.iterdir())
    (secrets / "a.password").unlink()
    for kept_apart in (secrets / "wrap.key", secrets / "vault-health.key", vault / "kek"):
        kept_apart.unlink()
    (secrets / "database-postgres.password").write_text("newer")
    with pytest.raises(CannotRun) as refusal:
        put_back_secrets(directory, its, BackupKey.create(tmp_path / "another key"))
    assert refusal.value.code == "cannot_open"
    assert put_back_secrets(directory, its, BackupKey.read(tmp_path / "key")) == ["a.password"]
    assert (secrets / "a.password").read_text() == f"{CANARY} a.password"
    assert (secrets / "database-postgres.password").read_text() == "newer"


@pytest.mark.parametrize(
    "content",
    [b"x", b"[]", b'{"a.key": 5}', b'{"../a.key": "QUFB"}', b'{"a\\u0000.key": "QUFB"}', b'{"a.key": "%"}'],
)
def test_secrets_that_somebody_else_sealed_to_the_recipient_are_refused(
    its: Installation, key: BackupKey, tmp_path: Path, content: bytes
) -> None:
    directory = made(its, key, tmp_path / "backup")
    forge(directory, its, key, content)

    with pytest.raises(CannotRun) as refusal:
        put_back_secrets(directory, its, key)

    assert refusal.value.code == "cannot_open"


def test_no_backup_brings_a_key_that_is_kept_apart_or_a_file_that_is_no_secret(
    its: Installation, key: BackupKey, tmp_path: Path
) -> None:
    directory = made(its, key, tmp_path / "backup")
    forge(directory, its, key, b'{"wrap.key": "QUFB", "vault-police.key": "QUFB", "SHA256SUMS": "QUFB"}')

    assert put_back_secrets(directory, its, key) == []


def forge(directory: Path, its: Installation, key: BackupKey, content: bytes) -> None:
    """Whoever knows the public key can seal to it."""
    words = length_prefixed("xbaks/1", its.configuration.cell, its.configuration.origin)
    sealed = seal(key.suite, key.public, words, content)
    told = SealedSecrets(suite=key.suite, key=key_id(key.suite, key.public), sealed=sealed)
    (directory / SEALED).write_text(told.model_dump_json())


@pytest.mark.parametrize("recipient", ["hpke2:AAAA", "hpke9:AAAA", "hpke2", "no such file", "hpkex:AAAA"])
def test_a_recipient_that_is_no_key_is_refused_without_repeating_it(recipient: str) -> None:
    with pytest.raises(CannotRun) as refusal:
        BackupKey.named(recipient)

    assert refusal.value.code == "bad_key_file"
    assert recipient not in refusal.value.sentence


def test_a_key_is_named_by_itself_or_by_a_file_and_shows_no_private_half(tmp_path: Path) -> None:
    key = BackupKey.create(tmp_path / "key")
    (tmp_path / "public").write_text(f"{key.text}\n")

    assert BackupKey.named(key.text) == BackupKey.named(str(tmp_path / "public"))
    assert BackupKey.read(tmp_path / "key") == key
    assert repr(key.private)[2:10] not in repr(key)
    with pytest.raises(CannotRun) as refusal:
        BackupKey.create(tmp_path / "key")
    assert refusal.value.code == "key_exists"
