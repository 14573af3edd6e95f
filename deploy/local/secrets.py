"""Passwords and keys of one installation: made once, one file each, readable by their owner alone."""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import ECKey, KeySet

from deploy.local.places import make_directory, write_private
from deploy.local.refusals import CannotRun
from schemas.events.governance_keys import HOLDERS, kid_of
from schemas.trail.notes import NamedKey, vkey
from schemas.wire.public_keys import written

ENDS: Final = (".password", ".key", ".jwk", ".jwks", ".json")
CHECKSUMS: Final = "SHA256SUMS"
"""As `sha256sum -c` reads it. It gives nothing away: every secret holds at least 128 random bits."""


class SecretFolder:
    """Secret files and their checksums: what was lost, cut short or exchanged is named at a start."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_directory(folder)
        self._list = folder / CHECKSUMS

    def check_files(self, *files: Path) -> None:
        """Refuses what is not as it was made, and lists what is new."""
        listed = self._listed()
        for file in (*(self.folder / name for name in listed), *files):
            if not file.exists():
                raise bad_secret(file, "is gone")
            if not file.read_bytes().strip():
                raise bad_secret(file, "is empty")
            if file.name not in listed:
                self._add(file)
            elif _checksum(file) != listed[file.name]:
                raise bad_secret(file, "is not the file that this installation was made with")

    def made_once(self, name: str, make: Callable[[], str | bytes]) -> Path:
        """A file of this folder; made where it never was, for a new one would be another installation's."""
        path = self.folder / name
        if path.exists():
            return path
        if name in self._listed():
            raise bad_secret(path, "is gone")
        self._add(write_private(path, make()))
        return path

    def _add(self, file: Path) -> None:
        # A crash before it leaves an unlisted file, which the next start lists.
        with os.fdopen(os.open(self._list, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as listed:
            listed.write(f"{_checksum(file)}  {file.name}\n")
            listed.flush()
            os.fsync(listed.fileno())

    def _listed(self) -> dict[str, str]:
        try:
            lines = self._list.read_text("ascii").splitlines()
        except FileNotFoundError:
            return {}
        except UnicodeDecodeError:
            raise bad_secret(self._list, "cannot be read") from None
        return {name: told for told, _, name in (line.partition("  ") for line in lines) if name}


class Secrets(SecretFolder):
    """The passwords and keys; whatever is asked for and missing is made."""

    def check(self) -> None:
        """Refuses a start on a file that was lost, cut short or exchanged, by its name."""
        self.check_files(*(file for end in ENDS for file in self.folder.glob(f"*{end}")))

    def password_file(self, system: str, name: str) -> Path:
        """The file with one user's password of `kafka` or `database`."""
        return self.made_once(f"{system}-{name}.password", lambda: secrets.token_urlsafe(24))

    def password(self, system: str, name: str) -> str:
        """One user's password."""
        return self.password_file(system, name).read_text()

    def key_file(self, name: str) -> Path:
        """The file with 32 random bytes in base64: an Ed25519 seed or a wrapping key."""
        return self.made_once(f"{name}.key", lambda: base64.b64encode(secrets.token_bytes(32)).decode())

    def verification_key(self, name: str, key_name: str) -> str:
        """The public half of an Ed25519 seed as a signed note's verifiers read it."""
        return vkey(NamedKey(key_name, _public(self.signing_key(name))))

    def signing_key(self, name: str) -> Ed25519PrivateKey:
        """The Ed25519 key that a seed makes."""
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(self.key_file(name).read_text()))

    def public_key(self, name: str) -> str:
        """Its public half, as `ed25519:…`."""
        return written(_public(self.signing_key(name)))

    @property
    def governance_keys(self) -> list[Ed25519PrivateKey]:
        """The keys of three holders, for an installation in which they are one."""
        return [self.signing_key(f"governance-{holder}") for holder in range(1, HOLDERS + 1)]

    def governance_public_file(self) -> Path:
        """Their public halves, by their ids."""
        public = [_public(key) for key in self.governance_keys]
        written_down = {kid_of(key): written(key) for key in public}
        return self.made_once("governance.public.json", lambda: json.dumps(written_down, indent=1))

    def issuer_key_file(self) -> Path:
        """The private key that the local issuer of access tokens signs with (JWK, ES384)."""
        return self.made_once("issuer.jwk", _new_token_key)

    def issuer_public_file(self) -> Path:
        """The key set that services check access tokens with."""
        return self.made_once("issuer.public.jwks", lambda: json.dumps(_public_set(self.issuer_key_file())))

    def client_key_file(self, client: str) -> Path:
        """The private key by which a client of the local issuer proves itself (JWK, ES384)."""
        return self.made_once(f"issuer-{client}.jwk", _new_token_key)

    def client_keys(self, client: str) -> Mapping[str, Any]:
        """Its public half, as a key set."""
        return _public_set(self.client_key_file(client))


def _new_token_key() -> str:
    key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, auto_kid=True)
    return json.dumps(key.as_dict(private=True))


def _public_set(file: Path) -> Mapping[str, Any]:
    return dict(KeySet([ECKey.import_key(json.loads(file.read_text()))]).as_dict(private=False))


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def bad_secret(file: Path, what: str) -> CannotRun:
    """The refusal of a start on a secret file that cannot be right."""
    return CannotRun("bad_secret", f"{file} {what}; restore it from a backup. Nothing was changed.")


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
