"""The launcher, run for real with stand-ins for Python: what it makes, what it repairs, what it refuses."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

LAUNCHER: Final = Path(__file__).resolve().parents[2] / "concert"
PROGRAMS: Final = (
    *("sh", "cat", "cksum", "dirname", "readlink", "grep", "mkdir", "mv", "rm", "tr", "cp", "sleep", "env"),
    *("flock", "kill", "ln"),
)

PYTHON: Final = """#!/bin/sh
echo "python $*" >>"$CALLS"
case "$*" in
    *version_info*) exit "${FAKE_TOO_OLD:-0}" ;;
    *ensurepip*) exit "${FAKE_NO_VENV:-0}" ;;
    "-m venv"*) for last; do :; done; mkdir -p "$last/bin" && cp "$FAKES/inner" "$last/bin/python" ;;
esac
"""

INNER: Final = """#!/bin/sh
case "$*" in
    "-m pip"*) echo "pip $*" >>"$CALLS"; sleep "${FAKE_SLEEP:-0}"; echo "Collecting things"
        [ -n "${FAKE_KILL:-}" ] && kill -9 $PPID
        [ -z "${FAKE_PROBLEM:-}" ] || { echo "$FAKE_PROBLEM"; exit 1; } ;;
    "-m services.cli"*) shift 2; echo "ran|$PWD|$PYTHONPATH|$PYTHONSAFEPATH|$#|$*" ;;
    *) exit 0 ;;
