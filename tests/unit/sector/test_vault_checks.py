"""What `open` checks: a right pull is released; one that is wrong in one point is refused by the check of it.

Each case is right in every other respect, signatures included, so that leaving one check out lets its own
cases pass and no other: the mutants at the end.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest

from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent
from schemas.events.packet import FIELD_ROWS
from schemas.events.policy import PullDecision, compile_pulls
from schemas.ids import make
from schemas.trail.bytes import TrailFault, decoded, encoded
from schemas.trail.notes import Checkpoint
from schemas.trail.permits import read_permit
from schemas.wire.hpke import CannotOpen, new_pair
from services.sector.vault import checks
from services.sector.vault.checks import Agreement
from services.sector.vault.requests import DangerGround
from tests.support.vault_scene import (
    AGENCY_KEY,
    CONSENT,
    CONTENTS,
    KEYSET,
    LOG,
    NOW,
    OWNER,
    RECIPIENT,
    STRANGER,
    Pull,
    Watch,
    a_consent,
    a_danger,
    a_protocol,
    a_pull,
    a_record,
    a_service,
    a_vault,
    adopted,
    an_agency,
    answered,
    ed25519,
    frame_of,
    governed,
    opened,
    signed_consent,
    stored,
)

Result = dict[str, Any]
CONTACT: Final = {"safe_contact": CONTENTS["contact"]["safe_contact"]}


@pytest.fixture(scope="module")
def pull(tmp_path_factory: pytest.TempPathFactory) -> Pull:
    """A right pull at a vault that closed nothing."""
    return adopted(a_pull(a_vault(tmp_path_factory.mktemp("vault"), Watch())))


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Pull:
    """A right pull at a vault that has closed its keyset since it was asked for the permit."""
    return adopted(a_pull(a_vault(tmp_path_factory.mktemp("erased"), Watch())))


@pytest.fixture(scope="module")
def withdrawn(tmp_path_factory: pytest.TempPathFactory) -> Pull:
    """The same where her consent was withdrawn."""
    return adopted(a_pull(a_vault(tmp_path_factory.mktemp("withdrawn"), Watch())))


def test_a_right_pull_is_released_as_its_recipient_may_see_it(pull: Pull) -> None:
    assert pull.opened() == {"contact": CONTACT, "clinical": CONTENTS["clinical"]}


def test_what_her_consent_names_for_the_recipient_is_shown_to_it(pull: Pull) -> None:
    consent = signed_consent(a_consent(fields={RECIPIENT: ("contact.phone",)}))

    assert replace(pull, consent=consent).opened()["contact"] == CONTACT | {"phone": "+000 000 000"}


def test_the_agency_that_recorded_the_packet_sees_all_of_it(pull: Pull) -> None:
    assert own_case(pull).opened() == CONTENTS


def own_case(pull: Pull, asker: str = OWNER) -> Pull:
    record = a_record(holder=asker)
    recipient = governed(an_agency(agency=asker))
    changes = {"agency": asker}
    return replace(
        pull, basis="own_case", consent=None, record=record, recipient=recipient, access_changes=changes
    )


def in_danger(pull: Pull, danger: DangerGround | None = None, **changes: Any) -> Result:
    groups = tuple(row for row in pull.groups if row.wrap.group == "contact")
    words = {"basis": "break_glass", "purpose": "protection", "consent": None, "groups": groups} | changes
    return replace(pull, danger=danger or a_danger(), **words).opened()


def test_in_danger_another_agencys_word_stands_in_for_her_consent(pull: Pull) -> None:
    assert in_danger(pull) == {"contact": CONTENTS["contact"]}


def at_once(pull: Pull, **changes: Any) -> Result:
    return replace(pull, **changes).opened()


def altered(pull: Pull, **changes: Any) -> Result:
    """Something of the frame exchanged after the permit was given."""
    try:
        return opened(pull.vault, pull.request().model_copy(update=changes))
    except CannotOpen:
        return {}  # it was sealed to another key than ours


def twice(pull: Pull) -> Result:
    request = pull.request()
    assert "refused" not in opened(pull.vault, request)
    return opened(pull.vault, request)


def group_with(pull: Pull, **changes: Any) -> Result:
    """The first group's row altered in the database."""
    row = pull.groups[0].model_copy(update=changes)
    return at_once(pull, groups=(row, *pull.groups[1:]))


def consented(pull: Pull, **changes: Any) -> Result:
    return at_once(pull, consent=signed_consent(a_consent(**changes)))


