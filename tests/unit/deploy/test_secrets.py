"""Passwords and keys: made once, for their owner alone; a bad one is refused by its name at a start."""

import base64
import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from deploy.local import configuration
from deploy.local.installation import OPERATOR, Installation
from deploy.local.processes import PROCESSES, usual_ports
from deploy.local.refusals import CannotRun
from deploy.local.secrets import CHECKSUMS, Secrets
from schemas.topics import SERVICES

WAYS: dict[str, Callable[[Path, Path], object]] = {
    "empty": lambda file, _: file.write_bytes(b""),
    "truncated": lambda file, _: file.write_bytes(file.read_bytes()[:-9]),
    "foreign": lambda file, other: file.write_bytes((other / file.parent.name / file.name).read_bytes()),
    "gone": lambda file, _: file.unlink(),
}


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


def an_installation(data: Path) -> Installation:
    """With every secret that a first start makes, without the start."""
    installation = Installation(configuration.trial(data), usual_ports())
    for user in (*SERVICES, "admin", "broker"):
        installation.secrets.password("kafka", user)
    assert installation.admin_url()
    assert installation.database_passwords
    installation.renew_certificates()
    for process in PROCESSES:
        process.environment(installation)
    return installation


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    for name in ("ours", "another's"):
        an_installation(folder / name)
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_every_bad_secret_file_is_refused_by_its_name(made: Path, tmp_path: Path, way: str) -> None:
    ours = tmp_path / "ours"
    shutil.copytree(made / "ours", ours)
    installation = Installation(configuration.trial(ours), usual_ports())
    files = [
        file
        for name in ("secrets", "certificates")
        for file in (ours / name).iterdir()
        if file.name != CHECKSUMS
    ]
    leaves = {f"{name}{end}" for name in (*SERVICES, OPERATOR) for end in (".pem", ".key")}
    assert len(files) > 45

    installation.check_secrets()
    for file in files:
        if way == "gone" and file.parent.name == "certificates" and file.name in leaves:
            continue  # made anew
        right = file.read_bytes()
        WAYS[way](file, made / "another's")
        with pytest.raises(CannotRun) as refusal:
            installation.check_secrets()
        assert (refusal.value.code, refusal.value.exit_code) == ("bad_secret", 1)
        assert refusal.value.sentence.startswith(f"{file} ")
        file.write_bytes(right)


@pytest.mark.parametrize("content", ["{}", "no json", '{"gk_aaaaaaaaaaaaaaaa": "ed25519:planted"}'])
def test_a_file_that_names_no_keys_of_governance_is_refused(made: Path, tmp_path: Path, content: str) -> None:
    shutil.copytree(made / "ours", tmp_path / "ours")
    file = tmp_path / "governance.json"
    file.write_text(content)
    chosen = configuration.trial(tmp_path / "ours", governance_keys_file=file)

    with pytest.raises(CannotRun) as refusal:
        Installation(chosen, usual_ports()).check_secrets()

    assert refusal.value.code == "bad_secret"
    assert refusal.value.sentence.startswith(f"{file} ")
    assert "planted" not in refusal.value.sentence


def test_a_secret_that_was_lost_is_not_made_anew_by_whoever_asks_for_it(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "ours", tmp_path / "ours")
    installation = Installation(configuration.trial(tmp_path / "ours"), usual_ports())
    installation.secrets.key_file("log").unlink()
    with pytest.raises(CannotRun, match=r"log\.key is gone"):
        installation.secrets.key_file("log")


def test_a_file_whose_listing_a_crash_prevented_is_listed_by_the_next_start(tmp_path: Path) -> None:
    installation = an_installation(tmp_path)
    file = installation.secrets.key_file("log")
    sums = file.with_name(CHECKSUMS)
    sums.write_text(
        "".join(line for line in sums.read_text().splitlines(keepends=True) if "log.key" not in line)
    )
    installation.check_secrets()
    assert "  log.key\n" in sums.read_text()
