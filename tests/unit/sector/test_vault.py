"""A vault beside `open`: its operations, ledger, settlement and epochs, and what it owes after a restart."""

import fcntl
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.ids import make
from schemas.trail.bytes import canonical, commitment, decoded, encoded, leaf, subject_key
from schemas.trail.notes import Checkpoint, checkpoint_text, signed_note
from schemas.trail.tree import Tree, leaf_hash
from schemas.wire.packets import CASE_KEY, IntakeKey
from schemas.wire.signed import check_signature
from services.sector.vault.log_size import LogSize, LogSizeUnreadable
from services.sector.vault.operations import NONCES_MAX, OPERATIONS, Vault
from services.sector.vault.requests import DataKeyWrap
from tests.support.vault_scene import (
    AUDIENCE,
    CASE_SECRET,
    CONSENT,
    CONTENTS,
    KEYSET,
    LEAVES_BEFORE,
    LOG,
    NOW,
    ORIGIN,
    VAULT_KEY,
    Watch,
    a_pull,
    a_vault,
    answered,
    frame_of,
    public,
    wrapped,
)

DAY: Final = timedelta(days=1)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def vault(tmp_path: Path, watch: Watch) -> Vault:
    return a_vault(tmp_path, watch)


def row(number: int, kind: str = "consent") -> dict[str, Any]:
    name = f"{make('consent', bytes([number]) * 16)}/1" if kind == "consent" else KEYSET
    return {"n": number, "kind": kind, "id": name}


def state(vault: Vault) -> str | None:
    closed: str | None = answered(vault, op="status")["closed"]
    return closed


def test_a_vault_does_these_things_and_no_other() -> None:
    assert list(OPERATIONS) == [
        "status", "intake", "subject", "ask", "open", "settle", "adopt", "rewrap", "closed", "rotate",
        "rebuild",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"{}", b"[]", b"null", b"\xff", b'{"op":"export"}', b'{"op":"status","op":"status"}',
        b'{"op":"status","more":1}', b'{"op":["status"]}', b"[" * 40 + b"]" * 40, b'{"op":"open"}',
        b'{"op":"closed","rows":[],"newest":NaN}', b'{"op":"closed","rows":[],"newest":"0"}',
    ],
)  # fmt: skip
def test_a_frame_that_is_no_request_is_refused(vault: Vault, frame: bytes) -> None:
    assert json.loads(vault.answer(frame)) == {"refused": {"code": "malformed"}}


