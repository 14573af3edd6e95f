"""A service as a process of its own, with its settings in the environment, to be killed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from services.runtime.settings import RuntimeSettings

ROOT: Final = Path(__file__).resolve().parent.parent.parent
KILLED_BY_ITSELF: Final = 137


def environment_of(settings: RuntimeSettings, **more: str) -> dict[str, str]:
    """The settings as `CONCERT_…` variables."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith("CONCERT_")}
    return plain | dict(_variables("CONCERT", settings)) | more


def _variables(prefix: str, value: Any) -> Mapping[str, str]:
    separator = "_" if prefix == "CONCERT" else "__"
    found: dict[str, str] = {}
    for name in type(value).model_fields:
        one = getattr(value, name)
        variable = f"{prefix}{separator}{name.upper()}"
        if isinstance(one, BaseModel):
            found |= _variables(variable, one)
        elif one is not None:
            found[variable] = str(one)
    return found


@asynccontextmanager
async def a_process(
    service: str, settings: RuntimeSettings, log: Path = Path(os.devnull), **more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.<service> run`, with its log at the end of a file; killed if it still runs."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"services.{service}", "run",
            cwd=ROOT, env=environment_of(settings, **more), stdout=output, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
