"""The `concert` command within the test's process."""

import asyncio
import io
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

from services.cli.__main__ import main


class CommandResult(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


async def run_command(*words: object) -> CommandResult:
    """Run the command in a thread of its own, as it runs an event loop."""
    return await asyncio.to_thread(_run, [str(word) for word in words])


def _run(words: list[str]) -> CommandResult:
    code, out, err = 0, io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            code = int(end.code or 0)
    return CommandResult(code, out.getvalue(), err.getvalue())


STANDS_FOR = {
    "FILE": "README.md",
    "PATH": "deploy",
    "DIR": "deploy",
    "PARTITION": "0",
    "COUNT": "3",
    "DOCUMENT": "README.md",
    "KEY": "README.md",
}
"""What is put where help writes in capitals what a person has to name."""


def commands_in(texts: Iterable[str]) -> Iterator[str]:
    """Every command that texts name, without the first word."""
    for text in texts:
        yield from re.findall(r"`concert ([^`…]+?) *…?`", " ".join(text.split()))


def parse(root: Any, words: list[str]) -> None:
    """As the command itself reads them; raises for a word, an option or a file that is not there."""
    context = root.make_context("concert", words)
    while hasattr(context.command, "commands"):
        left = [*context._protected_args, *context.args]
        name, following, rest = context.command.resolve_command(context, left)
        context = following.make_context(name, rest, parent=context)


def words_of(line: str) -> list[str]:
    """A command's words, with what stands for what a person has to name."""
    return [STANDS_FOR.get(one, one) for one in shlex.split(line)]
