"""A real browser before a real port on loopback; whatever a page loads, logs or breaks besides fails a test.

`axe.min.js` is axe-core 4.14.1 of Deque Systems, unchanged, under the MPL 2.0 (`axe.LICENSE.txt`); it is for
tests alone.
"""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.support.pages import PageStage
from tests.support.stage import a_busy_stage

CHROMIUM: Final = os.environ.get("CHROMIUM") or shutil.which("chromium")
AXE: Final = (Path(__file__).with_name("axe.min.js")).read_text("utf-8")
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""Which of axe's rules a page is held to."""
LOOK: Final = "t => axe.run(document, {runOnly: t, resultTypes: ['violations']})"
ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""Without a sandbox, because builds run as root; and without a word to anybody outside."""


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """An application on a port of loopback."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:  # or answers wait for an ACK
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, whichever the machine has."""
    if not CHROMIUM:
        pytest.skip("no Chromium here: name one in the variable CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    """The partnership's page of the busy stage."""
    async with served(PageStage(a_busy_stage()).app) as url:
        yield url


class GuardedContexts:
    """Contexts of a browser that note what no page may do."""

    def __init__(self, browser: Browser, address: str) -> None:
        self._browser = browser
        self._address = address
        self.faults: list[str] = []

    @asynccontextmanager
    async def page(self, **more: Any) -> AsyncIterator[Page]:
        """A page in a context of its own."""
        options = {
            "base_url": self._address,
            "timezone_id": "UTC",
            "reduced_motion": "reduce",
            "service_workers": "block",
        }
        context = await self._browser.new_context(**{**options, **more})
        await self._guard(context)
        yield await context.new_page()
        await context.close()

    async def _guard(self, context: BrowserContext) -> None:
        async def passed(route: Any) -> None:
            if route.request.url.startswith(self._address):
                await route.continue_()
            else:
                self.faults.append(f"outside: {route.request.url}")
                await route.abort()

        await context.route("**/*", passed)
        context.on("console", lambda one: self.faults.append(one.text) if one.type == "error" else None)
        context.on("weberror", lambda one: self.faults.append(str(one.error)))


@pytest.fixture
async def guarded(browser: Browser, address: str) -> AsyncIterator[GuardedContexts]:
    """A browser whose pages load nothing from outside, break no policy and log no error."""
    contexts = GuardedContexts(browser, address)
    yield contexts
    assert contexts.faults == []


async def violations(page: Page, rules: Sequence[str] = RULES) -> list[str]:
    """What axe finds: rule and place."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE)
    found = await page.evaluate(LOOK, [*rules])
    return [f"{one['id']}: {node['target']}" for one in found["violations"] for node in one["nodes"]]
