"""`concert test`: two runs beside each other, of which neither's failure is lost."""

import sys

import pytest
from typer.testing import CliRunner

from services.cli import development
from services.cli.__main__ import application

PROGRAM = "import sys; print('ran', *sys.argv[1:], flush=True); sys.exit({code} * ('{red}' in sys.argv))"


@pytest.mark.parametrize(
    ("red", "code", "exit_code"),
    [("", 0, 0), ("tests/integration", 1, 1), ("tests/e2e", 1, 1), ("tests/unit", 2, 130)],
)
def test_every_kind_is_run_and_shown_and_one_red_run_is_enough(
    red: str,
    code: int,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = PROGRAM.format(code=code, red=red)
    monkeypatch.setattr(development, "_module", lambda _, *words: (sys.executable, "-c", program, *words))
    monkeypatch.setattr(development, "class_path", lambda *_: None)

    told = CliRunner().invoke(application(["test"]), ["test"])

    shown = capfd.readouterr().out + told.stdout
    assert {f"tests/{kind}" for kind in development.KINDS} == set(shown.split()) - {"ran"}
    assert (told.exit_code, told.stderr.count("✗")) == (exit_code, int(code > 0))
