"""How the command talks: data to stdout, all else to stderr; a failure is one sentence and an exit code."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

from deploy.local.refusals import CannotRun
from services.runtime.errors import Refused, Unavailable

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
CONFLICT: Final = 5
TEMPORARY: Final = 6
INTERRUPTED: Final = 130

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document for machines.")]


def say(text: str) -> None:
    """Tell the person at the terminal; never part of the data."""
    print(text, file=sys.stderr, flush=True)


def show_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one document."""
    print(json.dumps(document, ensure_ascii=False, indent=1))


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn a named failure into its sentence and the command's exit code."""
    try:
        yield
    except CannotRun as refusal:
        for line in refusal.last_lines:
            say(f"  {line}")
        _leave(refusal.sentence, refusal.exit_code)
    except Refused as refused:
        _leave(refused.sentence, FAILED)
    except Unavailable as unavailable:
        _leave(f"{unavailable}.", TEMPORARY)
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)


def _leave(sentence: str, code: int) -> None:
    say(f"concert: {sentence}")
    raise SystemExit(code)