def versions_exchanged(pull: Pull) -> Result:
    """The entry names version 1 of contact, the database hands out version 2."""
    newer = stored(pull.vault, "contact", CONTENTS["contact"], version="2")
    return altered(pull, groups=(newer, pull.groups[1]))


def closed(pull: Pull, kind: str, name: str) -> Result:
    request = pull.request()
    row = {"n": 1, "kind": kind, "id": name}
    assert "refused" not in answered(pull.vault, op="closed", rows=[row], newest=1)
    return opened(pull.vault, request)


Case = tuple[str, Callable[[Pull], Result]]
CASES: Final[dict[str, Case]] = {
    "V1 permit of another key": ("permit_signature_wrong", lambda its: at_once(its, signer=STRANGER)),
    "V2 another audience": (
        "permit_for_another_service",
        lambda its: at_once(its, body_changes={"audience": "urn:concert:test-unit:police"}),
    ),
    "V3 permit of another request": (
        "permit_for_another_request",
        lambda its: at_once(its, body_changes={"request": b"r" * 32}),
    ),
    "V4 entry of another purpose": (
        "detail_differs",
        lambda its: at_once(its, detail_changes={"purpose": "schooling"}),
    ),
    "V5 leaf not in the tree": ("not_in_tree", lambda its: at_once(its, path=(b"x" * 32,) * 2)),
    "V6 checkpoint of another log key": (
        "checkpoint_untrusted",
        lambda its: at_once(its, log=replace(LOG, private=ed25519("other log"))),
    ),
    "V7 tree that does not grow": ("not_consistent", lambda its: at_once(its, growth=(b"x" * 32,))),
    "nonce used twice": ("nonce_unknown", twice),
    "late request": ("request_late", lambda its: at_once(its, asked_at=NOW - timedelta(seconds=6))),
    "early request": ("request_late", lambda its: at_once(its, asked_at=NOW + timedelta(seconds=6))),
    "another version than the entry names": ("request_differs", versions_exchanged),
    "another packet than the entry names": (
        "request_differs",
        lambda its: at_once(its, access_changes={"packet": make("packet", b"q" * 16)}),
    ),
    "another key than the entry names": (
        "request_differs",
        lambda its: altered(
            its, key_record=a_record(suite=1, public=new_pair(1)[1]).model_dump_json().encode()
        ),
    ),
    "another protocol than the entry names": (
        "request_differs",
        lambda its: altered(its, protocol=governed(a_protocol(entry_fresh_for_days=2))),
    ),
    "key record of another signing key": (
        "key_record_unsigned",
        lambda its: at_once(its, record=a_record(signed_by=ed25519("somebody"))),
    ),
    "key record out of date": (
        "key_not_valid_now",
        lambda its: at_once(its, record=a_record(not_before=NOW - timedelta(days=90), not_after=NOW)),
    ),
    "suspended agency": (
        "key_agency_suspended",
        lambda its: at_once(its, recipient=governed(an_agency(status="suspended"))),
    ),
    "admission signed once": (
        "admission_unsigned",
        lambda its: at_once(its, recipient=governed(an_agency(), holders=1)),
    ),
    "service signed once": ("service_unsigned", lambda its: at_once(its, service=governed(a_service(), 1))),
    "protocol signed once": ("protocol_unsigned", lambda its: at_once(its, protocol_holders=1)),
    "consent of another signing key": (
        "consent_unsigned",
        lambda its: at_once(its, consent=signed_consent(a_consent(), AGENCY_KEY)),
    ),
    "consent to others": (
        "consent_does_not_cover",
        lambda its: consented(its, recipients=("agency-c",)),
    ),
    "consent for another purpose": (
        "consent_does_not_cover",
        lambda its: consented(its, purposes=("protection",)),
    ),
    "consent for fewer groups": ("consent_does_not_cover", lambda its: consented(its, groups=("contact",))),
    "consent of another case": (
        "consent_does_not_cover",
        lambda its: consented(its, keyset=make("keyset", b"o" * 16)),
    ),
    "another consent than the entry names": ("consent_does_not_cover", lambda its: consented(its, version=2)),
    "consent that has ended": ("consent_expired", lambda its: consented(its, expires_at=NOW)),
    "own case of another agency": ("not_own_case", lambda its: own_case(its, RECIPIENT).opened()),
    "danger approved by another key": (
        "approval_unsigned",
        lambda its: in_danger(its, a_danger(signed_by=ed25519("somebody"))),
    ),
    "danger to another referral": (
        "approval_differs",
        lambda its: in_danger(its, a_danger(referral=make("referral", b"o" * 16))),
    ),
    "danger of four hours ago": (
        "approval_not_valid_now",
        lambda its: in_danger(its, a_danger(approved_at=NOW - timedelta(hours=4))),
    ),
    "danger approved by another agency than is shown": (
        "approval_differs",
        lambda its: in_danger(its, a_danger(approver="agency-q")),
    ),
    "erased keyset": ("keyset_closed", lambda its: closed(its, "keyset", KEYSET)),
    "withdrawn consent": ("consent_closed", lambda its: closed(its, "consent", f"{CONSENT}/1")),
    "protocol that has ended": (
        "protocol_not_live",
        lambda its: at_once(its, protocol=a_protocol(valid_until="2026-03-02T12:00:00Z")),
    ),
    "protocol between others": (
        "protocol_not_live",
        lambda its: at_once(its, protocol=a_protocol(parties=["agency-b", "agency-c"])),
    ),
    "purpose that the table denies": ("policy_denies", lambda its: at_once(its, purpose="shelter")),
    "kc of another key": ("cannot_open", lambda its: group_with(its, kc=b"k" * 32)),
}
VAULTS: Final = {"erased keyset": "erased", "withdrawn consent": "withdrawn"}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the bytes and texts of a frame stand."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, (*path, name))
    elif isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield from leaves(one, (*path, place))
    elif isinstance(value, str) and len(value) > 3:
        yield path


