"""A service as a process of its own, with its settings in the environment, to be killed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

from services.runtime.settings import ProcessSettings

ROOT: Final = Path(__file__).resolve().parent.parent.parent
KILLED_BY_ITSELF: Final = 137


async def start_process(
    service: str,
    settings: ProcessSettings,
    word: str = "run",
    *,
    log: IO[bytes] | int = asyncio.subprocess.DEVNULL,
    fds: tuple[int, ...] = (),
    mutant: str = "",
    **more: str,
) -> asyncio.subprocess.Process:
    """`python -m services.<service> <word>`, told its settings as the supervisor tells them, and `more`.

    `mutant` is code that runs before: it takes a control away.
    """
    told = {"PATH": os.environ["PATH"], **more}
    for name, value in settings.model_dump(mode="json", exclude_none=True).items():
        has_parts = isinstance(value, dict) and value
        parts = {f"__{part}": one for part, one in value.items()} if has_parts else {"": value}
        told |= {f"CONCERT_{name}{part}".upper(): str(one) for part, one in parts.items()}
    run = f"import runpy; runpy.run_module('services.{service}', run_name='__main__', alter_sys=True)"
    how = ("-c", f"{mutant}\n{run}") if mutant else ("-m", f"services.{service}")
    return await asyncio.create_subprocess_exec(
        sys.executable, *how, word, cwd=ROOT, env=told, stdout=log, stderr=log, pass_fds=fds
    )


@asynccontextmanager
async def a_process(
    service: str,
    settings: ProcessSettings,
    log: Path = Path(os.devnull),
    word: str = "run",
    *,
    fds: tuple[int, ...] = (),
    mutant: str = "",
    **more: str,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.<service> <word>`, with its log at the end of a file; killed if it still runs."""
    with log.open("ab") as output:
        process = await start_process(service, settings, word, log=output, fds=fds, mutant=mutant, **more)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
