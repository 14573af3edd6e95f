"""The command's table of words: each can be mounted, leads with an example, and help imports none of them."""

import subprocess
import sys
from importlib import import_module

import pytest
from typer.testing import CliRunner

from deploy.local.refusals import CannotRun
from services.cli.__main__ import WORDS, Word, application
from services.cli.talk import failures_told
from services.runtime.errors import Unavailable
from tests.support.shared import REPOSITORY


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.name)
def test_every_word_has_help_that_leads_with_an_example(word: Word) -> None:
    name = word.name

    shown = CliRunner().invoke(application([name]), [name, "-h"])

    assert shown.exit_code == 0
    assert f"concert {name}" in shown.output.replace("root", "concert")


def test_help_imports_no_word() -> None:
    probe = (
        "import sys, services.cli.__main__ as m\n"
        "m.application([])\n"
        "heavy = [name for name in ('httpx2', 'sqlalchemy', 'fastapi', 'kafka') if name in sys.modules]\n"
        "words = [w.module for w in m.WORDS if 'services.cli.' + w.module in sys.modules]\n"
        "print(heavy, words)"
    )

    told = subprocess.run(
        [sys.executable, "-c", probe], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert told.stdout.strip() == "[] []"


def test_every_verb_is_in_the_module_that_the_table_names() -> None:
    for word in WORDS:
        module = import_module(f"services.cli.{word.module}")
        verbs = [] if word.is_noun else [each.name for each in module.app.registered_commands]
        assert word.is_noun or word.name in verbs


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (CannotRun("port_taken", "Port 9092 is in use."), 5, "concert: Port 9092 is in use."),
        (CannotRun("part_died", "Kafka ended.", ("last words",)), 1, "concert: Kafka ended.\n  last words"),
        (Unavailable("the brokers do not answer"), 6, "concert: the brokers do not answer."),
        (ExceptionGroup("", [CannotRun("no_network", "No network.")]), 6, "concert: No network."),
        (KeyboardInterrupt(), 130, "concert: interrupted"),
    ],
)
def test_a_named_failure_ends_with_its_sentence_and_code(
    failure: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, failures_told():
        raise failure

    assert ended.value.code == code
    assert capsys.readouterr().err.strip() == said


def test_what_has_no_name_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), failures_told():
        raise ZeroDivisionError
