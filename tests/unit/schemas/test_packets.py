"""The formats of packets, wraps, releases and key records: vectors, an oracle, and one change at a time."""

import hashlib
import hmac
import itertools
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from schemas.ids import make
from schemas.wire import hpke
from schemas.wire.hpke import CannotOpen, key_id, length_prefixed, new_pair, open_sealed, seal
from schemas.wire.key_records import BadKeyRecord, KeyRecord, check_key_record, sign_key_record
from schemas.wire.packets import (
    CONTENT_BYTES_MAX,
    IntakeKey,
    PacketPlace,
    PacketTooLarge,
    Release,
    WrapPlace,
    decrypt_group,
    encrypt_group,
    open_release,
    seal_release,
    unwrap_at_intake,
    unwrap_with_kek,
    wrap_for_intake,
    wrap_with_kek,
)
from schemas.wire.public_keys import written
from schemas.wire.signed import SignatureWrong, sign
from tests.unit.schemas import naive_hpke

PLACE: Final = PacketPlace(
    "social_services", "p_test", "ks_test", "k_test", "contact", "1", "soc-1",
    "urn:concert:schema:packet.contact:1.0",
)  # fmt: skip
WRAP_PLACE: Final = WrapPlace("social_services", "e12", "ks_test", "k_test", "contact", "1")
CONTENT: Final = b'{"phone":"+000 000 000"}'
NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
SIGNING: Final = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
SIGNING_PUBLIC: Final = SIGNING.public_key().public_bytes_raw()


def vector(name: str) -> bytes:
    return hashlib.sha256(f"test vector: {name}".encode()).digest()


DATA_KEY: Final = vector("data key")


def test_the_vectors_come_out_byte_for_byte() -> None:
    ct, kc = encrypt_group(PLACE, DATA_KEY, CONTENT)
    wrap = wrap_with_kek(WRAP_PLACE, vector("kek"), vector("nonce")[:12], DATA_KEY)

    assert len(PLACE.associated_data()) == 126
    assert kc.hex() == "78f83ba9d9e38b3c90e1524127d836d3d0779464b64d8ed6f34e4036afc59145"
    assert ct[:16].hex() == "e6df1037c603bfc6e3898d2b5c81e61a"
    assert ct[-16:].hex() == "859b286107833ede50894eb67f5902c5"
    assert len(ct) == 1040
    assert hashlib.sha256(ct).hexdigest() == (
        "60e2ec888d279f19a574f75771dd834682e8cbcabe02adeb722b9c705f50464b"
    )
    assert wrap.hex() == (
        "a55234013f16fb2447f0e0c7fde115b1442ae694c9e71ed62cc20bbe22306490b7a7ffe6debcbd301b44759002c4ed8b"
        "51f924ca32012846dbfce97a"
    )


def test_the_commitment_and_key_are_hkdf_as_rfc_5869_writes_it() -> None:
    prk = hmac.digest(hashlib.sha256(PLACE.associated_data()).digest(), DATA_KEY, "sha256")
    first = hmac.digest(prk, b"xpkt/1 key\x01", "sha256")
    second = hmac.digest(prk, first + b"xpkt/1 key\x02", "sha256")

    assert first.hex() == "680b73ee4506f06e3e90472009808f7612ba9fb44f80154bc85ccfbb07c722ee"
    assert encrypt_group(PLACE, DATA_KEY, CONTENT)[1] == second


def test_suite_one_is_hpke_as_the_rfc_writes_it() -> None:
    private, public = new_pair(1)

    assert naive_hpke.open_sealed(private, b"info", seal(1, public, b"info", b"text")) == b"text"
    assert open_sealed(1, private, b"info", naive_hpke.seal(public, b"info", b"text")) == b"text"


