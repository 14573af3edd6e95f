import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas import ids
from schemas.ids import KINDS, NotRandom, WrongLength, make

RANDOM = sorted(name for name, kind in KINDS.items() if kind.is_random)
CHOSEN = sorted(name for name, kind in KINDS.items() if not kind.is_random)


@pytest.mark.parametrize("kind", RANDOM)
@given(random_bytes=st.binary(min_size=16, max_size=16))
def test_an_id_fits_the_pattern_of_its_kind(kind: str, random_bytes: bytes) -> None:
    assert re.fullmatch(KINDS[kind].pattern, make(kind, random_bytes))


def test_an_id_is_its_prefix_and_lower_case_base32() -> None:
    assert make("referral", bytes(16)) == "ref_" + "a" * 26
    assert make("dead_letter", b"\xff" * 16) == "dl_" + "7" * 25 + "4"
    assert make("request", bytes(16)) == "urn:uuid:00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("kind", sorted(set(RANDOM) - {"request"}))
@given(one=st.binary(min_size=16, max_size=16), other=st.binary(min_size=16, max_size=16))
def test_no_random_bit_is_lost(kind: str, one: bytes, other: bytes) -> None:
    assert (make(kind, one) == make(kind, other)) == (one == other)


@pytest.mark.parametrize("kind", CHOSEN)
def test_a_chosen_id_is_never_drawn(kind: str) -> None:
    with pytest.raises(NotRandom):
        make(kind, bytes(16))


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_random_id_takes_exactly_sixteen_bytes(length: int) -> None:
    with pytest.raises(WrongLength):
        make("referral", bytes(length))


def test_no_two_kinds_share_a_prefix() -> None:
    prefixes = [kind.prefix for kind in KINDS.values() if kind.prefix]

    assert len(set(prefixes)) == len(prefixes)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ids.ReferralId, "evt_" + "a" * 26),
        (ids.ReferralId, "ref_" + "A" * 26),
        (ids.ReferralId, "ref_" + "a" * 25),
        (ids.ReferralId, "ref_" + "a" * 26 + "\n"),
        (ids.EventId, "evt_" + "1" * 26),
        (ids.CaseId, ""),
        (ids.ConsentId, "cns_"),
        (ids.AgencyId, "-starts-with-a-dash"),
        (ids.AgencyId, "a" * 32),
        (ids.DeskCode, "Night desk"),
        (ids.ProtocolId, "protocol/1"),
        (ids.ServiceId, "7F4B1C7E-0000-4000-8000-000000000000"),
        (ids.OrganizationId, "no-uuid"),
    ],
)
def test_a_wrong_id_is_refused(kind: Any, text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ids.ReferralId, "ref_" + "a2" * 13),
        (ids.AgencyId, "9-hillside-clinic"),
        (ids.DeskCode, "a" * 31),
        (ids.ServiceId, "7f4b1c7e-0000-4000-8000-000000000000"),
    ],
)
def test_a_right_id_is_taken(kind: Any, text: str) -> None:
    assert TypeAdapter(kind).validate_python(text) == text