def test_what_fails_unforeseen_is_refused_and_says_nothing(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = a_pull(vault)
    monkeypatch.setattr(
        "services.sector.vault.operations.show_packet", lambda *_, **__: dict[str, str]()["canary"]
    )

    assert pull.opened() == {"refused": "unexpected"}


def test_intake_keys_of_this_epoch_and_the_next_are_the_vaults_word(vault: Vault) -> None:
    keys = [IntakeKey.model_validate(key) for key in answered(vault, op="intake")["keys"]]

    assert [key.epoch for key in keys] == ["e1", "e2"]
    assert keys[0].not_after - keys[0].not_before == timedelta(days=14)
    for key in keys:
        check_signature(key, public(VAULT_KEY))


def test_a_subjects_key_comes_from_the_cases_key_and_from_no_other_row(vault: Vault) -> None:
    case = wrapped(vault, CASE_KEY, CASE_SECRET)

    def asked(of: DataKeyWrap) -> dict[str, Any]:
        subject = {"case": of.model_dump(mode="json"), "number": 3}
        return answered(vault, op="subject", subject=subject)

    assert decoded(asked(case)["key"]) == subject_key(CASE_SECRET, 3)
    assert asked(wrapped(vault, "contact", CASE_SECRET)) == {"refused": "cannot_open"}
    assert asked(case.model_copy(update={"version": "2"})) == {"refused": "cannot_open"}
    answered(vault, op="closed", rows=[row(1, "keyset")], newest=1)
    assert asked(case) == {"refused": "keyset_closed"}


def test_the_ledger_is_kept_over_a_restart_and_a_torn_line(
    vault: Vault, tmp_path: Path, watch: Watch
) -> None:
    assert answered(vault, op="closed", rows=[row(1), row(2)], newest=2)["newest"] == 2
    assert answered(vault, op="closed", rows=[row(2), row(3)], newest=3)["newest"] == 3  # again, and one more
    with (tmp_path / "ledger").open("ab") as torn:
        torn.write(b'{"n":4,"ki')

    again = a_vault(tmp_path, watch)

    assert answered(again, op="status")["ledger"] == 3
    assert answered(again, op="closed", rows=[row(4)], newest=4)["newest"] == 4
    assert answered(a_vault(tmp_path, watch), op="status")["ledger"] == 4


def test_a_gap_in_the_ledger_is_refused_and_changes_nothing(vault: Vault) -> None:
    assert answered(vault, op="closed", rows=[row(2)], newest=2) == {"refused": "ledger_gap"}
    assert answered(vault, op="closed", rows=[row(1), row(3)], newest=3) == {"refused": "ledger_gap"}
    assert answered(vault, op="status")["ledger"] == 0


def test_a_database_behind_the_ledger_closes_the_vault_until_it_was_fed(vault: Vault) -> None:
    pull = a_pull(vault)
    answered(vault, op="closed", rows=[row(1), row(2)], newest=2)

    told = answered(vault, op="closed", rows=[], newest=1)  # an older copy of the database

    assert told == {"newest": 2, "closed": "ledger_behind", "missing": [row(2)]}
    assert answered(vault, op="ask", access=pull.access().plain()) == {"refused": "ledger_behind"}
    answered(vault, op="closed", rows=[], newest=2)
    assert pull.opened().keys() == CONTENTS.keys()


def test_a_database_that_went_on_as_an_older_copy_stays_shut_out(vault: Vault) -> None:
    answered(vault, op="closed", rows=[row(1)], newest=1)

    assert answered(vault, op="closed", rows=[row(1) | {"id": f"{CONSENT}/9"}], newest=1) == {
        "refused": "ledger_conflict"
    }
    answered(vault, op="closed", rows=[], newest=1)
    assert state(vault) == "ledger_conflict"


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"{}\n" + file.read_bytes())])
def test_a_vault_whose_ledger_is_lost_or_damaged_opens_nothing(
    vault: Vault, tmp_path: Path, watch: Watch, damage: Callable[[Path], object]
) -> None:
    answered(vault, op="closed", rows=[row(1)], newest=1)
    damage(tmp_path / "ledger")

    again = a_vault(tmp_path, watch)

    assert state(again) == "state_lost"
    assert answered(again, op="ask", access=a_pull(vault).access().plain()) == {"refused": "state_lost"}
    assert answered(again, op="closed", rows=[row(1)], newest=1) == {"refused": "state_lost"}


def closures(*rows: dict[str, Any], audience: str = AUDIENCE) -> dict[str, Any]:
    """What the trail holds of these rows, opened, with proofs to its head."""
    tree, openings = Tree(), []
    for closed in rows:
        words = {"act": "closure", "closure": closed, "service": audience}
        detail, salt, mark = canonical(words), bytes(32), bytes(16)
        openings.append({"detail": encoded(detail), "salt": encoded(salt), "tag": encoded(mark)})
        tree.extend([leaf_hash(leaf(mark, commitment(salt, detail)))])
    told = published(tree, *range(len(rows)))
    entries = [
        {"opening": opening, "proof": proof} for opening, proof in zip(openings, told["proofs"], strict=True)
    ]
    return {"op": "rebuild", "checkpoint": told["checkpoint"], "entries": entries, "newest": len(rows)}


