"""`python -m deploy.monitoring`: writes the rules and the boards anew from their tables."""

from pathlib import Path
from typing import Final

from deploy.monitoring.alerts import rules_text
from deploy.monitoring.boards import board_texts

FOLDER: Final = Path(__file__).parent


def texts() -> dict[Path, str]:
    """Every file that is made of a table, and what belongs into it."""
    boards = {FOLDER / "boards" / name: text for name, text in board_texts().items()}
    return {FOLDER / "rules.yml": rules_text()} | boards


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, "utf-8")
