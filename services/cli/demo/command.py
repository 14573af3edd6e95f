"""`concert demo`."""

import asyncio
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final

import typer

from services.cli.talk import FAILED, AsJson, ProgressDots, say, show_json

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
    from deploy.local.places import temporary_directory
    from services.cli.demo.run import Run, run_demo

    async def run(folder: Path) -> Run:
        task = asyncio.current_task()
        if task:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run_demo(folder, referrals, directory, say if as_json else dots.say)

    dots = ProgressDots()
    with temporary_directory("concert-demo-") as folder, nullcontext() if as_json else dots.shown():
        try:
            found = asyncio.run(run(folder))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None  # SIGTERM; everything was stopped in order
    if as_json:
        from services.cli.demo.show import document

        show_json(document(found))
    else:
        from rich.console import Console

        from services.cli.demo.show import show

        show(found, Console(highlight=False))
    if not found.holds:
        say(f"Red: {', '.join(result.name for result in found.results if not result.holds)}.")
        raise typer.Exit(FAILED)
