"""`concert test` and `concert dev …`: the project's own tools, each as a process of its own."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from deploy.local.jars import class_path
from deploy.local.places import cache_directory
from services.cli.talk import FAILED, INTERRUPTED, OK, USAGE, AsJson, check_choices, fail, say
from services.cli.tokens import TAKEN_BY
from services.referrals.domain.life_cycle import diagram

app = typer.Typer()
dev = typer.Typer()

REPOSITORY: Final = Path(__file__).resolve().parents[2]
KINDS: Final = ("unit", "contract", "integration", "e2e", "ui")
FAULT_RUNS: Final = ("R1", "R2", "power-cuts", "unflushed")
BESIDE_EACH_OTHER: Final[Mapping[str, Sequence[str]]] = {
    "service": ("integration",),
    "installation": (
        "integration/test_platform.py",
        "e2e/test_fault_runs.py",
        "e2e/test_from_admission_to_close.py",
        "e2e/test_kafka_lost.py",
        "e2e/test_partnership_year.py",
        "e2e/test_scale.py",
        "e2e/test_up_and_down.py",
        "e2e/test_upgrade.py",
        "e2e/test_yesterday_restored.py",
    ),
    "other": ("unit", "contract", "integration/test_sector_*.py", "e2e", "ui"),
}
"""Run → its folders and files under `tests`; a file that another run names is left to that one.

Each mostly waits: for its broker and database, for installations that it starts and strikes itself, for the
one that the rest of e2e shares. All take about as long.
"""
PYTEST_CODES: Final = {0: OK, 2: INTERRUPTED, 4: USAGE}
"""pytest's exit code → ours; what is not listed failed."""
PASSED_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True}


def _module(name: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *words)


CHECK: Final = {
    "types": _module("mypy"),
    "lint": _module("ruff", "check", "--quiet"),
    "format": _module("ruff", "format", "--check", "--quiet"),
    "imports": (str(Path(sys.executable).with_name("lint-imports")),),
    "published schemas": _module("schemas.publishing", "--check"),
    "unit and contract tests": _module("pytest", "-q", "tests/unit", "tests/contract"),
}
"""The longest first: two run at a time."""


@app.command("test", context_settings=PASSED_ON)
def test(context: typer.Context) -> None:
    """Examples: `concert test`, `concert test -x -k withdrawal`.

    Runs the tests of every kind, three runs beside each other. Further words go to pytest, in one run.
    """
    if context.args:
        _pytest(KINDS, context.args)
    class_path(cache_directory(), say)
    shown, *kept = BESIDE_EACH_OTHER
    say(f"… the {' and '.join(kept)} tests run beside these; what they say is shown afterwards")
    with ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in kept]
        beside = [
            stack.enter_context(
                subprocess.Popen(_beside(run), cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT)
            )
            for run, file in zip(kept, said, strict=True)
        ]
        codes = [subprocess.call(_beside(shown), cwd=REPOSITORY), *(one.wait() for one in beside)]
        for file in said:
            file.seek(0)
            print(file.read().decode(errors="replace"))
    for run, code in zip(BESIDE_EACH_OTHER, codes, strict=True):
        say(f"{'✗' if code else '✓'} {run} tests")
    raise typer.Exit(PYTEST_CODES.get(next(filter(None, codes), OK), FAILED))