esac
"""


@dataclass(frozen=True)
class Checkout:
    """A folder with the launcher and lock files, and a machine on which only stand-ins exist."""

    root: Path
    as_nobody: bool = False

    @property
    def folder(self) -> Path:
        return self.root / "a check out"

    @property
    def python(self) -> Path:
        return self.folder / ".venv" / "bin" / "python"

    @property
    def calls(self) -> str:
        return (self.root / "calls").read_text()

    def forget_calls(self) -> None:
        (self.root / "calls").write_text("")

    def start(self, *arguments: str, launcher: Path | None = None, **variables: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": str(self.root / "bin"),
            "HOME": str(self.root / "home"),
            "CALLS": str(self.root / "calls"),
            "FAKES": str(self.root / "bin"),
            **variables,
        }
        nobody = 65534 if self.as_nobody else None
        return subprocess.Popen(
            [launcher or self.folder / "concert", *arguments], env=environment, cwd=self.root, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            user=nobody, group=nobody, extra_groups=[] if self.as_nobody else None,
        )  # fmt: skip

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(*arguments, launcher=None, **variables)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def a_checkout(root: Path) -> Checkout:
    checkout = Checkout(root)
    for folder in (checkout.folder, root / "bin", root / "home"):
        folder.mkdir()
    shutil.copy(LAUNCHER, checkout.folder / "concert")
    for name in ("requirements.lock", "requirements-dev.lock"):
        (checkout.folder / name).write_text(f"a-package==1.0 # of {name}\n")
    for program in PROGRAMS:
        found = shutil.which(program)
        if found:
            (root / "bin" / program).symlink_to(found)
    write_program(root / "bin" / "python3.12", PYTHON)
    write_program(root / "bin" / "inner", INNER)
    (root / "calls").touch()
    (root / "calls").chmod(0o666)
    return checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return a_checkout(tmp_path)


def test_a_first_start_makes_the_environment_and_hands_over_from_any_folder(checkout: Checkout) -> None:
    status, out, err = checkout.run("demo", "two words", "--json")
    assert (status, out) == (0, f"ran|{checkout.root}|{checkout.folder}|1|3|demo two words --json\n")
    assert "setting up Python packages" in err
    assert "--require-hashes --no-deps --only-binary :all:" in checkout.calls
    assert f"-r {checkout.folder}/requirements.lock" in checkout.calls


def test_a_second_start_starts_no_python_before_the_command(checkout: Checkout) -> None:
    checkout.run("demo")
    checkout.forget_calls()
    status, _, err = checkout.run("demo")
    assert (status, err, checkout.calls) == (0, "", "")


def test_it_can_be_reached_through_a_link(checkout: Checkout) -> None:
    (checkout.root / "home" / "concert").symlink_to("../a check out/concert")
    out, _ = checkout.start("status", launcher=checkout.root / "home" / "concert").communicate(timeout=30)
    assert f"|{checkout.folder}|1|1|status" in out


@pytest.mark.parametrize("word", ["test", "dev", "fault"])
def test_words_of_developers_bring_the_developers_packages(checkout: Checkout, word: str) -> None:
    checkout.run(word)
    assert "requirements-dev.lock" in checkout.calls
    checkout.forget_calls()
    checkout.run("demo")
    assert checkout.calls == "", "the developers' packages hold all others"


@pytest.mark.parametrize("words", [("test", "-h"), ("dev", "check", "--help"), ("-h",)])
def test_help_sets_nothing_up_and_answers_with_what_is_there(
    checkout: Checkout, words: tuple[str, ...]
) -> None:
    status, out, err = checkout.run(*words)
    assert (status, err, checkout.calls) == (0, "", "")
    assert "./concert demo" in out
    assert not (checkout.folder / ".venv").exists()

    checkout.run("demo")
    checkout.forget_calls()
    status, out, err = checkout.run(*words)
    assert (status, out.split("|")[-1], err) == (0, f"{' '.join(words)}\n", "")
    assert checkout.calls == ""


def test_a_changed_lock_file_is_installed_over_the_old_environment(checkout: Checkout) -> None:
    checkout.run("demo")
    checkout.forget_calls()
    (checkout.folder / "requirements.lock").write_text("a-package==2.0\n")
    status, _, _ = checkout.run("demo")
    assert status == 0
    assert "pip" in checkout.calls
    assert "--clear" not in checkout.calls


def lose_python(checkout: Checkout) -> None:
    checkout.run("demo")
    checkout.python.unlink()


UNUSABLE: Final[dict[str, Callable[[Checkout], object]]] = {
    "half made": lambda checkout: checkout.run("demo", FAKE_PROBLEM="ERROR: something"),
    "of a start that was killed in the middle": lambda checkout: checkout.run("demo", FAKE_KILL="1"),
    "whose Python went away": lose_python,
}


@pytest.mark.parametrize("environment", UNUSABLE)
def test_an_environment_that_cannot_be_used_is_made_anew(checkout: Checkout, environment: str) -> None:
    UNUSABLE[environment](checkout)
    status, out, _ = checkout.run("demo")
    assert (status, out[:4]) == (0, "ran|")
    assert checkout.calls.count("-m venv --clear") == 2


@pytest.mark.parametrize("without", ["", "flock"])
def test_of_two_first_starts_one_installs_and_both_run(checkout: Checkout, without: str) -> None:
    if without:
        (checkout.root / "bin" / without).unlink()
    both = [checkout.start("demo", FAKE_SLEEP="0.3") for _ in range(2)]
    outcomes = [
        (process.communicate(timeout=60)[0].startswith("ran|"), process.returncode) for process in both
    ]
    assert outcomes == [(True, 0), (True, 0)]
    assert checkout.calls.count("pip -m pip") == 1


def test_a_lock_left_by_a_killed_start_does_not_stop_the_next(checkout: Checkout) -> None:
    (checkout.root / "bin" / "flock").unlink()
    left = checkout.folder / ".venv.lock"
    ended = subprocess.Popen(["true"])
    ended.wait()
    left.symlink_to(str(ended.pid))
    status, _, _ = checkout.run("demo")
    assert status == 0


REFUSALS: Final = {
    "WARNING: Retrying after connection broken by NewConnectionError(...)": (6, "no network"),
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.": (1, "hash"),
    "ERROR: Could not install packages: [Errno 28] No space left on device": (1, "disk is full"),
    "ERROR: No matching distribution found for a-package==1.0": (1, "No matching distribution found"),
    "FAKE_TOO_OLD": (1, "Python 3.11 or newer"),
    "FAKE_NO_VENV": (1, "no venv module"),
}
"""What the installer says, or what is wrong with the machine."""


@pytest.mark.parametrize("cause", REFUSALS)
def test_each_cause_of_failure_is_one_sentence_and_an_exit_code(checkout: Checkout, cause: str) -> None:
    expected, words = REFUSALS[cause]
    status, out, err = checkout.run("demo", **({cause: "1"} if " " not in cause else {"FAKE_PROBLEM": cause}))
    told = [line for line in err.splitlines() if "setting up" not in line]
    assert (status, out, len(told)) == (expected, "", 1)
    assert words in told[0]


def test_without_any_python_it_says_so(checkout: Checkout) -> None:
    (checkout.root / "bin" / "python3.12").unlink()
    status, _, err = checkout.run("demo")
    assert (status, err) == (1, "concert: Python 3.11 or newer is needed and was not found.\n")


@pytest.fixture
def readable_only() -> Iterator[Checkout]:
    """A checkout that the user may read but not write, in a folder that any user may reach."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o755)
        checkout = a_checkout(root)
        (root / "home").chmod(0o777)
        yield Checkout(root, as_nobody=os.geteuid() == 0)
        checkout.folder.chmod(0o755)


def close(folder: Path) -> None:
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)


def test_a_checkout_that_cannot_be_written_keeps_its_environment_in_the_cache(
    readable_only: Checkout,
) -> None:
    close(readable_only.folder)
    status, out, _ = readable_only.run("demo")
    assert (status, out[:4]) == (0, "ran|")
    assert not (readable_only.folder / ".venv").exists()
    assert len(list((readable_only.root / "home" / ".cache" / "concert").glob("venv-*"))) == 1
    assert readable_only.run("demo")[2] == "", "the second start finds it"


def test_a_finished_environment_in_a_checkout_that_cannot_be_written_is_used(readable_only: Checkout) -> None:
    Checkout(readable_only.root).run("demo")
    close(readable_only.folder)
    close(readable_only.folder / ".venv")
    status, out, err = readable_only.run("demo")
    assert (status, out[:4], err) == (0, "ran|", "")
