"""The command's table of words: each can be mounted, leads with an example, and help imports none of them."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
import typer
from kafka.errors import KafkaError
from typer.testing import CliRunner

from deploy.local.refusals import CannotRun
from services.cli.__main__ import WORDS, Word, application
from services.cli.talk import command, failures_told
from services.runtime.alarms import RULES
from services.runtime.errors import Unavailable
from tests.support.commands import commands_in, parse, words_of
from tests.support.shared import REPOSITORY


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.name)
def test_every_word_has_help_that_leads_with_an_example(word: Word) -> None:
    name = word.name

    shown = CliRunner().invoke(application([name]), [name, "-h"])

    assert shown.exit_code == 0
    assert f"concert {name}" in shown.output.replace("root", "concert")


@pytest.mark.parametrize(
    ("line", "word"), [("concert stat", "status"), ("concert dead-letters red", "redrive")]
)
def test_a_shell_completes_words_and_verbs(line: str, word: str) -> None:
    asked = {"_CONCERT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": f"{line.count(' ')}"}

    told = subprocess.run(
        [sys.executable, "-m", "services.cli"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, env=os.environ | asked,
    )  # fmt: skip

    assert told.stdout.split() == [word]


def test_the_version_is_the_projects() -> None:
    shown = CliRunner().invoke(application([]), ["--version"])

    assert re.fullmatch(r"concert \d+\.\d+\.\d+\n", shown.output)


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


UNSENT = "a word holds what cannot be sent; give printable text in UTF-8."
FAILED = "concert: a database or the brokers failed ({}); see `concert status`."


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (CannotRun("port_taken", "Port 9092 is in use."), 5, "concert: Port 9092 is in use."),
        (CannotRun("part_died", "Kafka ended.", ("last words",)), 1, "concert: Kafka ended.\n  last words"),
        (Unavailable("the brokers do not answer"), 6, "concert: the brokers do not answer."),
        (ExceptionGroup("", [CannotRun("no_network", "No network.")]), 6, "concert: No network."),
        (KeyboardInterrupt(), 130, "concert: interrupted"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, ""), 2, f"concert: {UNSENT}"),
        (httpx2.InvalidURL("a\n"), 2, f"concert: {UNSENT}"),
        (asyncpg.DataError("Quillon"), 6, FAILED.format("DataError")),
        (KafkaError("Quillon"), 6, FAILED.format("KafkaError")),
        (TimeoutError("Quillon"), 6, FAILED.format("TimeoutError")),
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


def tree(word: Word) -> tuple[Any, list[str]]:
    """A word's command, and every text that it shows."""
    root: Any = typer.main.get_command(application([word.name]))
    waiting, texts = [root.commands[word.name]], []
    while waiting:
        one = waiting.pop()
        texts.append(one.help or "")
        waiting += getattr(one, "commands", {}).values()
    return root, texts


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.name)
def test_help_names_commands_and_files_that_are_there(word: Word, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    root, texts = tree(word)

    for line in commands_in(texts):
        words = words_of(line)
        if words[0] == word.name:
            parse(root, words)
        assert words[0] in {each.name for each in WORDS}
        paths = [one for one in words if "/" in one or Path(one).suffix in (".json", ".csv", ".toml", ".md")]
        assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_what_an_alarm_tells_to_do_are_commands_that_are_there() -> None:
    for line in commands_in(list(RULES.values())):
        words = words_of(line)
        parse(typer.main.get_command(application(words)), words)


def test_what_the_documents_tell_to_type_are_words_and_verbs_that_are_there() -> None:
    nouns = {word.name: word.is_noun for word in WORDS}
    for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")):
        told = set(re.findall(r"\./concert ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", path.read_text("utf-8")))
        assert {name for name, _ in told} <= nouns.keys(), path
        for name, verb in told:
            if nouns[name] and verb:
                root: Any = typer.main.get_command(application([name]))
                assert verb in root.commands[name].commands, (path, name)


def test_a_hint_keeps_the_data_directory_that_was_named() -> None:
    assert command("status", None) == "`concert status`"
    assert command("status", Path("a folder/x")) == "`concert status --data 'a folder/x'`"


def test_no_hint_forgets_the_data_directory() -> None:
    """Every hint that is told is made by `command`, which repeats it."""
    for path in sorted((REPOSITORY / "services" / "cli").rglob("*.py")):
        told = re.findall(r"(?:say|fail|CannotRun)\([^)]*`concert [^`]*`", path.read_text("utf-8"))
        assert told == [], path
