"""A backup as a folder: a signed manifest, a copy of each database, the secrets sealed to a recipient."""

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from deploy.local.configuration import WORD
from deploy.local.installation import Installation
from deploy.local.places import flush, write_private
from deploy.local.refusals import CannotRun
from deploy.local.secrets import ENDS
from schemas.events.access import Whole
from schemas.trail.bytes import TrailFault, decoded, encoded
from schemas.wire.exact_bytes import Bytes
from schemas.wire.hpke import (
    DEFAULT_SUITE,
    SUITES,
    CannotOpen,
    is_public_key,
    key_id,
    length_prefixed,
    new_pair,
    open_sealed,
    public_of,
    seal,
)
from schemas.wire.signed import SignatureWrong, SignedObject, check_signature, sign
from services.runtime.durable_files import sync_folder

FORMAT: Final = "xbak/1"
MANIFEST: Final = "manifest.json"
SEALED: Final = "secrets.sealed"
MANIFEST_BYTES_MAX: Final = 1 << 20
SIGNED_BY: Final = "backup"
"""The key of an installation that its manifests are signed with: a restore runs what is in a copy."""
KEPT_APART: Final = ("wrap.key", "vault-*.key")
"""Secrets in no backup: with the trail's wrapping key or a vault's, what was erased could be read again."""
PIECE_BYTES: Final = 1 << 20
NO_KEY: Final = (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError)
"""What a file that holds no key makes of its reading."""

_ORIGIN: Final = rf"^[a-z0-9.-]+/{WORD[1:-1]}/[1-9][0-9]{{3}}(-[1-9][0-9]{{0,5}})?$"
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_SECRETS: Final = TypeAdapter(dict[Annotated[str, Field(pattern=_NAME)], Bytes])


class _Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class BackupFile(_Words):
    """A file of a backup, as it was when the manifest was written."""

    bytes: Whole
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class DatabaseCopy(BackupFile):
    """The copy of one service's database."""

    revisions: tuple[str, ...] = Field(max_length=8)
    """Which migrations it had."""
    epoch: Whole
    """The writer's epoch; 0 where the service writes no events."""


class BackupManifest(SignedObject):
    """What a backup holds, of which installation, and of when."""

    v: Literal["xbak/1"] = FORMAT
    made_at: AwareDatetime
    mode: Literal["local", "test", "live"]
    cell: str = Field(pattern=WORD)
    origin: str = Field(pattern=_ORIGIN)
    """The name of its access log."""
    postgres: Whole
    """The server's major version."""
    trail_size: Whole
    databases: Mapping[str, DatabaseCopy]
    secrets: BackupFile


class SealedSecrets(_Words):
    """The secret files, for whoever holds the private half of one key."""

    v: Literal["xbaks/1"] = "xbaks/1"
    suite: int
    key: str
    sealed: Bytes


class BackupKey(NamedTuple):
    """A recipient's key: the public half, and at a restore the private one."""

    suite: int
    public: bytes
    private: bytes = b""

    def __repr__(self) -> str:
        return f"BackupKey({key_id(self.suite, self.public)})"

    @classmethod
    def create(cls, file: Path) -> Self:
        """A fresh key; its private half is in the file alone."""
        if file.exists():
            raise CannotRun("key_exists", f"{file} exists already, and a key is never written over.")
        if not file.parent.is_dir():
            raise CannotRun("unreachable_directory", f"{file.parent} is no folder; make it first.")
        private, public = new_pair(DEFAULT_SUITE)
        write_private(file, json.dumps({"suite": DEFAULT_SUITE, "private": encoded(private)}))
        return cls(DEFAULT_SUITE, public, private)

    @classmethod
    def read(cls, file: Path) -> Self:
        """The private key of a file."""
        try:
            words = json.loads(file.read_text("ascii"))
            suite, private = int(words["suite"]), decoded(words["private"])
            return cls(suite, public_of(suite, private), private)
        except (*NO_KEY, TrailFault, CannotOpen):
            raise _bad_key() from None

    @classmethod
    def named(cls, recipient: str) -> Self:
        """The public key that is given, by itself or in a file."""
        try:
            text = Path(recipient).read_text("ascii") if not recipient.startswith("hpke") else recipient
            name, _, written = text.strip().partition(":")
            suite, public = int(name.removeprefix("hpke")), decoded(written)
        except (OSError, ValueError, TrailFault):
            raise _bad_key() from None
        if suite not in SUITES or not is_public_key(suite, public):
            raise _bad_key()
        return cls(suite, public)

    @property
    def text(self) -> str:
        """The public half as it is handed in."""
        return f"hpke{self.suite}:{encoded(self.public)}"


def _bad_key() -> CannotRun:
    sentence = "That is no key for backups; make one with `concert backup-key KEYFILE`."
    return CannotRun("bad_key_file", sentence)


