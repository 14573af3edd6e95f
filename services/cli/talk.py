"""How the command talks: data to stdout, all else to stderr; a failure is one sentence and an exit code."""

import json
import shlex
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from deploy.local.refusals import CannotRun
from services.runtime.errors import Refused, Unavailable

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
CONFLICT: Final = 5
TEMPORARY: Final = 6
INTERRUPTED: Final = 130

DOT_SECONDS: Final = 2.0
"""So long a person waits in silence before she asks herself whether it hangs."""

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document for machines.")]


def say(text: str) -> None:
    """Tell the person at the terminal; never part of the data."""
    print(text, file=sys.stderr, flush=True)


def fail(sentence: str, code: int = FAILED) -> NoReturn:
    """Say what went wrong, and end the command."""
    say(f"concert: {sentence}")
    raise typer.Exit(code)


class ProgressDots:
    """Says things, and shows by a dot at each interval that the command is still at work."""

    def __init__(self, every_seconds: float = DOT_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._is_in_line = False

    def say(self, text: str) -> None:
        """Tell the person at the terminal, on a line of its own."""
        with self._writing:
            self._end_line()
            say(text)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Dots for as long as the block; in a thread, as some work blocks the loop."""
        thread = threading.Thread(target=self._dot, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self._end_line()

    def _end_line(self) -> None:
        if self._is_in_line:
            say("")
        self._is_in_line = False

    def _dot(self) -> None:
        while not self._ended.wait(self._every_seconds):
            with self._writing:
                self._is_in_line = True
                print(".", end="", file=sys.stderr, flush=True)


def command(words: str, data: Path | None) -> str:
    """A command to type next, for the data directory that was named to this one."""
    return f"`concert {words}{f' --data {shlex.quote(str(data))}' if data else ''}`"


def show_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one document."""
    print(json.dumps(document, ensure_ascii=False, indent=1))


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn a named failure into its sentence and the command's exit code."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)
    except Exception as error:
        _leave(*_sentence_and_code(error))


def _sentence_and_code(error: Exception) -> tuple[str, int]:
    """What to say of a named failure; raises what is none."""
    if isinstance(error, ExceptionGroup):
        return _sentence_and_code(error.exceptions[0])
    if isinstance(error, CannotRun):
        return "\n  ".join((error.sentence, *error.last_lines)), error.exit_code
    if isinstance(error, Refused):
        return error.sentence, FAILED
    if isinstance(error, Unavailable):
        return f"{error}.", TEMPORARY
    raise error


def _leave(sentence: str, code: int) -> None:
    say(f"concert: {sentence}")
    raise SystemExit(code)