def test_a_lost_ledger_is_rebuilt_from_what_the_trail_proves_and_from_nothing_else(
    vault: Vault, tmp_path: Path, watch: Watch
) -> None:
    rows = [row(1), row(2, "keyset"), row(3)]
    answered(vault, op="closed", rows=rows, newest=3)
    assert answered(vault, **closures(*rows)) == {"refused": "ledger_sound"}
    (tmp_path / "ledger").unlink()
    again = a_vault(tmp_path, watch)
    right = closures(*rows)
    swapped = right | {
        "entries": [right["entries"][0], right["entries"][2] | {"proof": right["entries"][1]["proof"]}]
    }

    assert answered(again, **closures(*rows, audience="urn:concert:test-unit:police")) == {
        "refused": "not_a_closure"
    }
    assert answered(again, **swapped) == {"refused": "not_a_closure"}
    assert answered(again, **closures(row(1), row(3))) == {"refused": "ledger_gap"}
    part = right | {"entries": right["entries"][:2]}
    assert answered(again, **part) == {"newest": 2, "closed": "state_lost"}
    rest = right | {"entries": right["entries"][2:]}
    assert answered(again, **rest) == {"newest": 3, "closed": None}

    assert state(a_vault(tmp_path, watch)) is None
    assert a_pull(again).opened() == {"refused": "keyset_closed"}


def published(tree: Tree, *indexes: int, size: int | None = None) -> dict[str, Any]:
    """What the trail answers once it has signed a head."""
    signed = tree.size if size is None else size
    note = signed_note(checkpoint_text(Checkpoint(ORIGIN, signed, tree.root(signed))), LOG)
    proofs = [
        {"index": index, "path": [encoded(one) for one in tree.inclusion_proof(index, signed)]}
        for index in indexes
    ]
    return {"checkpoint": note, "proofs": proofs}


def grown(vault: Vault, tmp_path: Path, more: int = 5) -> Tree:
    """The trail that holds the leaf which the vault waits for, and a few behind it."""
    tree = Tree()
    tree.extend([leaf_hash(bytes([number])) for number in range(LEAVES_BEFORE)])
    _, leaf = (tmp_path / "unsettled").read_text("ascii").split()
    tree.extend([decoded(leaf), *(leaf_hash(bytes([number])) for number in range(more))])
    return tree


def test_a_release_whose_entry_is_not_published_in_a_minute_closes_the_vault_until_it_is(
    vault: Vault, tmp_path: Path, watch: Watch
) -> None:
    pull = a_pull(vault)
    pull.opened()
    watch.advance(timedelta(seconds=60))
    assert state(vault) is None
    watch.advance(timedelta(seconds=1))
    assert state(vault) == "unsettled"
    assert answered(vault, op="ask", access=pull.access().plain()) == {"refused": "unsettled"}

    told = answered(vault, op="settle", published=published(grown(vault, tmp_path), LEAVES_BEFORE))

    assert told == {"unsettled": []}
    assert state(vault) is None


def test_a_restart_owes_the_proofs_still(vault: Vault, tmp_path: Path, watch: Watch) -> None:
    a_pull(vault).opened()

    again = a_vault(tmp_path, watch)

    assert answered(again, op="status")["unsettled"] == [LEAVES_BEFORE]
    watch.advance(timedelta(seconds=61))
    assert state(again) == "unsettled"


def test_a_proof_that_does_not_lead_to_a_signed_head_settles_nothing(vault: Vault, tmp_path: Path) -> None:
    a_pull(vault).opened()
    tree = grown(vault, tmp_path)
    right = published(tree, LEAVES_BEFORE)
    forged = signed_note(
        checkpoint_text(Checkpoint(ORIGIN, tree.size, tree.root())), replace(LOG, private=VAULT_KEY)
    )
    other = Tree()
    other.extend([leaf_hash(bytes([number])) for number in range(30)])

    for wrong, code in (
        (right | {"checkpoint": forged}, "checkpoint_untrusted"),
        (published(other, LEAVES_BEFORE), "not_in_tree"),
        (right | {"proofs": [{"index": LEAVES_BEFORE, "path": []}]}, "not_in_tree"),
    ):
        assert answered(vault, op="settle", published=wrong) == {"refused": code}
    assert answered(vault, op="settle", published=published(tree, 3)) == {"unsettled": [LEAVES_BEFORE]}


