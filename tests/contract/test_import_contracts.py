"""The import contracts hold, and each of them finds what it is there to find."""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
LINTER: Final = Path(sys.executable).with_name("lint-imports")

PLANTED: Final[Mapping[str, tuple[str, str]]] = {
    "Floors: a sector on the engine, every service on the runtime, no service on another": (
        "services/referrals/gate_of_others.py", "import services.governance.domain"),
    "Only the sectors stand on the engine": (
        "services/notifications/views.py", "import services.sector.domain.views"),
    "Inside a service": (
        "services/governance/domain.py", "import services.governance.store"),
    "The contract is the ground": (
        "schemas/events/consent.py", "import services.runtime.clock"),
    "The runtime knows no word of the field": (
        "services/runtime/clock.py", "import schemas.events.referral"),
    "Domain, handlers and contract reach no driver, even indirectly": (
        "services/referrals/domain/gate.py", "import services.runtime.database"),
    "Only the runtime speaks to Kafka": (
        "services/notifications/handlers.py", "import aiokafka"),
    "SQL is written in a store or in the runtime": (
        "services/audit/handlers.py", "import sqlalchemy"),
    "Only the command starts a deployment": (
        "services/police/profile.py", "import deploy.local.kafka"),
    "The command reaches into no service's wiring": (
        "services/cli/talk.py", "import services.referrals.wiring"),
    "The trail's proofs stand alone": (
        "schemas/trail/bytes.py", "import schemas.ids"),
    "The offline verifier knows the trail's proofs alone": (
        "services/audit/verifier/check.py", "import schemas.events.access"),
    "The vault reaches no database, no broker and no HTTP": (
        "services/sector/vault/state.py", "import services.runtime.connections"),
    "No circles": (
        "schemas/ids.py", "import schemas.events"),
}  # fmt: skip
"""Contract → file of a copy, and the import that it must not have."""


def linted(folder: Path) -> tuple[int, str]:
    command = [str(LINTER), "--no-cache", "--config", str(folder / "pyproject.toml")]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder), "COLUMNS": "300"}
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def said_of_a_spoilt_copy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a copy in which every contract is broken once."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for folder in ("schemas", "services", "deploy"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.json"))
    for file, line in PLANTED.values():
        with (copy / file).open("a", encoding="utf-8") as planted:
            planted.write(f"\n{line}\n")
    code, said = linted(copy)
    assert code == 1
    return said


def test_the_contracts_hold() -> None:
    code, said = linted(ROOT)

    assert code == 0, said
    assert "0 broken" in said


def test_each_contract_has_a_planted_violation() -> None:
    written = (ROOT / "pyproject.toml").read_text("utf-8").split("[[tool.importlinter.contracts]]")[1:]
    names = {block.partition('name = "')[2].partition('"\n')[0] for block in written}

    assert names == PLANTED.keys()


def details_of(contract: str, said: str) -> str:
    """What the linter says of one broken contract."""
    details = said.partition("Broken contracts")[2].partition(f"\n{contract}\n---")[2]
    return re.split(r"\n[^\n]+\n----", details)[0]


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_violation_breaks_its_contract(said_of_a_spoilt_copy: str, contract: str) -> None:
    file, line = PLANTED[contract]
    importer, imported = file.removesuffix(".py").replace("/", "."), line.removeprefix("import ")
    shortly = f".{importer.split('.')[-1]} -> .{imported.split('.')[-1]}"

    details = details_of(contract, said_of_a_spoilt_copy)

    assert f"{contract} BROKEN" in said_of_a_spoilt_copy
    assert f"{importer} -> {imported}" in details or shortly in details, details
