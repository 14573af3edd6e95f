"""The operators' pages in a real browser: both directions and grounds, narrow, without script, kept fresh."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import pytest
from fastapi import Response
from playwright.async_api import Browser, Page, expect

from services.runtime.pages.answers import CONSOLE_HEADERS
from tests.support.clock import NOON
from tests.support.console import AWAY, LETTER, ConsoleStage, some_streams
from tests.ui.conftest import GuardedContexts, served, violations

STREAMS: Final = "/ops/streams"
LETTERS: Final = "/ops/dead-letters"
PAGES: Final = (
    STREAMS, f"{STREAMS}?service=audit&paused=yes", "/ops/parts",
    LETTERS, f"{LETTERS}?service=police&code=code_a", f"{LETTERS}/police/{LETTER}",
)  # fmt: skip
"""Every page, and its states that look otherwise."""
LOOKED_AT: Final = """() => ({
  headings: document.querySelectorAll('h1').length,
  current: document.querySelectorAll('nav [aria-current=page]').length,
  direction: document.documentElement.dir,
  scrolled: document.documentElement.scrollWidth > innerWidth,
  wide: [...document.querySelectorAll('main *, footer *, header *')].filter(
    one => !one.closest('.scroller') && one.clientWidth > innerWidth).map(one => one.outerHTML),
  small: [...document.querySelectorAll(
    'a:not(.skip, p:not([class]) *), button, select, input:not([type=hidden])')].filter(one => {
    const box = one.getBoundingClientRect(), least = one.matches('td a, th a') ? 24 : 44
    return box.height < least || box.width < 24 }).map(one => one.outerHTML),
})"""
"""What axe does not see: a page wider than the screen, and what a finger would miss."""


@pytest.fixture(scope="module")
async def stages() -> list[ConsoleStage]:
    """The stage that is served now, in a list of one."""
    return [ConsoleStage()]


@pytest.fixture(scope="module")
async def address(stages: list[ConsoleStage]) -> AsyncIterator[str]:
    """The pages of whatever stage a test sets."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await stages[0].app(scope, receive, send)

    async with served(app) as url:
        yield url


@pytest.fixture
def stage(stages: list[ConsoleStage]) -> ConsoleStage:
    """A fresh stage, served from now on."""
    stages[0] = ConsoleStage()
    return stages[0]


def signed_in(guarded: GuardedContexts, person: str, **more: Any) -> AbstractAsyncContextManager[Page]:
    """A page of somebody's browser."""
    cookie = {"name": "person", "value": person, "domain": "127.0.0.1", "path": "/"}
    return guarded.page(storage_state={"cookies": [cookie], "origins": []}, **more)


@pytest.mark.parametrize(("language", "direction"), [("en", "ltr"), ("ar", "rtl")])
async def test_every_page_can_be_used_in_both_directions_on_either_ground(
    guarded: GuardedContexts, stage: ConsoleStage, language: str, direction: str
) -> None:
    found: dict[str, Any] = {}
    plan = await stage.propose("discard")
    async with signed_in(guarded, "bintou-redriver", locale=language) as page:
        for path in (*PAGES, plan):
            await page.set_viewport_size({"width": 1280, "height": 720})
            await page.goto(path)
            await page.emulate_media(color_scheme="light")
            found[f"{path} light"] = await violations(page)
            if language == "en":  # no rule but those of colours sees the ground
                await page.emulate_media(color_scheme="dark")
                found[f"{path} dark"] = await violations(page, ["cat.color"])
            await page.set_viewport_size({"width": 320, "height": 640})
            found[path] = await page.evaluate(LOOKED_AT)

    usable = {"headings": 1, "current": 1, "direction": direction, "scrolled": False, "wide": [], "small": []}
    wrong = {name: one for name, one in found.items() if one not in ([], usable)}
    assert not wrong, wrong


