"""Everything started once for the whole session: a small run of the demo, and what it left behind."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deploy.local.places import temporary_directory
from services.cli.demo.evidence import Evidence
from services.cli.demo.run import Times, perform
from services.cli.demo.stage import Stage, staged
from tests.support.servers import LoopThread

REFERRALS = 24


@dataclass(frozen=True)
class Session:
    """The stage that still stands, the evidence of the run, and the loop that keeps the processes."""

    stage: Stage
    evidence: Evidence
    loop: LoopThread


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    """All processes, as `concert up` starts them, after one run of the demo."""
    said: list[str] = []
    loop = LoopThread()
    with temporary_directory("concert-e2e-") as folder:
        stage_of = staged(folder / "installation", said.append)
        stage = loop.call(stage_of.__aenter__())
        try:
            evidence, _ = loop.call(perform(stage, folder, REFERRALS, None, Times(said.append)))
            yield Session(stage, evidence, loop)
        finally:
            loop.call(stage_of.__aexit__(None, None, None))
            loop.close()