@pytest.mark.parametrize(("suite", "added"), [(1, 48), (2, 1136)])
def test_a_suite_opens_what_it_sealed_and_nothing_changed(suite: int, added: int) -> None:
    private, public = new_pair(suite)
    sealed = seal(suite, public, b"info", DATA_KEY)

    assert open_sealed(suite, private, b"info", sealed) == DATA_KEY
    assert len(sealed) == len(DATA_KEY) + added
    changed = [flipped(sealed, at) for at in (0, 31, len(sealed) // 2, len(sealed) - 1)]
    for text in (*changed, sealed[:-1], sealed + b"\0", b""):
        with pytest.raises(CannotOpen):
            open_sealed(suite, private, b"info", text)
    for other in ((suite, private, b"inf"), (3 - suite, private, b"info"), (3, private, b"info")):
        with pytest.raises(CannotOpen):
            open_sealed(*other, sealed)
    with pytest.raises(CannotOpen):
        open_sealed(suite, new_pair(suite)[0], b"info", sealed)


@pytest.mark.parametrize("suite", [1, 2])
def test_a_weak_or_short_public_key_is_none(suite: int) -> None:
    size = hpke.SUITES[suite].public_bytes

    assert not hpke.is_public_key(suite, bytes(size))
    assert not hpke.is_public_key(suite, new_pair(suite)[1][:-1])
    assert hpke.is_public_key(suite, new_pair(suite)[1])


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def moved(one: str, next_one: str) -> tuple[str, str]:
    """The same letters, the border between two fields one letter on."""
    return one + next_one[0], next_one[1:]


NAMES: Final = PacketPlace._fields
OTHER_PLACES: Final = [PLACE._replace(**{name: getattr(PLACE, name) + "x"}) for name in NAMES] + [
    PLACE._replace(**dict(zip(pair, moved(*(getattr(PLACE, name) for name in pair)), strict=True)))
    for pair in itertools.pairwise(NAMES)
]


@pytest.mark.parametrize("place", OTHER_PLACES)
def test_a_group_opens_in_its_own_place_alone(place: PacketPlace) -> None:
    ct, kc = encrypt_group(PLACE, DATA_KEY, CONTENT)

    assert decrypt_group(PLACE, DATA_KEY, ct, kc) == CONTENT
    with pytest.raises(CannotOpen):
        decrypt_group(place, DATA_KEY, ct, kc)
    # Not the commitment alone: with one made for the other place the text still does not open.
    with pytest.raises(CannotOpen):
        decrypt_group(place, DATA_KEY, ct, encrypt_group(place, DATA_KEY, b"{}")[1])


def test_a_flipped_bit_in_any_part_of_a_group_is_refused() -> None:
    ct, kc = encrypt_group(PLACE, DATA_KEY, CONTENT)

    for parts in (
        (flipped(DATA_KEY, 5), ct, kc),
        (DATA_KEY, flipped(ct, 0), kc),
        (DATA_KEY, flipped(ct, len(ct) - 1), kc),
        (DATA_KEY, ct[:-1], kc),
        (DATA_KEY, ct, flipped(kc, 31)),
        (DATA_KEY, ct, b""),
    ):
        with pytest.raises(CannotOpen):
            decrypt_group(PLACE, *parts)


@pytest.mark.parametrize(
    ("length", "size"), [(0, 1024), (1020, 1024), (1021, 2048), (5000, 8192), (CONTENT_BYTES_MAX, 262144)]
)
def test_sizes_are_powers_of_two(length: int, size: int) -> None:
    ct, kc = encrypt_group(PLACE, DATA_KEY, b"x" * length)

    assert len(ct) == size + 16
    assert decrypt_group(PLACE, DATA_KEY, ct, kc) == b"x" * length


def test_a_group_over_its_bound_is_refused() -> None:
    with pytest.raises(PacketTooLarge):
        encrypt_group(PLACE, DATA_KEY, b"x" * (CONTENT_BYTES_MAX + 1))


def an_intake(suite: int, public: bytes) -> IntakeKey:
    until = NOW + timedelta(days=14)
    draft = IntakeKey(
        sector="social_services", epoch="e12", suite=suite, public=public, not_before=NOW, not_after=until
    )
    return sign(draft, SIGNING)


@pytest.mark.parametrize(("suite", "size"), [(1, 80), (2, 1168)])
def test_a_wrap_opens_in_its_own_place_alone(suite: int, size: int) -> None:
    private, public = new_pair(suite)
    place = WRAP_PLACE
    wrap = wrap_for_intake(
        an_intake(suite, public), place.keyset, place.key, place.group, place.version, DATA_KEY
    )
    adopted = wrap_with_kek(place, b"k" * 32, secrets.token_bytes(12), DATA_KEY)

    assert (len(wrap), len(adopted)) == (size, 60)
    assert unwrap_at_intake(place, suite, private, wrap) == DATA_KEY
    assert unwrap_with_kek(place, b"k" * 32, adopted) == DATA_KEY
    for name in WrapPlace._fields:
        other = place._replace(**{name: getattr(place, name) + "1"})
        with pytest.raises(CannotOpen):
            unwrap_at_intake(other, suite, private, wrap)
        with pytest.raises(CannotOpen):
            unwrap_with_kek(other, b"k" * 32, adopted)
    for broken in (flipped(adopted, 3), flipped(adopted, 59), adopted[:40], b""):
        with pytest.raises(CannotOpen):
            unwrap_with_kek(place, b"k" * 32, broken)


def a_release(suite: int, public: bytes, **changes: Any) -> Release:
    words = {
        "release": make("release", b"r" * 16),
        "referral": make("referral", b"f" * 16),
        "owner": "social_services",
        "recipient": "police-2",
        "key": key_id(suite, public),
        "suite": suite,
        "purpose": "protection",
        "leaf": b"l" * 32,
    }
    contents = {"contact": ("1", CONTENT), "protection": ("2", b"{}")}
    return seal_release(words | changes, public, contents, SIGNING)


OTHER_WORDS: Final[dict[str, Any]] = {
    "release": make("release", b"x" * 16),
    "referral": make("referral", b"x" * 16),
    "owner": "health",
    "recipient": "police-1",
    "key": key_id(1, b"x" * 32),
    "purpose": "investigation",
    "leaf": b"x" * 32,
}


@pytest.mark.parametrize("suite", [1, 2])
def test_a_release_opens_at_the_agency_it_is_sealed_to(suite: int) -> None:
    private, public = new_pair(suite)
    release = Release.model_validate_json(a_release(suite, public).model_dump_json())

    opened = open_release(release, private, SIGNING_PUBLIC)

    assert opened == {"contact": {"phone": "+000 000 000"}, "protection": {}}
    for name, value in OTHER_WORDS.items():
        altered = release.model_copy(update={name: value})
        with pytest.raises(SignatureWrong):
            open_release(altered, private, SIGNING_PUBLIC)
        with pytest.raises(CannotOpen):  # nor under a signature of its own
            open_release(sign(altered, SIGNING), private, SIGNING_PUBLIC)
    exchanged = {"contact": release.groups["protection"], "protection": release.groups["contact"]}
    altered = sign(release.model_copy(update={"groups": exchanged}), SIGNING)
    with pytest.raises(CannotOpen):
        open_release(altered, private, SIGNING_PUBLIC)
    with pytest.raises(SignatureWrong):
        open_release(release, private, bytes(32))
    with pytest.raises(SignatureWrong):
        open_release(release.model_copy(update={"sig": None}), private, SIGNING_PUBLIC)


def test_a_release_needs_a_group_and_no_unknown_word() -> None:
    release = a_release(1, new_pair(1)[1]).model_dump(mode="json")

    wrongs: tuple[dict[str, Any], ...] = (
        {"groups": {}}, {"suite": 3}, {"suite": "1"}, {"v": "xrel/2"}, {"more": 1}, {"leaf": "AA=="},
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            Release.model_validate(release | wrong)


class AnAdmission:
    agency, status, signing_key = "police-2", "active", written(SIGNING_PUBLIC)


def a_record(**changes: Any) -> KeyRecord:
    suite = changes.pop("suite", 2)
    words = {
        "holder": "police-2",
        "suite": suite,
        "public": new_pair(suite)[1],
        "not_before": NOW,
        "not_after": NOW + timedelta(days=90),
    }
    return sign_key_record(SIGNING, **(words | changes))


def of_another(**changes: str) -> Any:
    return type("AnotherAdmission", (AnAdmission,), changes)()


def forged(**changes: Any) -> KeyRecord:
    """A record changed after it was signed."""
    return a_record().model_copy(update=changes)


DAY: Final = timedelta(days=1)
WRONG_RECORDS: Final[list[tuple[str, KeyRecord, Any, datetime]]] = [
    ("key_of_another_agency", a_record(holder="police-1"), AnAdmission(), NOW),
    ("key_of_another_agency", a_record(use="channel"), AnAdmission(), NOW),
    ("key_agency_suspended", a_record(), of_another(status="suspended"), NOW),
    ("key_not_valid_now", a_record(), AnAdmission(), NOW - timedelta(seconds=1)),
    ("key_not_valid_now", a_record(), AnAdmission(), NOW + 90 * DAY),
    ("key_record_unsigned", a_record(), of_another(signing_key=written(b"o" * 32)), NOW),
    ("key_record_unsigned", forged(sig=None), AnAdmission(), NOW),
    ("key_record_unsigned", forged(not_after=NOW + 91 * DAY), AnAdmission(), NOW + 90 * DAY),
]


@pytest.mark.parametrize(("code", "record", "admission", "at"), WRONG_RECORDS)
def test_a_key_record_that_does_not_stand_is_refused_by_its_code(
    code: str, record: KeyRecord, admission: Any, at: datetime
) -> None:
    with pytest.raises(BadKeyRecord) as refused:
        check_key_record(record, admission, at)

    assert refused.value.code == code


@pytest.mark.parametrize("suite", [1, 2])
def test_a_key_record_gives_the_key(suite: int) -> None:
    record = KeyRecord.model_validate_json(a_record(suite=suite).model_dump_json())

    assert check_key_record(record, AnAdmission(), NOW) == record.public


def test_a_record_holds_a_sound_key_under_its_own_id_for_ninety_days_at_most() -> None:
    record = a_record(suite=1).model_dump(mode="json")
    zero = "A" * 43 + "="

    for wrong in (
        {"key": key_id(1, b"x" * 32)},
        {"suite": 2},
        {"public": zero, "key": key_id(1, bytes(32))},
        {"not_after": "2027-03-02T12:00:00Z"},
        {"not_after": record["not_before"]},
    ):
        with pytest.raises(ValidationError):
            KeyRecord.model_validate(record | wrong)


def test_signed_bytes_are_the_label_and_the_canonical_form() -> None:
    for words in (a_record(), an_intake(1, new_pair(1)[1]), a_release(1, new_pair(1)[1])):
        plain = words.model_dump(mode="json", exclude={"sig"})
        assert words.signed_bytes() == f"{words.v} sig".encode() + rfc8785.dumps(plain)


def test_length_prefixes_keep_borders() -> None:
    assert length_prefixed("ab", 7, b"\0") == b"\0\0\0\2ab\0\0\0\0017\0\0\0\1\0"
    assert key_id(1, b"x" * 32).startswith("rk_")
    assert len(key_id(1, b"x" * 32)) == 29