def test_a_permits_tree_is_not_smaller_than_a_head_seen_before(
    vault: Vault, tmp_path: Path, watch: Watch
) -> None:
    pull = a_pull(vault)
    pull.opened()
    watch.advance(timedelta(seconds=5))
    answered(vault, op="settle", published=published(grown(vault, tmp_path), LEAVES_BEFORE))

    assert pull.opened() == {"refused": "log_went_back"}
    again = a_vault(tmp_path, Watch())  # its folder remembers
    assert a_pull(again).opened() == {"refused": "log_went_back"}
    assert answered(again, op="status")["closed"] == "log_went_back"


def test_a_log_that_began_anew_is_owed_nothing_of_the_old_one(vault: Vault, tmp_path: Path) -> None:
    a_pull(vault).opened()
    log_size = tmp_path / "log_size"
    log_size.write_text(log_size.read_text().replace(ORIGIN, f"{ORIGIN}-before"))

    assert answered(a_vault(tmp_path, Watch()), op="status")["unsettled"] == []


def test_a_size_goes_to_disk_at_once_and_then_every_five_seconds(tmp_path: Path) -> None:
    watch, file = Watch(), tmp_path / "size"
    size = LogSize(file, ORIGIN, watch.monotonic)
    kept = []
    for seen in (16, 32, 48, 40):
        size.see(seen)
        kept.append(file.read_text())
        watch.advance(timedelta(seconds=2.5))

    assert kept == [f"{ORIGIN} {one}\n" for one in (16, 16, 48, 48)]
    assert LogSize(file, ORIGIN).largest == 48
    for wrong in "", "no size", f"{ORIGIN} 48", f"{ORIGIN} -48\n", f"{ORIGIN} 4\u0668\n", f"{ORIGIN}  48\n":
        file.write_text(wrong)
        with pytest.raises(LogSizeUnreadable):
            LogSize(file, ORIGIN)