def with_changed(frame: Any, path: tuple[Any, ...], chance: Random) -> Any:
    """The frame with one bit of what stands there flipped: of the bytes, where it is base64 of some."""
    if path:
        changed = frame.copy()
        changed[path[0]] = with_changed(frame[path[0]], path[1:], chance)
        return changed
    try:
        raw = bytearray(decoded(frame))
    except TrailFault:
        at = chance.randrange(len(frame))
        return frame[:at] + chr(ord(frame[at]) ^ 1) + frame[at + 1 :]
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return encoded(bytes(raw))


UNBOUND: Final = {("op",), ("request", "idem"), ("asked_at",)}
"""What a single bit may change without harm, or turns into another operation."""


def test_one_flipped_bit_anywhere_in_a_frame_releases_nothing(pull: Pull) -> None:
    chance = Random(1)
    plain = frame_of(pull.request())
    places = [path for path in leaves(plain) if path not in UNBOUND]

    for path in places:
        frame = frame_of(pull.request())
        assert "refused" in answered(pull.vault, **with_changed(frame, path, chance)), path
    assert len(places) > 50


@pytest.fixture(scope="module")
def pulls(pull: Pull, erased: Pull, withdrawn: Pull) -> dict[str, Pull]:
    return {
        case: {"erased": erased, "withdrawn": withdrawn}.get(VAULTS.get(case, ""), pull) for case in CASES
    }


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_in_one_point_is_refused_by_its_code(case: str, pulls: dict[str, Pull]) -> None:
    code, of = CASES[case]

    assert of(pulls[case]) == {"refused": code}


def _raw(kind: Any) -> Callable[..., Any]:
    return lambda text, *_: kind.model_validate_json(text)


def _nothing(*_given: Any, **_named: Any) -> None:
    return None


def _unchecked_checkpoint(note: str, _trust: Any) -> Checkpoint:
    origin, size, root = note.split("\n")[:3]
    return Checkpoint(origin, int(size), decoded(root))


def _unread_agreement(text: bytes, _keys: Any) -> Agreement:
    current = ProtocolCurrent.model_validate_json(text)
    return Agreement(current, compile_pulls(current.document))


