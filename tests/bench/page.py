"""`python -m tests.bench.page`: how long the partnership's page takes, over HTTP on loopback.

Three thousand records; five languages in turn. Once nothing changes meanwhile, once something did before
every hundredth request, so that the report and each language are made anew.
"""

import asyncio
import time
from itertools import cycle
from typing import Final

import httpx2

from services.governance.pages.routes import LOOKED_EVERY
from services.runtime.pages.languages import LANGUAGES
from tests.support.pages import PageStage
from tests.support.stage import Stage, a_busy_stage, a_dialogue
from tests.ui.conftest import served

REQUESTS: Final = 2_000
RECORDS: Final = 3_000
CONVENORS: Final = ("seat river-alliance", "seat dawn-movement")


def a_dialogue_held(stage: Stage, number: int) -> None:
    """One more record."""
    convenor = CONVENORS[number % 2]
    stage.do(convenor, "announce", "dialogue", f"dlg_{number}", a_dialogue(stage.clock.now()))
    stage.do(convenor, "hold", "dialogue", f"dlg_{number}", {"by_constituency": {"government": 12}})


async def measured(stage: Stage, url: str, changes_every: int | None) -> list[float]:
    """How long each request took, in milliseconds."""
    took, languages = [], cycle(LANGUAGES)
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        for number in range(REQUESTS):
            if changes_every and number % changes_every == 0:
                a_dialogue_held(stage, RECORDS + number)
                stage.clock.forward(LOOKED_EVERY)
            began = time.perf_counter()
            (await client.get(f"/partnership?lang={next(languages)}")).raise_for_status()
            took.append((time.perf_counter() - began) * 1_000)
    return sorted(took)


async def main() -> None:
    """Print both."""
    page = PageStage(a_busy_stage())
    for number in range(RECORDS):
        a_dialogue_held(page.stage, number)
    async with served(page.app) as url:
        for name, changes_every in (("nothing changes", None), ("every 100th changes it", 100)):
            took = await measured(page.stage, url, changes_every)
            middle, late = took[len(took) // 2], took[len(took) * 99 // 100]
            print(f"{name}: p50 {middle:.1f} ms, p99 {late:.1f} ms, most {took[-1]:.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