def test_while_another_process_writes_the_size_nothing_is_written_and_then_the_larger_one(
    tmp_path: Path,
) -> None:
    file = tmp_path / "size"
    size = LogSize(file, ORIGIN)
    with file.with_name("size.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        size.see(16)
        assert not file.exists()
        file.write_text(f"{ORIGIN} 48\n")  # the other's
    size.see(16)

    assert (size.largest, file.read_text()) == (48, f"{ORIGIN} 48\n")


def test_a_nonce_lives_for_thirty_seconds_and_not_over_a_restart(
    vault: Vault, tmp_path: Path, watch: Watch
) -> None:
    pull = a_pull(vault)
    request = frame_of(pull.request())
    assert answered(a_vault(tmp_path, watch), **request) == {"refused": "nonce_unknown"}

    watch.seconds += 31

    assert answered(vault, **request) == {"refused": "nonce_too_old"}


def test_nonces_are_bounded(vault: Vault, watch: Watch) -> None:
    access = a_pull(vault).access().plain()
    for _ in range(NONCES_MAX):
        answered(vault, op="ask", access=access)

    assert answered(vault, op="ask", access=access) == {"refused": "vault_busy"}
    watch.seconds += 31
    assert "nonce" in answered(vault, op="ask", access=access)


def adopted(vault: Vault, rows: list[DataKeyWrap], op: str = "adopt") -> list[DataKeyWrap | None]:
    answer = answered(vault, op=op, rows=[row.model_dump(mode="json") for row in rows])
    return [row and DataKeyWrap.model_validate(row) for row in answer["rows"]]


def test_an_epoch_lasts_a_week_and_its_key_35_days_and_what_was_wrapped_anew_opens_after(
    vault: Vault, tmp_path: Path, watch: Watch
) -> None:
    pull = a_pull(vault)
    written = [group.wrap for group in pull.groups]
    first = adopted(vault, written)
    for number in (2, 3, 4, 5):
        watch.advance(7 * DAY - timedelta(seconds=1))
        assert answered(vault, op="status")["epoch"] == f"e{number - 1}"
        watch.advance(timedelta(seconds=1))
        assert answered(vault, op="status")["epoch"] == f"e{number}"
    last = adopted(vault, [row for row in first if row], "rewrap")

    def opens(wraps: list[DataKeyWrap | None]) -> bool:
        groups = tuple(
            group.model_copy(update={"wrap": wrap}) for group, wrap in zip(pull.groups, wraps, strict=True)
        )
        case = wrapped(vault, CASE_KEY, CASE_SECRET)
        return "refused" not in replace(pull, groups=groups, case=case, asked_at=NOW).opened()

    assert {row.epoch for row in first if row} == {"e1"}
    assert {(row.epoch, len(row.wrap)) for row in last if row} == {("e5", 60)}
    watch.at = NOW  # the other papers of the pull are of today
    assert [opens(list(written)), opens(first), opens(last)] == [True, True, True]
    watch.at = NOW + 35 * DAY - timedelta(seconds=1)
    answered(vault, op="status")
    assert (tmp_path / "e1.kek").exists()
    watch.advance(timedelta(seconds=1))
    answered(vault, op="status")
    assert not [*tmp_path.glob("e1.*")]
    assert adopted(vault, [*written, *[row for row in first if row]]) == [None] * 4
    assert None not in adopted(vault, [row for row in last if row])


def test_no_key_goes_before_what_it_holds_could_be_wrapped_anew(vault: Vault, watch: Watch) -> None:
    rows = [row for row in adopted(vault, [group.wrap for group in a_pull(vault).groups]) if row]
    watch.advance(40 * DAY)  # nobody asked it anything meanwhile

    assert answered(vault, op="status")["epoch"] == "e2"
    assert answered(vault, op="rotate") == {"epoch": "e3"}
    watch.advance(DAY - timedelta(seconds=1))
    answered(vault, op="status")
    assert None not in adopted(vault, rows, "rewrap")
    watch.advance(timedelta(seconds=1))
    answered(vault, op="status")
    assert adopted(vault, rows, "rewrap") == [None, None]


def test_an_erased_keyset_is_adopted_no_more_and_a_bad_row_stops_no_other(vault: Vault) -> None:
    rows = [group.wrap for group in a_pull(vault).groups]
    broken = rows[0].model_copy(update={"wrap": bytes(len(rows[0].wrap))})

    assert [bool(row) for row in adopted(vault, [broken, rows[1]])] == [False, True]
    answered(vault, op="closed", rows=[row(1, "keyset")], newest=1)
    assert adopted(vault, rows) == [None, None]


def test_an_epoch_is_kept_over_a_restart_and_a_crash_within_a_rotation(
    vault: Vault, tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = adopted(vault, [group.wrap for group in a_pull(vault).groups])
    monkeypatch.setattr("services.sector.vault.keys.Epochs._write", lambda *_: 1 / 0)
    assert answered(vault, op="rotate") == {"refused": "unexpected"}
    monkeypatch.undo()

    again = a_vault(tmp_path, watch)

    assert answered(again, op="status")["epoch"] == "e1"
    assert None not in adopted(again, [row for row in rows if row])
    assert answered(again, op="rotate") == {"epoch": "e2"}
    assert answered(a_vault(tmp_path, watch), op="status")["epoch"] == "e2"


def test_the_state_is_its_owners_alone(vault: Vault, tmp_path: Path) -> None:
    a_pull(vault).opened()
    files = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}

    assert {"e1.kek", "e1.intake", "e2.intake", "epochs", "ledger", "unsettled"} <= files.keys()
    assert set(files.values()) == {0o600}


def test_no_repr_shows_a_key_or_a_ciphertext(vault: Vault) -> None:
    request = a_pull(vault).request()
    wrap = request.groups[0].wrap

    assert repr(wrap.wrap)[2:-1] not in repr(request)
    assert repr(request.groups[0].ct)[2:40] not in repr(request)
