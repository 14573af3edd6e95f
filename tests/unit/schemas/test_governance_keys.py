"""Who signed what is in force: every document, however signed, at a reader and at governance itself."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from schemas.events.governance import ProtocolCurrent, document_hash
from schemas.events.governance_keys import (
    GovernanceBody,
    GovernanceKeys,
    KeysUnreadable,
    SignatureFault,
    is_suspension,
    kid_of,
    news_of,
    signed_bytes,
)
from schemas.wire.body import key_of
from services.governance.domain.publications import Publication, check_signed
from services.runtime.errors import Refused
from tests.support.builders import a_protocol, a_protocol_current, a_service, an_agency
from tests.support.clock import NOON
from tests.support.governance import HOLDERS, KEYS, KEYS_TEXT, PUBLIC, STRANGER_TO_ALL, signed

FIRST, SECOND, THIRD = HOLDERS
PUBLIC_THIRD = THIRD.public_key().public_bytes_raw()
REVOKED = GovernanceKeys({kid: key for kid, key in KEYS.keys.items() if kid != kid_of(PUBLIC_THIRD)})
"""What a service pins once the third holder's key was taken away."""


def a_body(kind: str, version: int = 2, **changes: Any) -> Any:
    makers: dict[str, Callable[..., GovernanceBody]] = {
        "agency": an_agency, "service": a_service, "protocol": a_protocol_current,
    }  # fmt: skip
    return makers[kind](version=version, **changes)


def altered(body: Any) -> Any:
    """The same signatures over other content."""
    if isinstance(body, ProtocolCurrent):
        document = a_protocol(version=2, entry_fresh_for_days=1000)
        return body.model_copy(update={"document": document, "hash": document_hash(document)})
    return body.model_copy(update={"signing_key": body.signing_key.replace("ed25519:", "ed25519:A")[:52]})


def exchanged(body: Any) -> Any:
    """The second holder's signature under the third one's name."""
    first, second = body.signatures
    second = second.model_copy(update={"kid": kid_of(PUBLIC_THIRD)})
    return body.model_copy(update={"signatures": (first, second)})


CASES: list[tuple[str, Callable[[Any], Any], str | None]] = [
    ("unsigned", lambda body: body.model_copy(update={"signatures": ()}), "unsigned"),
    ("one", lambda body: signed(body, FIRST), "signed_once"),
    ("two by one key", lambda body: signed(body, FIRST, FIRST), "signed_once"),
    ("two", lambda body: signed(body, FIRST, SECOND), None),
    ("two in the other order", lambda body: signed(body, SECOND, FIRST), None),
    ("three", lambda body: signed(body, *HOLDERS[:2], FIRST), None),
    ("two, and a stranger", lambda body: signed(body, FIRST, STRANGER_TO_ALL, SECOND), None),
    ("a stranger", lambda body: signed(body, FIRST, STRANGER_TO_ALL), "key_not_pinned"),
    ("a revoked key", lambda body: signed(body, FIRST, THIRD), "key_not_pinned"),
    ("altered", altered, "signature_mismatch"),
    ("exchanged", exchanged, "key_not_pinned"),
]


@pytest.mark.parametrize("kind", ["agency", "service", "protocol"])
@pytest.mark.parametrize(("name", "change", "reason"), CASES, ids=[name for name, _, _ in CASES])
def test_a_reader_and_governance_itself_take_what_two_pinned_keys_have_signed(
    kind: str, name: str, change: Callable[[Any], Any], reason: str | None
) -> None:
    last, body = a_body(kind, version=1), change(a_body(kind))
    known = {key_of(last): last}
    published = Publication(kind, key_of(last), 1, "0" * 64, last, NOON)  # type: ignore[arg-type]

    if reason is None:
        assert news_of([body], known, REVOKED) == [body]
        check_signed(body, published, REVOKED)
        return
    with pytest.raises(SignatureFault) as fault:
        news_of([body], known, REVOKED)
    with pytest.raises(Refused) as refused:
        check_signed(body, published, REVOKED)
    assert (fault.value.reason, refused.value.code) == (reason, reason)


