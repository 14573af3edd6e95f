"""How the command talks: data to stdout, all else to stderr; a failure is one sentence and an exit code."""

import json
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from deploy.local.refusals import CannotRun
from services.runtime.errors import Refused, Unavailable

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_AUTHORISED: Final = 3
NOT_FOUND: Final = 4
CONFLICT: Final = 5
TEMPORARY: Final = 6
INTERRUPTED: Final = 130
REASON: Final = re.compile(r"[ -~]{1,200}")

EXIT_CODES: Final = {"not_authorised": NOT_AUTHORISED, "nothing_to_read": NOT_FOUND}
"""How a refusal ends the command, by its code; any other ends it with 1."""

DRIVERS: Final = ("asyncpg", "kafka")
"""Whose errors mean that a server is away, or went away meanwhile; not every word imports them."""

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document for machines.")]


def say(text: str) -> None:
    """Tell the person at the terminal; never part of the data."""
    print(text, file=sys.stderr, flush=True)


def fail(sentence: str, code: int = FAILED) -> NoReturn:
    """Say what went wrong, and end the command."""
    say(f"concert: {sentence}")
    raise typer.Exit(code)


def check_choices(given: Iterable[str], choices: Collection[str], hint: str) -> None:
    """Refuse a word of the person at the terminal that is none of these."""
    if not set(given) <= set(choices):
        raise typer.BadParameter(f"one of {', '.join(choices)}", param_hint=hint)


def check_reason(reason: str | None) -> None:
    """Refuse a reason that is not a line of plain text, short enough to be kept."""
    if reason is not None and not REASON.fullmatch(reason):
        raise typer.BadParameter("at most 200 printable ASCII characters", param_hint="--reason")


def command(words: str, data: Path | None) -> str:
    """A command to type next, for the data directory that was named to this one."""
    return f"`concert {words}{f' --data {shlex.quote(str(data))}' if data else ''}`"


def show(document: Mapping[str, Any] | Sequence[Any], lines: Iterable[str], *, as_json: bool) -> None:
    """Print what was found: as one document for machines, or as lines for people."""
    for line in [json.dumps(document, ensure_ascii=False, indent=1)] if as_json else lines:
        print(line)


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn a named failure into its sentence and the command's exit code."""
    try:
        yield
        return
    except KeyboardInterrupt:
        sentence, code = "interrupted", INTERRUPTED
    except Exception as error:
        sentence, code = _sentence_and_code(error)
    say(f"concert: {sentence}")
    raise SystemExit(code)


def _sentence_and_code(error: Exception) -> tuple[str, int]:
    """What to say of a named failure; raises what is none."""
    if isinstance(error, ExceptionGroup):
        return _sentence_and_code(error.exceptions[0])
    if isinstance(error, CannotRun):
        return "\n  ".join((error.sentence, *error.last_lines)), error.exit_code
    if isinstance(error, Refused):
        return error.sentence, EXIT_CODES.get(error.code, FAILED)
    if isinstance(error, Unavailable):
        return f"{error}.", TEMPORARY
    library = type(error).__module__.partition(".")[0]
    if isinstance(error, (ConnectionError, TimeoutError)) or library in DRIVERS:
        # Nothing of its text: a driver's holds what it was given.
        name = type(error).__name__
        return f"a database or the brokers failed ({name}); see `concert status`.", TEMPORARY
    if type(error).__name__ in ("InvalidURL", "UnicodeEncodeError"):
        return "a word holds what cannot be sent; give printable text in UTF-8.", USAGE
    raise error
