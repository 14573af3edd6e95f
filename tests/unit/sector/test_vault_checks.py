"""What `open` checks: a right pull is released; one that is wrong in one point is refused by the check of it.

Each is right in every other respect, signatures included, so that leaving one check out lets pass what it
alone refuses and nothing else: the mutants at the end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
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
from tests.support.builders import an_agency
from tests.support.vault_scene import (
    CONSENT,
    CONTENTS,
    KEYSET,
    LOG,
    NOW,
    OWN_SERVICE,
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
    a_vault,
    adopted,
    answered,
    ed25519,
    frame_of,
    governed,
    opened,
    signed_consent,
    stored,
)

Result = dict[str, Any]
Folders = dict[str, tuple[Path, Pull]]
OTHER_KEY: Final = a_record(suite=1, public=new_pair(1)[1])
CONTACT: Final = {"safe_contact": CONTENTS["contact"]["safe_contact"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A right pull, and the folder of its vault: of one that closes nothing, and of one for each closure."""
    made = {name: tmp_path_factory.mktemp(name) for name in ("open", "erased", "withdrawn")}
    return {name: (folder, adopted(a_pull(a_vault(folder, Watch())))) for name, folder in made.items()}


def anew(name: str, folders: Folders) -> Pull:
    """The pull at a vault that has just started: what another let pass is not known to it as good."""
    folder, pull = folders.get(name, folders["open"])
    return replace(pull, vault=a_vault(folder, Watch()))


@pytest.fixture
def pull(folders: Folders) -> Pull:
    return anew("open", folders)


def test_a_right_pull_is_released_as_its_recipient_may_see_it(pull: Pull) -> None:
    assert pull.opened() == {"contact": CONTACT, "clinical": CONTENTS["clinical"]}


def test_what_her_consent_names_for_the_recipient_is_shown_to_it(pull: Pull) -> None:
    consent = signed_consent(a_consent(fields={RECIPIENT: ("contact.phone",)}))

    assert replace(pull, consent=consent).opened()["contact"] == CONTACT | {"phone": "+000 000 000"}


def test_the_agency_that_recorded_the_packet_sees_all_of_it(pull: Pull) -> None:
    assert own_case(pull).opened() == CONTENTS


def own_case(pull: Pull, asker: str = OWNER) -> Pull:
    record = a_record(holder=asker)
    recipient = governed(an_agency(asker))
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


def commitment_changed(pull: Pull) -> Result:
    row = pull.groups[0].model_copy(update={"kc": b"k" * 32})
    return replace(pull, groups=(row, *pull.groups[1:])).opened()


def versions_exchanged(pull: Pull) -> Result:
    """The entry names version 1 of contact, the database hands out version 2."""
    newer = stored(pull.vault, "contact", CONTENTS["contact"], version="2")
    return altered(pull, groups=(newer, pull.groups[1]))


def closed(pull: Pull, kind: str, name: str) -> Result:
    request = pull.request()
    row = {"n": 1, "kind": kind, "id": name}
    assert "refused" not in answered(pull.vault, op="closed", rows=[row], newest=1)
    return opened(pull.vault, request)


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
Wrong = tuple[str, Callable[[Pull], Result]]
Check = tuple[str, Any, Sequence[Wrong]]


def check(place: str, *wrongs: Wrong, blind: Any = _nothing) -> Check:
    """Where a check stands, what it alone refuses, and what stands in for it when it is left out."""
    return place, blind, wrongs


def its(code: str, **changes: Any) -> Wrong:
    """A pull that is right but for these parts."""
    return code, lambda pull: replace(pull, **changes).opened()


def its_consent(code: str, **changes: Any) -> Wrong:
    return its(code, consent=signed_consent(a_consent(**changes)))


def its_approval(code: str, **changes: Any) -> Wrong:
    return code, lambda pull: in_danger(pull, a_danger(**changes))