PERMITS_OF: Final = "schemas.trail.permits."
CHECKS_OF: Final = "services.sector.vault.checks."
MUTANTS: Final[dict[str, tuple[str, Any, set[str]]]] = {
    "V1": (
        f"{PERMITS_OF}check_signature",
        lambda permit, _trust: read_permit(permit["body"]),
        {"V1 permit of another key"},
    ),
    "V2": (f"{PERMITS_OF}check_addressed", _nothing, {"V2 another audience"}),
    "V3": (f"{PERMITS_OF}check_requested", _nothing, {"V3 permit of another request"}),
    "V4": (f"{PERMITS_OF}check_opened", _nothing, {"V4 entry of another purpose"}),
    "V5": (f"{PERMITS_OF}check_in_tree", _nothing, {"V5 leaf not in the tree"}),
    "V6": (f"{PERMITS_OF}check_signed", _unchecked_checkpoint, {"V6 checkpoint of another log key"}),
    "V7": (f"{PERMITS_OF}check_grown", _nothing, {"V7 tree that does not grow"}),
    "nonce": (
        "services.sector.vault.operations.Nonces.take",
        lambda nonces, nonce, _digest: nonces._asked[nonce],
        {"nonce used twice"},
    ),
    "time": (f"{CHECKS_OF}check_time", _nothing, {"late request", "early request"}),
    "detail": (
        f"{CHECKS_OF}check_detail",
        _nothing,
        {
            "another version than the entry names",
            "another packet than the entry names",
            "another key than the entry names",
            "another protocol than the entry names",
        },
    ),
    "key record": (
        f"{CHECKS_OF}check_recipient",
        lambda record, *_: record.public,
        {"key record of another signing key", "key record out of date", "suspended agency"},
    ),
    "admission": (f"{CHECKS_OF}read_admission", _raw(AgencyCurrent), {"admission signed once"}),
    "service": (f"{CHECKS_OF}read_service", _raw(ServiceCurrent), {"service signed once"}),
    "protocol": (f"{CHECKS_OF}read_protocol", _unread_agreement, {"protocol signed once"}),
    "consent's signature": (f"{CHECKS_OF}check_signed", _nothing, {"consent of another signing key"}),
    "consent's scope": (
        f"{CHECKS_OF}check_scope",
        _nothing,
        {
            "consent to others",
            "consent for another purpose",
            "consent for fewer groups",
            "consent of another case",
            "another consent than the entry names",
        },
    ),
    "consent's end": (f"{CHECKS_OF}check_expiry", _nothing, {"consent that has ended"}),
    "own case": (f"{CHECKS_OF}check_own_case", _nothing, {"own case of another agency"}),
    "danger": (
        f"{CHECKS_OF}check_danger",
        _nothing,
        {
            "danger approved by another key",
            "danger to another referral",
            "danger of four hours ago",
            "danger approved by another agency than is shown",
        },
    ),
    "ledger of keysets": (f"{CHECKS_OF}check_keyset", _nothing, {"erased keyset"}),
    "ledger of consents": (f"{CHECKS_OF}check_consent_open", _nothing, {"withdrawn consent"}),
    "protocol in force": (
        f"{CHECKS_OF}check_live",
        _nothing,
        {"protocol that has ended", "protocol between others"},
    ),
    "table": (
        f"{CHECKS_OF}check_policy",
        lambda facts, _agreement: PullDecision(
            True, "allowed", {group: frozenset(FIELD_ROWS[group]) for group in facts.groups}
        ),
        {"purpose that the table denies"},
    ),
    "kc": ("schemas.wire.packets.check_commitment", _nothing, {"kc of another key"}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_leaving_one_check_out_lets_its_own_cases_pass_and_no_other(
    mutant: str, pulls: dict[str, Pull], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, blind, own = MUTANTS[mutant]
    forget_verdicts(pulls)
    monkeypatch.setattr(place, blind)

    passed = {case for case, (_, of) in CASES.items() if "refused" not in of(pulls[case])}

    forget_verdicts(pulls)
    assert passed == own


def forget_verdicts(pulls: dict[str, Pull]) -> None:
    """What was let pass with a check left out must not be known as good to the next test."""
    for vault in {id(its.vault): its.vault for its in pulls.values()}.values():
        vault.forget_verdicts()


def test_leaving_the_filter_out_shows_what_her_consent_does_not_name(
    pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "services.sector.vault.operations.show_packet",
        lambda _facts, _decision, contents, *_, **__: contents,
    )

    assert pull.opened()["contact"]["phone"] == CONTENTS["contact"]["phone"]


CHECKED_WITHIN: Final = {
    "check_basis": "its parts have a mutant each",
    "check_approval": "check_danger calls it",
    "check_key_record": "check_recipient calls it",
    "read_closure": "no check of open; `rebuild` has a test of its own",
    "read_record": "reads, and leaves the checking to check_recipient",
    "read_consent": "check_signed is its check",
}


def test_every_check_has_a_mutant() -> None:
    named = {place.rpartition(".")[2] for place, _, _ in MUTANTS.values()}

    made = {name for name in vars(checks) if name.startswith(("check_", "read_"))}
    assert made - named == CHECKED_WITHIN.keys()
