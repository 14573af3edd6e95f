"""Why the platform cannot run: each cause has a code, a sentence and an exit code of the command."""

from pathlib import Path
from typing import Final

FAILED, IN_USE, TEMPORARY = 1, 5, 6

EXIT_CODES: Final = {"no_network": TEMPORARY, "port_taken": IN_USE, "directory_in_use": IN_USE}
"""What is not listed here ends with 1."""

TRACES: Final = (
    ("No space left on device", "disk_full", "The disk is full."),
    ("Disk quota exceeded", "disk_full", "The disk quota is used up."),
    ("Address already in use", "port_taken", "A port that it needs is in use."),
    ("could not look up effective user ID", "no_account", "The current user is in no list of accounts."),
    ("database files are incompatible", "wrong_version", "The directory is another PostgreSQL version's."),
    ("could not access directory", "unreachable_directory", "Its user cannot reach its directory."),
    ("Permission denied", "unreachable_directory", "A directory cannot be reached or written."),
)
"""Words in a part's output, and the refusal that they mean; the first that occurs counts."""

SHOWN_LINES: Final = 12


class CannotRun(Exception):
    """The platform cannot be started or went down; `code` is stable, `sentence` is for people."""

    def __init__(self, code: str, sentence: str, last_lines: tuple[str, ...] = ()) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence
        self.last_lines = last_lines

    @property
    def exit_code(self) -> int:
        """The exit code of the command that was refused."""
        return EXIT_CODES.get(self.code, FAILED)


def part_died(name: str, log: Path) -> CannotRun:
    """The refusal for a part that ended by itself, with the cause if its output tells one."""
    lines = last_lines(log)
    told = "\n".join(lines)
    for words, code, sentence in TRACES:
        if words in told:
            return CannotRun(code, f"{name} could not run. {sentence}", lines)
    return CannotRun("part_died", f"{name} ended unexpectedly.", lines)


def last_lines(log: Path) -> tuple[str, ...]:
    """The end of a log file."""
    try:
        text = log.read_bytes()[-16_384:].decode("utf-8", "replace")
    except FileNotFoundError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip())[-SHOWN_LINES:]
