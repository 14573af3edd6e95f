"""The `concert` command within the test's process."""

import asyncio
import io
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

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
