"""Example data that lies beside the repository: found, or the test is skipped with the count of its cases."""

import os
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).resolve().parents[2]


def shared_data(path: str, cases: int = 1) -> Path:
    """A file below the shared data; `CONCERT_TEST_SHARED` says where, else beside the repository."""
    root = Path(os.environ.get("CONCERT_TEST_SHARED") or REPOSITORY.parent / "shared")
    found = root / "data" / path
    if not found.exists():
        pytest.skip(f"{cases} cases skipped: {path} is not below the shared data")
    return found