OTHER_ID: Final = b"o" * 16
CHECKS: Final[dict[str, Check]] = {
    "V1": check(
        f"{PERMITS_OF}check_signature",
        its("permit_signature_wrong", signer=STRANGER),
        blind=lambda permit, _trust: read_permit(permit["body"]),
    ),
    "V2": check(
        f"{PERMITS_OF}check_addressed",
        its("permit_for_another_service", body_changes={"audience": "urn:concert:test-unit:police"}),
    ),
    "V3": check(
        f"{PERMITS_OF}check_requested",
        its("permit_for_another_request", body_changes={"request": b"r" * 32}),
    ),
    "V4": check(f"{PERMITS_OF}check_opened", its("detail_differs", detail_changes={"purpose": "schooling"})),
    "V5": check(f"{PERMITS_OF}check_in_tree", its("not_in_tree", path=(b"x" * 32,) * 2)),
    "V6": check(
        f"{PERMITS_OF}check_signed",
        its("checkpoint_untrusted", log=replace(LOG, private=ed25519("other log"))),
        blind=_unchecked_checkpoint,
    ),
    "V7": check(f"{PERMITS_OF}check_grown", its("not_consistent", growth=(b"x" * 32,))),
    "nonce": check(
        "services.sector.vault.operations.Nonces.take",
        ("nonce_unknown", twice),
        blind=lambda nonces, nonce, _digest: nonces._asked[nonce],
    ),
    "time": check(
        f"{CHECKS_OF}check_time",
        its("request_late", asked_at=NOW - timedelta(seconds=6)),
        its("request_late", asked_at=NOW + timedelta(seconds=6)),
    ),
    "detail": check(
        f"{CHECKS_OF}check_detail",
        ("request_differs", versions_exchanged),
        its("request_differs", access_changes={"packet": make("packet", OTHER_ID)}),
        ("request_differs", lambda pull: altered(pull, key_record=OTHER_KEY.model_dump_json().encode())),
        (
            "request_differs",
            lambda pull: altered(pull, protocol=governed(a_protocol(entry_fresh_for_days=2))),
        ),
    ),
    "key record": check(
        f"{CHECKS_OF}check_recipient",
        its("key_record_unsigned", record=a_record(signed_by=ed25519("somebody"))),
        its("key_not_valid_now", record=a_record(not_before=NOW - timedelta(days=90), not_after=NOW)),
        its("key_agency_suspended", recipient=governed(an_agency(RECIPIENT, status="suspended"))),
        blind=lambda record, *_: record.public,
    ),
    "admission": check(
        f"{CHECKS_OF}read_admission",
        its("admission_unsigned", recipient=governed(an_agency(RECIPIENT), holders=1)),
        blind=_raw(AgencyCurrent),
    ),
    "service": check(
        f"{CHECKS_OF}read_service",
        its("service_unsigned", service=governed(OWN_SERVICE, holders=1)),
        blind=_raw(ServiceCurrent),
    ),
    "protocol": check(
        f"{CHECKS_OF}read_protocol", its("protocol_unsigned", protocol_holders=1), blind=_unread_agreement
    ),
    "consent's signature": check(
        f"{CHECKS_OF}check_signed",
        its("consent_unsigned", consent=signed_consent(a_consent(), ed25519("somebody"))),
    ),
    "consent's scope": check(
        f"{CHECKS_OF}check_scope",
        its_consent("consent_does_not_cover", recipients=("agency-c",)),
        its_consent("consent_does_not_cover", purposes=("protection",)),
        its_consent("consent_does_not_cover", groups=("contact",)),
        its_consent("consent_does_not_cover", keyset=make("keyset", OTHER_ID)),
        its_consent("consent_does_not_cover", version=2),
    ),
    "consent's end": check(f"{CHECKS_OF}check_expiry", its_consent("consent_expired", expires_at=NOW)),
    "own case": check(
        f"{CHECKS_OF}check_own_case", ("not_own_case", lambda pull: own_case(pull, RECIPIENT).opened())
    ),
    "danger": check(
        f"{CHECKS_OF}check_danger",
        its_approval("approval_unsigned", signed_by=ed25519("somebody")),
        its_approval("approval_differs", referral=make("referral", OTHER_ID)),
        its_approval("approval_not_valid_now", approved_at=NOW - timedelta(hours=4)),
        its_approval("approval_differs", approver="agency-q"),
    ),
    "erased": check(
        f"{CHECKS_OF}check_keyset", ("keyset_closed", lambda pull: closed(pull, "keyset", KEYSET))
    ),
    "withdrawn": check(
        f"{CHECKS_OF}check_consent_open",
        ("consent_closed", lambda pull: closed(pull, "consent", f"{CONSENT}/1")),
    ),
    "protocol in force": check(
        f"{CHECKS_OF}check_live",
        its("protocol_not_live", protocol=a_protocol(valid_until="2026-03-02T12:00:00Z")),
        its("protocol_not_live", protocol=a_protocol(parties=["agency-b", "agency-c"])),
    ),
    "table": check(
        f"{CHECKS_OF}check_policy",
        its("policy_denies", purpose="shelter"),
        blind=lambda facts, _agreement: PullDecision(
            True, "allowed", {group: frozenset(FIELD_ROWS[group]) for group in facts.groups}
        ),
    ),
    "kc": check("schemas.wire.packets.check_commitment", ("cannot_open", commitment_changed)),
}
WRONGS: Final = [(name, *wrong) for name, (_, _, wrongs) in CHECKS.items() for wrong in wrongs]


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


@pytest.mark.parametrize(("name", "code", "wrong"), WRONGS)
def test_what_is_wrong_in_one_point_is_refused_by_its_code(
    name: str, code: str, wrong: Callable[[Pull], Result], folders: Folders
) -> None:
    assert wrong(anew(name, folders)) == {"refused": code}


@pytest.mark.parametrize("name", CHECKS)
def test_leaving_one_check_out_lets_pass_what_it_alone_refuses_and_nothing_else(
    name: str, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, blind, _ = CHECKS[name]
    monkeypatch.setattr(place, blind)
    pulls = {vault: anew(vault, folders) for vault in folders}

    for of, _, wrong in WRONGS:
        assert ("refused" not in wrong(pulls.get(of, pulls["open"]))) == (of == name), of


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
    named = {place.rpartition(".")[2] for place, _, _ in CHECKS.values()}

    made = {name for name in vars(checks) if name.startswith(("check_", "read_"))}
    assert made - named == CHECKED_WITHIN.keys()
