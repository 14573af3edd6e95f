"""Passwords and keys: made once, for their owner alone."""

import base64
import json
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from deploy.local.secrets import Secrets


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "secrets")
    first = secrets.password("kafka", "health")
    assert Secrets(tmp_path / "secrets").password("kafka", "health") == first
    assert secrets.password("database", "health") != first
    assert stat.S_IMODE(secrets.folder.stat().st_mode) == 0o700
    secrets.issuer_public_file()
    secrets.key_file("log")
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.folder.iterdir()} == {0o600}


def test_a_key_file_holds_32_bytes_and_its_verification_key_verifies(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    seed = base64.b64decode(secrets.key_file("log").read_text())
    assert len(seed) == 32
    name, short, key = secrets.verification_key("log", "audit.localhost/demo/2026").split("+", 2)
    assert (name, len(short)) == ("audit.localhost/demo/2026", 8)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert base64.b64decode(key) == b"\x01" + public.public_bytes_raw()


def test_what_the_local_issuer_signs_its_public_key_verifies(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    private = ECKey.import_key(json.loads(secrets.issuer_key_file().read_text()))
    public = json.loads(secrets.issuer_public_file().read_text())
    token = jwt.encode({"alg": "ES384", "kid": private.kid}, {"sub": "x"}, private, algorithms=["ES384"])
    assert jwt.decode(token, KeySet.import_key_set(public), algorithms=["ES384"]).claims == {"sub": "x"}
    assert all("d" not in key for key in public["keys"])
