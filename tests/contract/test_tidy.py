"""Our own small lints: what no tool knows, each with its reason. The tables list the exceptions and why."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
TOP: Final = (
    "README.md",
    "pyproject.toml",
    "concert",
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-bench.lock",
    ".ci",
)
PRODUCT: Final = ("schemas", "services", "deploy")
LINES_MAX: Final = 400
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def files_below(*folders: str, ending: str = ".py") -> list[Path]:
    found = [
        path
        for folder in folders
        for path in ([ROOT / folder] if (ROOT / folder).is_file() else (ROOT / folder).rglob(f"*{ending}"))
    ]
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def names_in(tree: ast.Module) -> Iterator[str]:
    """Every name that a file gives: functions, classes, arguments, variables, attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.arg(arg=name):
                yield name


BANNED: Final = re.compile(
    r"(^|_)(managers?|helpers?|utils?)(_|$)|Manager|Helper|Utils"  # say nothing about what the thing is
    r"|^_?(process|do|handle)_"  # any function does, handles or processes something
    r"|^_?[a-z_]*[a-z]_?\d+$"  # a second one of the same name has a name of its own
)
MEANT: Final = re.compile(r"(base(32|64)|sha(256|512)|ed25519|utf8)$")
"""Names of algorithms, which end in a number."""
NAMED_BY_OTHERS: Final[Mapping[str, str]] = {"handle_DATA": "aiosmtpd calls it so"}


def is_banned(name: str) -> bool:
    return bool(BANNED.search(name) and not MEANT.search(name)) and name not in NAMED_BY_OTHERS


def test_names_say_what_a_thing_is() -> None:
    found = {
        (place(path), name)
        for path in files_below(*PRODUCT)
        for name in {*names_in(tree_of(path)), path.stem}
        if is_banned(name) and "migrations" not in path.parts  # revisions are numbered
    }

    assert found == set()


@pytest.mark.parametrize(
    ("name", "banned"),
    [
        ("RequestManager", True), ("date_utils", True), ("test_helper", True), ("process_batch", True),
        ("_do_it", True), ("handle_event", True), ("event2", True), ("row_1", True),
        ("processes", False), ("document", False), ("handler", False), ("in_base64", False),
    ],
)  # fmt: skip
def test_the_lint_of_names_knows_them_apart(name: str, *, banned: bool) -> None:
    assert is_banned(name) == banned


IN_EACH_SERVICE: Final = {"Settings", "Store", "Work"}
"""Classes that are the same part of each service; every other name stands once."""


SAID_AT_TWO_DOORS: Final[Mapping[str, str]] = {
    "AgencyInactive": "of a party of an offer, by the arbiter; of whoever asks, at an agencies' port",
    "ConsentDoesNotCover": "of a step, by the arbiter; of what is sent, at a sector's door",
    "TooLarge": "of a body, at every port; of one entry of a batch, by the trail",
}
"""Refusals that two doors give under one code, each with its own sentence, and of what."""


