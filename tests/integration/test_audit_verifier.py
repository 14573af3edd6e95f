"""The verifier on directories: sound ones of many sizes, one byte flipped anywhere, and copied alone."""

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest
from typer.testing import CliRunner

from schemas.trail.bytes import canonical, commitment, encoded, leaf, tag
from schemas.trail.notes import Checkpoint, Signer, checkpoint_text, named_key, signed_note, vkey
from schemas.trail.tiles import ENTRIES, Tile, bundle, levels_of, tile_at, tiles_of_level
from schemas.trail.tree import Tree, leaf_hash
from services.audit.verifier import kit as kits
from services.audit.verifier.__main__ import main
from services.audit.verifier.check import check
from services.audit.verifier.kit import CannotLook, Kit
from services.cli.trail import app

ORIGIN: Final = "audit.example/juris-a"
LOG: Final = Signer.from_seed(ORIGIN, b"l" * 32)
SUBJECT: Final = "ref_" + "a" * 26
SUBJECT_KEY: Final = b"k" * 32
ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Entry:
    """One entry with what opens it."""

    leaf: bytes
    detail: bytes
    salt: bytes


def an_entry(number: int) -> Entry:
    detail = canonical({"kind": "intent", "n": number + 1, "subject": SUBJECT})
    salt = number.to_bytes(32, "big")
    return Entry(leaf(tag(SUBJECT_KEY, number + 1), commitment(salt, detail)), detail, salt)


def write(folder: Path, entries: list[bytes], details: list[Entry] | None = None) -> Path:
    """A kit as an export writes it."""
    tree = Tree()
    tree.extend([leaf_hash(entry) for entry in entries])
    size = len(entries)
    for level in (ENTRIES, *levels_of(size)):
        for tile in tiles_of_level(level, size):
            file = folder / tile.path
            file.parent.mkdir(parents=True, exist_ok=True)
            within = entries[tile.first : tile.first + tile.width]
            file.write_bytes(bundle(within) if level == ENTRIES else tree.tile(level, tile.number))
    (folder / "policy").write_text(f"log {vkey(LOG.public)}\nquorum none\n")
    (folder / "checkpoint").write_text(
        signed_note(checkpoint_text(Checkpoint(ORIGIN, size, tree.root())), LOG)
    )
    if details is not None:
        lines = [
            canonical({"detail": encoded(one.detail), "index": index, "salt": encoded(one.salt)}) + b"\n"
            for index, one in enumerate(details)
        ]
        (folder / "details.jsonl").write_bytes(b"".join(lines))
    return folder


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """Twenty entries, opened."""
    return opened_kit(tmp_path / "kit", 20)


def opened_kit(folder: Path, size: int) -> Path:
    folder.mkdir()
    details = [an_entry(number) for number in range(size)]
    return write(folder, [one.leaf for one in details], details)


@pytest.mark.parametrize("size", [0, 1, 7, 256, 257, 70_000])
def test_a_log_of_any_size_is_sound(tmp_path: Path, size: int) -> None:
    entries = [f"access-{number}".encode() for number in range(size)]

    verdict = check(Kit(write(tmp_path, entries)))

    assert verdict.is_sound, verdict.failure


def test_the_tiles_of_70000_are_the_published_ones() -> None:
    paths = [tile.path for level in levels_of(70_000) for tile in tiles_of_level(level, 70_000)]

    assert len(paths) == 273 + 1 + 2 + 1
    assert paths[273:] == ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]


def test_a_tiles_number_is_written_in_groups() -> None:
    named = tile_at("tile/0/x001/x234/067")

    assert Tile(0, 1_234_067, 256).path == "tile/0/x001/x234/067"
    assert named is not None
    assert named.number == 1_234_067
    for wrong in (
        "0/1",
        "0/x001",
        "0/001/234",
        "0/x000/001",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/000/",
        "0/x001/" + "x000/" * 1_500 + "000",  # more digits than an int may have
    ):
        assert tile_at(f"tile/{wrong}") is None, wrong


def test_entries_begin_with_their_length(tmp_path: Path) -> None:
    write(tmp_path, [b"access-0", b"access-1"])

    assert (tmp_path / "tile/entries/000.p/2").read_bytes() == b"\x00\x08access-0\x00\x08access-1"


