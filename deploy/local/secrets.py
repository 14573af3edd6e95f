"""Passwords and keys of one installation: made once, one file each, readable by their owner alone."""

import base64
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import ECKey, KeySet

from deploy.local.places import make_directory, write_private
from deploy.local.sums import Sums, bad_secret
from schemas.trail.notes import NamedKey, vkey

ENDS: Final = (".password", ".key", ".jwk", ".jwks")


class Secrets:
    """A folder of secret files; whatever is asked for and missing is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_directory(folder)
        self._sums = Sums(folder)

    def check(self) -> None:
        """Refuses a start on a file that was lost, cut short or exchanged, by its name."""
        self._sums.check(*(file for end in ENDS for file in self.folder.glob(f"*{end}")))

    def password_file(self, system: str, name: str) -> Path:
        """The file with one user's password of `kafka` or `database`."""
        return self._once(f"{system}-{name}.password", lambda: secrets.token_urlsafe(24))

    def password(self, system: str, name: str) -> str:
        """One user's password."""
        return self.password_file(system, name).read_text()

    def key_file(self, name: str) -> Path:
        """The file with 32 random bytes in base64: an Ed25519 seed or a wrapping key."""
        return self._once(f"{name}.key", lambda: base64.b64encode(secrets.token_bytes(32)).decode())

    def verification_key(self, name: str, key_name: str) -> str:
        """The public half of an Ed25519 seed as a signed note's verifiers read it."""
        seed = base64.b64decode(self.key_file(name).read_text())
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        return vkey(NamedKey(key_name, public.public_bytes_raw()))

    def issuer_key_file(self) -> Path:
        """The private key that the local issuer of access tokens signs with (JWK, ES384)."""
        return self._once("issuer.jwk", _new_issuer_key)

    def issuer_public_file(self) -> Path:
        """The key set that services check access tokens with."""
        key = ECKey.import_key(json.loads(self.issuer_key_file().read_text()))
        return self._once("issuer.public.jwks", lambda: json.dumps(KeySet([key]).as_dict(private=False)))

    def _once(self, name: str, make: Callable[[], str]) -> Path:
        path = self.folder / name
        if path.exists():
            return path
        if self._sums.names(path):  # a new one would lock out, or sign for another installation
            raise bad_secret(path, "is gone")
        self._sums.add(write_private(path, make()))
        return path


def _new_issuer_key() -> str:
    key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, auto_kid=True)
    return json.dumps(key.as_dict(private=True))
