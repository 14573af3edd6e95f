"""`python -m services.audit.verifier verify SOURCE`: exit 0 sound, 7 not sound, 1 could not look."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from schemas.trail.notes import named_key
from services.audit.verifier.check import Verdict, as_json, check, sentences
from services.audit.verifier.kit import CannotLook, Kit, read_subject_keys

SOUND: Final = 0
COULD_NOT_LOOK: Final = 1
NOT_SOUND: Final = 7


def verify(source: Path, log_key: str | None, subject_keys: Path | None) -> Verdict:
    """Check a directory with the keys the reader brought along."""
    try:
        keys = read_subject_keys(subject_keys.read_text("utf-8")) if subject_keys else {}
        # An empty key is a wrong one, not no wish for one.
        pinned = named_key(log_key) if log_key is not None else None
    except (OSError, ValueError) as problem:
        raise CannotLook(f"a key cannot be read: {problem}") from None
    return check(Kit(source, pinned), keys)


def run(source: Path, log_key: str | None, subject_keys: Path | None, *, for_machines: bool) -> int:
    """Check, print, and give the exit code."""
    try:
        verdict = verify(source, log_key, subject_keys)
    except CannotLook as problem:
        print(f"Could not look: {problem}.", file=sys.stderr)
        return COULD_NOT_LOOK
    print(json.dumps(as_json(verdict)) if for_machines else "\n".join(sentences(verdict)))
    return SOUND if verdict.is_sound else NOT_SOUND


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="verifier", description="Says whether an access trail is sound.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("verify", help="exit 0 sound, 7 not sound, 1 could not look")
    command.add_argument("source", type=Path, help="a directory with a trail")
    command.add_argument("--log-key", help="the log's verifier key, known from elsewhere: name+id+key")
    command.add_argument("--subject-keys", type=Path, help="a file of lines: subject id, space, base64 key")
    command.add_argument("--json", action="store_true", help="for machines")
    given = parser.parse_args(arguments)
    return run(given.source, given.log_key, given.subject_keys, for_machines=given.json)


if __name__ == "__main__":
    sys.exit(main())