async def test_without_script_letters_are_planned_confirmed_and_approved_by_another(
    guarded: GuardedContexts, stage: ConsoleStage
) -> None:
    async with signed_in(guarded, "bintou-redriver", java_script_enabled=False) as page:
        await page.goto("/ops")
        await page.get_by_role("link", name="Dead letters", exact=True).click()
        await page.get_by_label("Code").select_option("code_a")
        await page.get_by_label("Reader").select_option("police")
        await page.get_by_role("button", name="Filter").click()
        assert "code=code_a" in page.url
        await expect(page.get_by_role("table").get_by_role("row")).to_have_count(2)
        await page.get_by_role("button", name="Discard").click()
        await page.get_by_label("Why").fill("the sender was mended")
        await page.get_by_label("To confirm").fill("4")
        await page.get_by_role("button", name="Confirm").click()
        await expect(page.locator(":focus")).to_contain_text("that is not how much the plan is about")
        await expect(page.get_by_label("Why")).to_have_value("the sender was mended")
        guarded.faults.clear()  # the browser's word on the status 409
        await page.get_by_label("To confirm").fill("3")
        await page.get_by_role("button", name="Confirm").click()
        await expect(page.locator(":focus")).to_have_text("Discard: Waits for a second person")
        await expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        path = page.url.removesuffix("?answer=yes")

    async with signed_in(guarded, "carmen-redriver", java_script_enabled=False) as page:
        await page.goto(path)
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator(":focus")).to_have_text("Discard: Running")
        await stage.carry_out()
        await page.get_by_role("link", name="Load again").click()
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download").click()
        assert (await download.value).suggested_filename == f"{path[-31:]}.jws"
    assert stage.checked_fresh == ["bintou-redriver", "bintou-redriver", "carmen-redriver"]


async def test_a_page_keeps_itself_fresh_under_the_focus_and_turns_grey_where_it_cannot(
    guarded: GuardedContexts, stage: ConsoleStage
) -> None:
    async with signed_in(guarded, "ada-onlooker") as page:
        await page.clock.install(time=NOON)
        await page.goto(STREAMS)
        await page.get_by_role("link", name="CSV: Rates").focus()
        stage.streams_told = some_streams(groups=[])
        await page.clock.run_for(10_000)
        await expect(page.get_by_text("No reader was looked at yet.")).to_be_visible()
        await expect(page.locator(":focus")).to_have_text("CSV: Rates")
        stage.streams_told, stage.fails = some_streams(), AWAY
        await page.clock.run_for(10_000)
        await expect(page.locator("#live")).not_to_have_class("stale")
        await page.clock.run_for(25_000)
        await expect(page.locator("#live.stale [data-stale-says]")).to_contain_text("Stale")
        stage.fails = None
        await page.clock.run_for(10_000)
        await expect(page.locator("#live.stale")).to_have_count(0)
        guarded.faults.clear()  # the browser's word on each status 503
        await expect(page.locator(".signal.bad").first).to_be_visible()
        await page.get_by_role("link", name="Pause updates").click()
        assert page.url.endswith("?paused=yes")
        assert await page.locator("[hx-get]").count() == 0


async def test_a_running_plan_is_followed_to_its_receipt(
    guarded: GuardedContexts, stage: ConsoleStage
) -> None:
    async with signed_in(guarded, "bintou-redriver") as page:
        await page.clock.install(time=NOON)
        await page.goto(await stage.propose())
        await page.get_by_label("Why").fill("the sender was mended")
        await page.get_by_label("To confirm").fill("3")
        await page.get_by_role("button", name="Confirm").click()
        await expect(page.get_by_role("status")).to_have_text("Running")
        await stage.carry_out()
        await page.clock.run_for(2_000)
        await expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
        await expect(page.get_by_role("status")).to_have_text("Done")


@pytest.mark.parametrize(
    "fault", ["<script>document.title = 'run'</script>", "<p onclick='1'>here", "<p hx-on:click='1'>here"]
)
async def test_no_code_within_a_page_of_a_console_runs(browser: Browser, fault: str) -> None:
    stage = ConsoleStage()

    @stage.app.get("/faulty")
    async def faulty() -> Response:
        scripts = "<script src='/pages/htmx-4.0.1.min.js'></script>"
        body = f"<!doctype html><html lang=en><title>t</title><link rel=icon href='data:,'>{scripts}{fault}"
        return Response(body, media_type="text/html", headers=CONSOLE_HEADERS)

    async with served(stage.app) as url:
        contexts = GuardedContexts(browser, url)
        async with contexts.page() as page:
            await page.goto("/faulty")
            await page.locator("p").click() if "<p" in fault else None

    assert any("Content Security Policy" in one for one in contexts.faults), contexts.faults