@contextmanager
def new_folder(directory: Path) -> Iterator[Path]:
    """A folder that gets its name only once all that was put into it is on disk; cut off, it has none."""
    if directory.exists():
        raise CannotRun("backup_exists", f"{directory} exists; name a new folder.")
    if not directory.parent.is_dir():
        raise CannotRun("unreachable_directory", f"{directory.parent} is no folder; make it first.")
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of one that was cut off
    try:
        partial.mkdir(mode=0o700)
        yield partial
        flush(partial)
        partial.rename(directory)
        sync_folder(directory.parent)
    except OSError as error:
        sentence = f"{directory} could not be written: {error.strerror}; nothing was kept."
        raise CannotRun("cannot_write", sentence) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def file_of(path: Path) -> BackupFile:
    """Size and checksum of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return BackupFile(bytes=size, sha256=digest.hexdigest())


def seal_secrets(installation: Installation, recipient: BackupKey, file: Path) -> None:
    """Puts the secret files into one that the recipient alone opens; what is kept apart is not among them."""
    installation.secrets.signing_key(SIGNED_BY)  # made by now, so that it is among them
    taken = [path for path in sorted(installation.secrets.folder.iterdir()) if _is_taken(path)]
    content = json.dumps({path.name: base64.b64encode(path.read_bytes()).decode() for path in taken})
    sealed = seal(recipient.suite, recipient.public, _context(installation), content.encode())
    name = key_id(recipient.suite, recipient.public)
    write_private(file, SealedSecrets(suite=recipient.suite, key=name, sealed=sealed).model_dump_json())


def put_back_secrets(folder: Path, installation: Installation, key: BackupKey) -> list[str]:
    """Opens the sealed file and puts back what is missing; one that is there is never replaced."""
    try:
        told = SealedSecrets.model_validate_json((folder / SEALED).read_bytes())
        content = open_sealed(key.suite, key.private, _context(installation), told.sealed)
        found = _SECRETS.validate_json(content)
    except OSError:
        raise _no_backup(folder) from None
    except (ValidationError, CannotOpen):
        sentence = "The secrets do not open with this key, or are another installation's."
        raise CannotRun("cannot_open", sentence) from None
    secrets = installation.secrets.folder
    back = [name for name in found if _is_taken(secrets / name) and not (secrets / name).exists()]
    for name in back:
        write_private(secrets / name, found[name])
    return back


def _is_taken(path: Path) -> bool:
    """Whether a secret belongs into backups; anybody can seal others to the recipient's public key."""
    return path.suffix in ENDS and not any(path.match(pattern) for pattern in KEPT_APART)


def write_manifest(folder: Path, manifest: BackupManifest, installation: Installation) -> BackupManifest:
    """Signs what the backup holds and writes it down, last of all."""
    signed = sign(manifest, installation.secrets.signing_key(SIGNED_BY))
    write_private(folder / MANIFEST, signed.model_dump_json(indent=1))
    return signed


def read_manifest(folder: Path) -> BackupManifest:
    """What a backup says of itself."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            return BackupManifest.model_validate_json(file.read(MANIFEST_BYTES_MAX))
    except OSError:
        raise _no_backup(folder) from None
    except ValidationError:
        sentence = f"{folder / MANIFEST} is no manifest that this release can read."
        raise CannotRun("bad_backup", sentence) from None


def check_backup(
    folder: Path, manifest: BackupManifest, installation: Installation, revisions: Mapping[str, set[str]]
) -> None:
    """Refuses what this installation did not make, what it cannot read, and what is not as it was made.

    `revisions` are the migrations that this release knows of each database.
    """
    its = installation.configuration
    first = re.sub(r"-\d+$", "", manifest.origin)  # whichever log of the year it was
    told = (manifest.mode, its.mode), (manifest.cell, its.cell), (first, its.origin_of(1))
    for name, (there, here) in zip(("mode", "cell", "origin"), told, strict=True):
        if there != here:
            raise CannotRun("foreign_backup", f"The backup is another installation's: its {name} differs.")
    try:
        check_signature(manifest, installation.secrets.signing_key(SIGNED_BY).public_key().public_bytes_raw())
    except SignatureWrong:
        sentence = "This installation's key did not sign the manifest; on a new machine give --key KEYFILE."
        raise CannotRun("foreign_backup", sentence) from None
    if manifest.databases.keys() != revisions.keys():
        raise CannotRun("other_version", "The backup is of a release with other services than this one.")
    for service, copy in manifest.databases.items():
        if not set(copy.revisions) <= revisions[service]:
            sentence = f"The copy of {service} is of a newer release; restore with that one."
            raise CannotRun("other_version", sentence)
        _check_file(folder / f"{service}.dump", copy)
    _check_file(folder / SEALED, manifest.secrets)


def _check_file(path: Path, told: BackupFile) -> None:
    try:
        found = file_of(path)
    except OSError:
        raise CannotRun("bad_backup", f"{path} is missing or cannot be read.") from None
    if (found.bytes, found.sha256) != (told.bytes, told.sha256):
        raise CannotRun("bad_backup", f"{path} is not as it was made; use another backup.")


def _context(installation: Installation) -> bytes:
    return length_prefixed(
        "xbaks/1", installation.configuration.cell, installation.configuration.origin_of(1)
    )


def _no_backup(folder: Path) -> CannotRun:
    sentence = f"{folder} holds no whole backup; one that was cut off has no manifest."
    return CannotRun("no_backup", sentence)