@app.command("fault", short_help="Strike a trial installation under load, and check what is left.")
def fault(
    run: Annotated[str, typer.Argument(help=f"One of: {', '.join(FAULT_RUNS)}.")],
    seed: Annotated[int | None, typer.Option(help="The same seed strikes the same parts.")] = None,
    soak: Annotated[bool, typer.Option(help="Ten times as many strikes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert fault R1`, `concert fault R2 --seed 7 --json`.

    R1 kills, freezes and takes brokers' disks away under load, and holds if nothing was lost, doubled or out
    of order; R2 does so without refill, and holds only if the checks see the loss. power-cuts takes the
    current from the disks of brokers and database ten times, and holds likewise; unflushed does so once, with
    a database that does not wait for its disk, and holds only if the loss is seen. Without root none is cut.
    """
    check_choices([run], FAULT_RUNS, "RUN")
    if not (REPOSITORY / "tests" / "fault").is_dir():
        fail("the runs are among the project's tests, and the folder tests is not here.")
    class_path(cache_directory(), say)
    words = [run, *(["--seed", str(seed)] if seed is not None else [])]
    words += [word for word, is_wanted in (("--soak", soak), ("--json", as_json)) if is_wanted]
    code = subprocess.call(_module("tests.fault", *words), cwd=REPOSITORY)
    raise typer.Exit(OK if code == OK else INTERRUPTED if code < 0 else FAILED)


@dev.command("test", context_settings=PASSED_ON)
def test_kind(
    context: typer.Context, kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.")]
) -> None:
    """Examples: `concert dev test unit`, `concert dev test e2e -x`.

    Runs the tests of one kind; further words go to pytest.
    """
    check_choices([kind], KINDS, "KIND")
    _pytest([kind], context.args)


@dev.command("schemas")
def write_schemas() -> None:
    """Example: `concert dev schemas`.

    Writes the published JSON Schemas, the AsyncAPI and OpenAPI documents, Prometheus' rules and Grafana's
    boards anew from the code.
    """
    code = subprocess.call(_module("schemas.publishing"), cwd=REPOSITORY)
    for service in TAKEN_BY:
        written = subprocess.run(
            _module(f"services.{service}", "openapi"), cwd=REPOSITORY, stdout=subprocess.PIPE, check=False
        )
        if written.returncode:
            raise typer.Exit(FAILED)
        (REPOSITORY / "schemas" / "published" / "openapi" / f"{service}.json").write_bytes(written.stdout)
    raise typer.Exit(code or subprocess.call(_module("deploy.monitoring"), cwd=REPOSITORY))


@dev.command("diagram")
def show_diagram() -> None:
    """Example: `concert dev diagram`.

    Prints the life cycle of a referral as a Mermaid diagram, from the table that the arbiter reads.
    """
    print(diagram())


@dev.command("check")
def check() -> None:
    """Example: `concert dev check`.

    Lint, format, types, import contracts, published files, unit and contract tests.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        passed = dict(zip(CHECK, pool.map(_passes, CHECK), strict=True))
    if not all(passed.values()):
        say(f"Red: {', '.join(name for name, is_green in passed.items() if not is_green)}.")
        raise typer.Exit(FAILED)
    say("All green.")


def _passes(name: str) -> bool:
    began = time.monotonic()
    say(f"… {name}")
    done = subprocess.run(CHECK[name], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    is_green = done.returncode == 0
    say(f"{'✓' if is_green else '✗'} {name} ({time.monotonic() - began:.1f} s)")
    if not is_green:
        print(done.stdout + done.stderr)
    return is_green


def _beside(run: str) -> tuple[str, ...]:
    own = [place for pattern in BESIDE_EACH_OTHER[run] for place in (REPOSITORY / "tests").glob(pattern)]
    named = {pattern for one, patterns in BESIDE_EACH_OTHER.items() if one != run for pattern in patterns}
    left = [f"--ignore-glob=tests/{pattern}" for pattern in sorted(named) if pattern.endswith(".py")]
    return _module("pytest", *(str(place.relative_to(REPOSITORY)) for place in sorted(own)), *left)


def _run_of(kinds: Sequence[str], words: Sequence[str] = ()) -> tuple[str, ...]:
    return _module("pytest", *(f"tests/{kind}" for kind in kinds), *words)


def _pytest(kinds: Sequence[str], words: Sequence[str]) -> NoReturn:
    # Tests reach no address but this machine's, so what they start must be here before they begin.
    class_path(cache_directory(), say)
    code = subprocess.call(_run_of(kinds, words), cwd=REPOSITORY)
    raise typer.Exit(PYTEST_CODES.get(code, FAILED))
