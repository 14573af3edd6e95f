"""Which version of Concert this is: the project's own, as its file of settings says it."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"


@cache
def version() -> str:
    """Such as `0.1.0`."""
    return str(tomllib.loads(PROJECT.read_text("utf-8"))["project"]["version"])