def classes_made_in(tree: ast.Module) -> Iterator[str]:
    """Classes as they are written, and refusals that `define_refusal` makes of their code."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=ast.Name(id=maker))) if (
                maker in ("_define", "define_refusal")
            ):
                yield name


def test_a_class_name_stands_once() -> None:
    places = defaultdict(set)
    for path in files_below(*PRODUCT):
        for name in classes_made_in(tree_of(path)):
            places[name].add(place(path))

    twice = {name: sorted(files) for name, files in places.items() if len(files) > 1}
    assert twice.keys() == IN_EACH_SERVICE | SAID_AT_TWO_DOORS.keys(), twice


POLLS: Final[Mapping[str, str]] = {
    "tests/support/waiting.py": "the one place that polls, with a deadline",
    "tests/integration/test_platform.py": "polls processes outside any event loop, with a deadline",
    "tests/e2e/test_up_and_down.py": "polls processes outside any event loop, with a deadline",
    "tests/e2e/test_scale.py": "a load pauses between its steps; what writes nothing is watched for a second",
    "tests/bench/acceptance.py": "a bench lets the installation come to rest before it measures",
    "tests/bench/scale.py": "what it costs at rest is measured over ten seconds",
    "tests/integration/test_sector_closures.py": "the race is over who ends first: a release lasts",
    "tests/integration/test_sector_promises.py": "the same",
    "tests/fault/doors.py": "an attack of drops and a sign of life go by time, until an end that is given",
    "tests/fault/disks.py": "waits until nobody uses a disk any more, with a deadline",
    "tests/fault/load.py": "an agency asks again after a pause where an answer was unexpected",
    "tests/fault/runs.py": "strikes fall at times that a seed draws",
    "tests/fault/strikes.py": "a part is frozen, a disk full, steps pile up for a time that is given",
    "tests/fault/hostile_records.py": "polls over HTTP until nothing stands any more, with a limit",
}
"""Who waits by time, and why; a test waits on a condition."""


def sleeps_in(tree: ast.Module) -> bool:
    """A sleep of zero only lets others run."""
    return any(
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep", "anyio.sleep")
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
        for node in ast.walk(tree)
    )


def test_tests_wait_on_conditions_not_by_time() -> None:
    sleeping = {place(path) for path in files_below("tests") if sleeps_in(tree_of(path))}

    assert sleeping == POLLS.keys()


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions, classes and methods; what is nested in a function is its own affair."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


def promised(node: ast.ClassDef) -> Iterator[str]:
    """The methods of a Protocol, whose words hold for every class that names it as its base."""
    if "Protocol" in map(ast.unparse, node.bases):
        yield from (name for name, method in public(node.body) if ast.get_docstring(method))


def test_whatever_is_public_says_in_a_sentence_what_it_is() -> None:
    trees = {place(path): tree_of(path) for path in files_below(*PRODUCT)}
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    words = {(node.name, method) for node in classes for method in promised(node)}
    said = {
        f"{node.name}.{method}"
        for node in classes
        for base, method in words
        if base in map(ast.unparse, node.bases)
    }
    silent = {
        (file, name)
        for file, tree in trees.items()
        for name, node in public(tree.body)
        if not ast.get_docstring(node) and name not in said
    }

    assert silent == set()


def test_every_file_of_code_says_what_it_is_for() -> None:
    trees = {place(path): tree_of(path) for path in files_below(*PRODUCT)}

    assert [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_a_file_can_be_read_in_one_sitting() -> None:
    lengths = {place(path): len(path.read_text("utf-8").splitlines()) for path in files_below(*PRODUCT)}

    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_no_client_of_ours_asks_a_proxy_that_the_environment_names() -> None:
    clients = {
        f"{place(path)}:{call.lineno}": {word.arg for word in call.keywords}
        for path in files_below(*PRODUCT)
        for call in ast.walk(tree_of(path))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("httpx2.AsyncClient")
    }

    assert clients
    assert [name for name, words in clients.items() if "trust_env" not in words] == []


MACHINE: Final = re.compile(
    r"/(root|home/\w+|Users|work|tmp/\w+)/|pypi\.org|pythonhosted|maven\.(org|apache)|docker\.io|--(extra-)?index-url"
)
MACHINES_MEANT: Final[Mapping[str, str]] = {
    "tests/contract/test_tidy.py": "names what it looks for",
}


def test_no_file_names_a_machines_path_or_a_registry() -> None:
    found = set()
    for path in files_below(*TOP, *PRODUCT, "docs", "tests", ending=""):
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if MACHINE.search(text):
            found.add(place(path))

    assert found == MACHINES_MEANT.keys()


SHARED_CODES: Final[Mapping[str, str]] = {
    "too_large": "a body, or a part of it, over its limit",
    "agency_inactive": "an agency that is not admitted, or suspended",
    "consent_does_not_cover": "her consent does not cover this, or has ended",
}
"""Codes that several services use, in one and the same meaning."""


def codes_of(path: Path) -> Iterator[tuple[str, str]]:
    """Refusals of a file: class and code."""
    for node in ast.walk(tree_of(path)):
        for line in node.body if isinstance(node, ast.ClassDef) else [node]:
            match line:
                case (
                    ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code)))
                    | ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code)))
                ) if isinstance(node, ast.ClassDef):
                    yield node.name, code
                case ast.AnnAssign(
                    target=ast.Name(id=name),
                    value=ast.Call(func=ast.Name(id="_define" | "define_refusal"), args=words),
                ):
                    code = next(str(one.value) for one in words if isinstance(one, ast.Constant))
                    assert name.lower() == code.replace("_", ""), f"{name} is called otherwise in tracebacks"
                    yield name, code


def test_a_code_means_one_thing() -> None:
    users = defaultdict(list)
    for path in files_below("services"):
        for name, code in codes_of(path):
            users[code].append((path.relative_to(ROOT / "services").parts[0], name))

    assert len(users) > 20
    for code, classes in users.items():
        services = [service for service, _ in classes]
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code), code
        assert len(set(services)) == len(services), f"{code} twice in one service"
    assert {code for code, classes in users.items() if len(classes) > 1} == SHARED_CODES.keys()


def crash_points() -> set[str]:
    calls = (node for path in files_below(*PRODUCT) for node in ast.walk(tree_of(path)))
    return {
        str(node.args[0].value)
        for node in calls
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "crash_point"
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_crash_point_is_where_some_test_kills() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in files_below("tests/integration", "tests/e2e"))

    points = crash_points()

    assert len(points) > 15
    assert {point for point in points if f'"{point}"' not in tests} == set()


def table_after(heading: str) -> list[str]:
    """The first cells of a table in the README."""
    text = (ROOT / "README.md").read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [row.split("|")[1].strip() for row in rows]


def test_the_words_of_the_glossary_are_words_of_the_code() -> None:
    code = "\n".join(path.read_text("utf-8") for path in files_below(*PRODUCT)).lower()

    words = [word.strip() for cell in table_after("Words") for word in re.split(r"[,·]", cell)]

    assert {"survivor", "referral", "step", "fact", "permit"} <= set(words)
    missing = [word for word in words if not re.search(rf"\b{word.replace(' ', '[ _]?')}", code)]
    assert missing == []


BASES: Final = (ROOT, ROOT / "schemas", ROOT / "tests", ROOT / "services" / "audit")


def test_what_the_readme_points_at_is_there() -> None:
    named = re.findall(r"`([\w./]+/[\w./]*|[\w./]+\.(?:py|md))`", (ROOT / "README.md").read_text("utf-8"))

    assert len(named) > 8
    assert [path for path in named if not any((base / path).exists() for base in BASES)] == []


def test_the_build_runs_the_readers_own_test_command_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()

    commands = [line for line in lines if line and not line.startswith("#")]

    assert commands == ["set -eu", 'cd "$(dirname "$0")/.."', "exec ./concert test"]
    assert "./concert test" in (ROOT / "README.md").read_text("utf-8")
