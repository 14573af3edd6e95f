"""An agency's packet key: kept in a file of its own, named by what it is, and the only thing that opens."""

import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.local.refusals import CannotRun
from schemas.events.access import Receipt, SignedPermit
from schemas.events.pulls import PullAnswer
from schemas.ids import make
from schemas.wire.key_records import check_key_record
from schemas.wire.packets import seal_release
from services.cli.packet_keys import CannotOpenRelease, PacketKey, may_call
from tests.support.builders import RECEIVER, agency_key, an_agency
from tests.support.clock import NOON

VAULT = Ed25519PrivateKey.generate()


def vault_key(private: Ed25519PrivateKey = VAULT) -> bytes:
    return private.public_key().public_bytes_raw()


def answer_to(key: PacketKey, group: str = "clinical", content: bytes = b'{"pep":"given"}') -> bytes:
    record = key.record(agency_key(RECEIVER), NOON)
    words = {
        "release": make("release", secrets.token_bytes(16)),
        "referral": make("referral", bytes(16)),
        "owner": "social_services",
        "recipient": key.agency,
        "key": key.id,
        "suite": key.suite,
        "purpose": "care",
        "leaf": bytes(32),
    }
    release = seal_release(words, record.public, {group: ("1", content)}, VAULT)
    permit = SignedPermit(body=b"{}", key="permit", sig=bytes(64))
    receipt = Receipt(path=(), checkpoint="note", consistency=())
    return PullAnswer(release=release, permit=permit, receipt=receipt).model_dump_json().encode()


def test_a_key_survives_its_file_which_is_its_owners_alone(tmp_path: Path) -> None:
    key, file = PacketKey.new(RECEIVER), tmp_path / "key.json"

    key.write(file)

    assert PacketKey.read(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert key.private.hex() not in repr(key)


@pytest.mark.parametrize("content", ["", "{}", '{"agency":"a","suite":7,"private":"AAAA"}'])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.json").write_text(content)

    with pytest.raises(CannotRun, match="holds no packet key"):
        PacketKey.read(tmp_path / "key.json")


def test_its_record_stands_for_it_and_it_alone_opens_what_was_sealed_to_it() -> None:
    key = PacketKey.new(RECEIVER)

    assert check_key_record(key.record(agency_key(RECEIVER), NOON), an_agency(RECEIVER), NOON)
    assert key.open(answer_to(key), vault_key()) == {"clinical": {"pep": "given"}}


def test_a_number_without_its_rules_is_not_opened() -> None:
    key = PacketKey.new(RECEIVER)

    opened = key.open(answer_to(key, "contact", b'{"name":"A","phone":"+999 1"}'), vault_key())

    assert opened == {"contact": {}}
    assert may_call(opened, NOON) is None


@pytest.mark.parametrize(
    ("channel", "until", "may"),
    [("call", "24:00", True), ("call", "00:01", False), ("text_message", "24:00", False)],
)
def test_whether_she_may_be_called_now_is_told_by_her_rules(channel: str, until: str, may: bool) -> None:
    days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    hours = {"days": days, "from_time": "00:00", "until_time": until}
    rules = {"channels": [channel], "hours": [hours], "zone": "UTC"}

    assert may_call({"contact": {"safe_contact": rules}}, NOON) is may


def test_another_key_and_another_vaults_signature_open_nothing() -> None:
    key = PacketKey.new(RECEIVER)

    for other, signed_by in ((PacketKey.new(RECEIVER), VAULT), (key, Ed25519PrivateKey.generate())):
        with pytest.raises(CannotOpenRelease):
            other.open(answer_to(key), vault_key(signed_by))
