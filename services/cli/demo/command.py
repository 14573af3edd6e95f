"""`concert demo`."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from deploy.local.places import temporary_directory
from services.cli.demo.run import DemoRun, run_demo
from services.cli.demo.show import document, show_run
from services.cli.talk import FAILED, AsJson, say, show

app = typer.Typer()

REFERRALS_LEAST: Final = 24
"""Fewer cannot leave twenty steps unanswered twice."""


@app.command("demo")
def demo(
    referrals: Annotated[
        int, typer.Option(min=REFERRALS_LEAST, help="How many to play; races add theirs.")
    ] = 200,
    directory: Annotated[
        Path | None,
        typer.Option(exists=True, help="A real service directory; its organisations are listed only."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Examples: `concert demo`, `concert demo --json`, `concert demo --directory PATH`.

    In a temporary directory: starts everything, lets twelve fictional agencies make and answer referrals over
    HTTP, kills the arbiter and the broker in the middle, then checks from outside. Exit 0 only if all holds.
    """

    async def run(folder: Path) -> DemoRun:
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run_demo(folder, referrals, directory, say)

    with temporary_directory("concert-demo-") as folder, Console(stderr=True).status("at work"):
        try:
            found = asyncio.run(run(folder))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None  # SIGTERM; everything was stopped in order
    if as_json:
        show(document(found), (), as_json=True)
    else:
        show_run(found, Console(highlight=False))
    if not found.holds:
        say(f"Red: {', '.join(result.name for result in found.results if not result.holds)}.")
        raise typer.Exit(FAILED)
