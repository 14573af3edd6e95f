"""Everything started once for the whole session: a small run of the demo, and what it left behind."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from deploy.local.places import temporary_directory
from services.cli.demo.checks import Evidence
from services.cli.demo.command import Phases, perform
from services.cli.demo.trial import Trial, listening, running_trial
from tests.support.servers import unflushed

REFERRALS = 24


@dataclass(frozen=True)
class Session:
    """The installation that still stands, its agencies listening, and the evidence of the run."""

    trial: Trial
    evidence: Evidence
    story: list[str]


@pytest.fixture(scope="session")
async def session(anyio_backend: str) -> AsyncIterator[Session]:
    """All processes, as `concert up` starts them, after one run of the demo."""
    said: list[str] = []
    with temporary_directory("concert-e2e-") as folder:
        async with AsyncExitStack() as stack:
            with unflushed():
                trial = await stack.enter_async_context(running_trial(folder / "installation", said.append))
            out = folder / "report" / "partnership.html"
            evidence, _, story = await perform(trial, folder, REFERRALS, None, out, Phases(said.append))
            await stack.enter_async_context(listening(trial.clients.values()))
            yield Session(trial, evidence, story)