def test_opened_details_and_tags_are_counted(kit: Path) -> None:
    verdict = check(Kit(kit), {SUBJECT: SUBJECT_KEY})

    assert (verdict.is_sound, verdict.details_checked, verdict.tags_checked) == (True, 20, 20)


def test_a_tag_of_another_key_is_named(kit: Path) -> None:
    verdict = check(Kit(kit), {SUBJECT: b"x" * 32})

    assert verdict.failure is not None
    assert verdict.failure.index == 0
    assert "tag" in verdict.failure.sentence


@pytest.mark.parametrize(
    ("name", "index_at"),
    [
        ("tile/entries/000.p/3", lambda before: len(before) // 54),
        ("tile/0/000.p/3", lambda before: len(before) // 32),
        ("details.jsonl", lambda before: before.count(b"\n")),
        ("checkpoint", lambda _: None),  # a note that nobody signed vouches for no entry
        ("policy", lambda _: None),
    ],
)
def test_every_flipped_byte_is_named_by_its_entry(
    tmp_path: Path, name: str, index_at: Callable[[bytes], int | None]
) -> None:
    kit = opened_kit(tmp_path / "kit", 3)
    whole = (kit / name).read_bytes()
    for position in range(len(whole)):
        (kit / name).write_bytes(flipped(whole, position))
        verdict = check(Kit(kit))
        assert verdict.failure is not None, position
        assert verdict.failure.index == index_at(whole[:position]), position


def flipped(whole: bytes, position: int) -> bytes:
    bit = 1 << position % 8
    return bytes([*whole[:position], whole[position] ^ bit, *whole[position + 1 :]])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with three levels of tiles."""
    return write(tmp_path_factory.mktemp("large"), [an_entry(number).leaf for number in range(66_000)])


@pytest.mark.parametrize(
    ("name", "position", "index"),
    [
        ("tile/entries/004", 54 * 10 + 30, 4 * 256 + 10),
        ("tile/0/004", 32 * 10 + 3, 4 * 256 + 10),
        ("tile/1/000", 32 * 7, 7 * 256),
        ("tile/1/001.p/1", 0, 65_536),
        ("tile/2/000.p/1", 5, 0),
        ("tile/0/257.p/208", 32 * 2, 257 * 256 + 2),
    ],
)
def test_a_flipped_byte_in_a_higher_tile_names_the_first_entry_below_it(
    large: Path, name: str, position: int, index: int
) -> None:
    whole = (large / name).read_bytes()
    (large / name).write_bytes(flipped(whole, position))
    try:
        verdict = check(Kit(large))
    finally:
        (large / name).write_bytes(whole)

    assert verdict.failure is not None
    assert verdict.failure.index == index


BUNDLE, TILE, DETAILS = "tile/entries/000.p/20", "tile/0/000.p/20", "details.jsonl"
UNOPENED: Final = canonical({"index": 5, "problem": "detail_unreadable"}) + b"\n"
Change = Callable[[bytes], bytes]


def line_5(change: Change) -> Change:
    def changed(whole: bytes) -> bytes:
        lines = whole.splitlines(keepends=True)
        return b"".join([*lines[:5], change(lines[4]), *lines[6:]])

    return changed


BROKEN: Final[dict[str, tuple[str, Change | None, int | None]]] = {
    "deleted tile": (TILE, None, 0),
    "deleted bundle": (BUNDLE, None, 0),
    "truncated bundle": (BUNDLE, lambda whole: whole[: 54 * 17 + 5], 17),
    "longer bundle": (BUNDLE, lambda whole: whole + b"x", None),
    "truncated tile": (TILE, lambda whole: whole[:-32], 0),
    "a detail less": (DETAILS, lambda whole: whole[: whole.rindex(b"\n", 0, -1) + 1], 19),
    "a detail more": (DETAILS, lambda whole: whole + whole[: whole.index(b"\n") + 1], None),
    "another line": (DETAILS, line_5(lambda before: before), 5),
    "a detail of another": (
        DETAILS,
        line_5(lambda before: canonical(json.loads(before) | {"index": 5}) + b"\n"),
        5,
    ),
    "a detail unopened": (DETAILS, line_5(lambda _: UNOPENED), 5),
    "a deep detail": (DETAILS, line_5(lambda _: b"[" * 100_000 + b"\n"), 5),
}
"""What happened to a file → the file, its bytes after that (none: it is gone), the first entry that fails."""


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_names_its_first_entry(kit: Path, case: str) -> None:
    name, change, index = BROKEN[case]
    whole = (kit / name).read_bytes()
    (kit / name).unlink()
    if change is not None:
        (kit / name).write_bytes(change(whole))

    verdict = check(Kit(kit))

    assert verdict.failure is not None
    assert verdict.failure.index == index


def test_all_bad_details_are_counted_and_the_others_still_compared(kit: Path) -> None:
    lines = (kit / "details.jsonl").read_bytes().splitlines(keepends=True)
    lines[5], lines[9] = lines[9], lines[5]
    (kit / "details.jsonl").write_bytes(b"".join(lines))

    verdict = check(Kit(kit))

    assert (verdict.bad_details, verdict.bad_named, verdict.details_checked) == (2, [5, 9], 18)


def claiming(size: int, name: str = ORIGIN) -> str:
    """A checkpoint that the kit's own key signed."""
    signer = Signer.from_seed(name, b"l" * 32)
    return signed_note(checkpoint_text(Checkpoint(name, size, bytes(32))), signer)


def large_sparse(file: Path) -> None:
    file.write_bytes(b"")
    os.truncate(file, 1 << 40)


def socket_at(file: Path) -> None:
    file.unlink()
    os.mknod(file, stat.S_IFSOCK | 0o600)  # cannot be opened, by root neither


def instead(deed: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else where a file was."""

    def replace(file: Path) -> None:
        file.unlink()
        deed(file)

    return replace


def looped(file: Path) -> None:
    file.symlink_to(file)


def moved_behind_a_link(file: Path) -> None:
    file.symlink_to(file.rename(file.with_name("elsewhere")))


def index_as_boolean(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"index":1,', b'"index":true,'))


HOSTILE: list[tuple[str, Callable[[Path], object], int, int | None]] = [
    ("checkpoint", lambda file: file.write_text(claiming(2**62)), 7, 0),
    ("checkpoint", lambda file: file.write_text(claiming(2**63 - 1)), 7, 0),
    ("checkpoint", lambda file: file.write_text(claiming(20, "audit.example/\u009b2Jj")), 7, None),
    ("checkpoint", large_sparse, 7, None),
    ("checkpoint", instead(os.mkfifo), 1, None),
    ("policy", instead(Path.mkdir), 1, None),
    ("policy", instead(looped), 1, None),
    *((BUNDLE, deed, 7, 0) for deed in (instead(os.mkfifo), instead(Path.mkdir), large_sparse)),
    *((TILE, deed, 7, 0) for deed in (instead(os.mkfifo), instead(Path.mkdir), large_sparse)),
    (TILE, instead(lambda file: file.symlink_to("/dev/zero")), 7, 0),
    (TILE, instead(looped), 7, 0),
    (TILE, socket_at, 1, None),
    (DETAILS, instead(os.mkfifo), 7, None),
    (DETAILS, instead(Path.mkdir), 7, None),
    (DETAILS, instead(lambda file: file.symlink_to("nowhere")), 7, None),
    (DETAILS, instead(looped), 7, None),
    ("checkpoint", instead(lambda file: file.symlink_to("/proc/kmsg")), 1, None),
    ("checkpoint", moved_behind_a_link, 1, None),
    ("tile/0/000.p", moved_behind_a_link, 7, 0),
    (DETAILS, large_sparse, 7, 0),
    (DETAILS, index_as_boolean, 7, 1),
]


@pytest.mark.parametrize(("name", "deed", "code", "index"), HOSTILE)
def test_a_hostile_kit_is_looked_at_in_bounded_work(
    kit: Path,
    name: str,
    deed: Callable[[Path], object],
    code: int,
    index: int | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deed(kit / name)
    opened: list[Path] = []

    def counted(path: Path, flags: int) -> int:
        opened.append(path)
        assert len(opened) <= 12, "more files are looked for than the kit has"
        assert flags & os.O_NONBLOCK
        return os.open(path, flags)

    monkeypatch.setattr(kits, "os", SimpleNamespace(**{**vars(os), "open": counted}))

    assert main(["verify", str(kit), "--json"]) == code
    said = capsys.readouterr()
    if code == 7:
        assert json.loads(said.out)["failure"]["index"] == index
        assert main(["verify", str(kit)]) == 7
        assert ("The first entry that fails is" in capsys.readouterr().out) == (index is not None)
    else:
        assert said.err.startswith("Could not look: ")


def test_a_kit_that_brings_its_own_key_is_said_to(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(kit)]) == 0
    own = capsys.readouterr().out
    assert main(["verify", str(kit), "--log-key", vkey(LOG.public)]) == 0
    pinned = capsys.readouterr().out

    assert "Consistent, and no more: the key came with the directory" in own
    assert "Sound" not in own
    assert "Sound" in pinned
    assert "came with" not in pinned


def test_another_history_under_the_same_size_is_not_sound(kit: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", [b"other"] * 20)
    shutil.copy(other / "checkpoint", kit / "checkpoint")
    verdict = check(Kit(kit))

    assert verdict.failure is not None
    assert "root" in verdict.failure.sentence


def test_a_pinned_key_wins_over_the_directorys_own(kit: Path) -> None:
    stranger = vkey(Signer.from_seed(ORIGIN, b"x" * 32).public)

    assert check(Kit(kit, named_key(vkey(LOG.public)))).is_sound
    assert not check(Kit(kit, named_key(stranger))).is_sound


def test_a_directory_without_a_trail_cannot_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(CannotLook):
        check(Kit(tmp_path))


def test_exit_codes_say_sound_not_sound_or_could_not_look(
    kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{SUBJECT} {base64.b64encode(SUBJECT_KEY).decode()}\n")
    assert main(["verify", str(kit), "--log-key", vkey(LOG.public), "--subject-keys", str(keys)]) == 0
    assert "Sound" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "none")]) == 1
    for no_key in ("no key", ""):
        assert main(["verify", str(kit), "--log-key", no_key]) == 1
    (kit / "tile/entries/000.p/20").write_bytes(flipped((kit / "tile/entries/000.p/20").read_bytes(), 300))
    assert main(["verify", str(kit)]) == 7
    assert "The first entry that fails is 5." in capsys.readouterr().out
    assert main(["verify", str(kit), "--json"]) == 7
    assert json.loads(capsys.readouterr().out)["failure"]["index"] == 5


def test_the_command_has_the_verifiers_words_and_exit_codes(kit: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    sound = runner.invoke(app, ["verify", str(kit), "--json"])
    (kit / "tile/0/000.p/20").write_bytes(flipped((kit / "tile/0/000.p/20").read_bytes(), 64))
    broken_one = runner.invoke(app, ["verify", str(kit)])
    absent = runner.invoke(app, ["verify", str(tmp_path / "none")])

    assert (sound.exit_code, json.loads(sound.stdout)["sound"]) == (0, True)
    assert (broken_one.exit_code, "is 2." in broken_one.stdout) == (7, True)
    assert absent.exit_code == 1


def test_the_verifier_runs_when_it_is_copied_alone(kit: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    for folder in ("schemas/trail", "services/audit/verifier"):
        shutil.copytree(ROOT / folder, alone / folder, ignore=shutil.ignore_patterns("__pycache__"))

    def python(*words: str) -> str:
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=alone, env={"PATH": ""}, capture_output=True, text=True, check=True
        ).stdout

    module = "services.audit.verifier"
    said = python("-m", module, "verify", str(kit))
    names = "sorted({name.partition('.')[0] for name in sys.modules})"
    loaded = set(python("-c", f"import sys, {module}.__main__; print(*{names})").split())

    assert said.startswith(f"Log {ORIGIN}: 20 entries")
    outside = loaded - set(sys.stdlib_module_names) - {"schemas", "services", "cryptography"}
    assert {name for name in outside if not name.startswith("_")} <= {
        "sitecustomize",
        "cffi",
        "distutils-precedence",
    }