def test_a_signature_under_another_holders_name_is_none() -> None:
    with pytest.raises(SignatureFault, match="signature_mismatch"):
        KEYS.check(exchanged(an_agency()))


@pytest.mark.parametrize("kind", ["agency", "service", "protocol"])
def test_a_reader_takes_newer_versions_alone_and_the_last_one_again_is_no_news(kind: str) -> None:
    last = a_body(kind)
    known = {key_of(last): last}
    other: dict[str, Any] = {"entry_fresh_for_days": 9} if kind == "protocol" else {"status": "suspended"}

    assert news_of([last, signed(last, SECOND, THIRD)], known, KEYS) == []
    assert news_of([newer := a_body(kind, version=3), newer], known, KEYS) == [newer]
    for stale in (a_body(kind, version=1), a_body(kind, **other)):
        with pytest.raises(SignatureFault, match="version_not_newer"):
            news_of([stale], known, KEYS)


def test_a_protocol_under_a_hash_that_is_not_its_own_is_refused() -> None:
    forged = signed(a_protocol_current().model_copy(update={"hash": "0" * 64}))

    with pytest.raises(SignatureFault, match="hash_wrong"):
        KEYS.check(forged)


@pytest.mark.parametrize("kind", ["agency", "service"])
def test_a_suspension_waits_for_nobody_and_a_reactivation_for_two(kind: str) -> None:
    active = a_body(kind, version=1)
    unsigned = {"signatures": ()}
    suspended = active.model_copy(update={"version": 2, "status": "suspended"} | unsigned)
    back = active.model_copy(update={"version": 3} | unsigned)
    known = {key_of(active): active}
    sneaked = suspended.model_copy(update={"signing_key": an_agency("other").signing_key})

    assert news_of([suspended], known, KEYS) == [suspended]
    assert news_of([suspended, signed(back)], known, KEYS) == [suspended, signed(back)]
    assert is_suspension(suspended, active)
    for last, body in ((known, sneaked), ({}, suspended), ({key_of(active): suspended}, back)):
        with pytest.raises(SignatureFault, match="unsigned"):
            news_of([body], last, KEYS)


def test_the_signed_bytes_are_a_label_and_the_canonical_form_without_signatures() -> None:
    service = a_service("police").model_copy(update={"signing_key": "ed25519:A", "vault_key": "ed25519:B"})

    assert signed_bytes(service) == (
        b'concert/governance/v1\n{"service":"police","signing_key":"ed25519:A","status":"active",'
        b'"vault_key":"ed25519:B","version":1}'
    )


FILE = json.loads(KEYS_TEXT)
NAMES = list(FILE)
UNREADABLE: list[Any] = [
    {}, {NAMES[0]: FILE[NAMES[0]]}, {**FILE, "gk_aaaaaaaaaaaaaaaa": FILE[NAMES[0]]},
    {NAMES[0]: FILE[NAMES[1]], NAMES[1]: FILE[NAMES[0]]},
    {**FILE, NAMES[0]: FILE[NAMES[0]].replace("ed", "x")},
    list(FILE), "planted", {NAMES[0]: 1, NAMES[1]: 2},
    {kid_of(bytes(32)): "ed25519:" + "A" * 43 + "=", NAMES[0]: FILE[NAMES[0]]},
]  # fmt: skip


@pytest.mark.parametrize("content", UNREADABLE)
def test_a_file_of_keys_is_two_or_three_sound_ones_each_under_its_own_id(content: Any) -> None:
    with pytest.raises(KeysUnreadable):
        GovernanceKeys.read(json.dumps(content).encode())


def test_a_file_of_two_or_three_keys_is_read_and_a_name_twice_is_not() -> None:
    assert GovernanceKeys.read(KEYS_TEXT).keys == PUBLIC
    assert len(GovernanceKeys.read(json.dumps(dict(list(FILE.items())[:2])).encode()).keys) == 2
    with pytest.raises(KeysUnreadable):
        GovernanceKeys.read(b"{" + KEYS_TEXT[1:-1] + b"," + KEYS_TEXT[1:])
