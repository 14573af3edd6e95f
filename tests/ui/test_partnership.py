"""The partnership's page in a real browser: both directions and grounds, narrow, by keyboard, no script."""

from typing import Final

import pytest
from fastapi import FastAPI, Response
from playwright.async_api import Browser

from services.runtime.pages.answers import HEADERS, style_routes
from tests.ui.conftest import GuardedContexts, served, violations

PAGE: Final = "/partnership"


REACHED: Final = """() => {
  const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect()
  if (at === document.body) return null
  const name = at.matches('a') ? at.getAttribute('href') : at.getAttribute('aria-labelledby')
  const is_marked = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
  return [name, is_marked, box.top >= 0 && box.top < innerHeight]
}"""
"""What has the focus, whether it shows that, and whether it can be seen."""


@pytest.mark.parametrize("language", ["en", "ar"])
async def test_axe_finds_nothing_on_either_ground(guarded: GuardedContexts, language: str) -> None:
    async with guarded.page(locale=language) as page:
        await page.goto(PAGE)
        found = {}
        for ground in ("light", "dark"):
            await page.emulate_media(color_scheme=ground)
            found[ground] = await violations(page)

        assert await page.evaluate("document.documentElement.lang") == language  # as the browser accepts it
    assert found == {"light": [], "dark": []}


@pytest.mark.parametrize("language", ["en", "ar"])
async def test_nothing_is_wider_than_a_narrow_screen_but_tables_in_their_scrollers(
    guarded: GuardedContexts, language: str
) -> None:
    async with guarded.page(viewport={"width": 320, "height": 640}) as page:
        await page.goto(f"{PAGE}?lang={language}")

        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
        captions = "[...document.querySelectorAll('caption')].map(one => one.clientWidth)"
        assert max(await page.evaluate(captions)) <= 320  # words are read without scrolling
        wide = "[...document.querySelectorAll('main *, footer *')].filter(one => !one.closest('table'))"
        assert await page.evaluate(f"{wide}.filter(one => one.clientWidth > 320).length") == 0
        assert await page.evaluate(
            "document.querySelectorAll('.scroller > table').length"
        ) == await page.evaluate("document.querySelectorAll('table').length")


async def test_a_keyboard_reaches_everything_in_order_and_a_finger_hits_it(guarded: GuardedContexts) -> None:
    async with guarded.page() as page:
        await page.goto(PAGE)
        reached = []
        while True:
            await page.keyboard.press("Tab")
            one = await page.evaluate(REACHED)
            if one is None:
                break
            reached.append(one)
        wanted = await page.evaluate(
            """[...document.querySelectorAll('a[href], .scroller')].map(
            one => one.matches('a') ? one.getAttribute('href') : one.getAttribute('aria-labelledby'))"""
        )
        small = await page.evaluate(
            """[...document.querySelectorAll('a:not(.skip)')].filter(one => {
            const box = one.getBoundingClientRect(); return box.height < 44 || box.width < 24 })
            .map(one => one.outerHTML)"""
        )
        await page.goto(PAGE)
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        landed = await page.evaluate("document.activeElement.id")

    assert [name for name, _, _ in reached] == wanted
    assert wanted[:2] == ["#content", "?lang=en"]
    assert [name for name, is_marked, is_there in reached if not (is_marked and is_there)] == []
    assert landed == "content"
    assert small == []


async def test_without_script_it_is_the_same_page_and_its_links_work(guarded: GuardedContexts) -> None:
    async with guarded.page(java_script_enabled=False) as page:
        await page.goto(PAGE)
        assert await page.locator("script").count() == 0
        await page.get_by_role("link", name="العربية").click()
        assert await page.locator("html[dir=rtl]").count() == 1
        assert await page.locator("h1").count() == 1
        async with page.expect_download() as download:
            await page.locator("a[download]").first.click()
        assert (await download.value).suggested_filename == "partnership-committees.csv"


SEEDED: Final = {
    "missing alt": ("<img src='data:,'>", "image-alt"),
    "low contrast": ("<p style='color:#ccc;background:#fff'>hardly there</p>", "color-contrast"),
    "inline script": ("<script>document.title = 'run'</script>", "Content Security Policy"),
    "outside image": ("<img alt='' src='https://elsewhere.example/one.png'>", "outside"),
}
"""A fault, and the word of whoever finds it."""


@pytest.mark.parametrize("fault", SEEDED)
async def test_a_seeded_fault_is_found(browser: Browser, fault: str) -> None:
    markup, word = SEEDED[fault]
    app = FastAPI()
    app.include_router(style_routes())

    @app.get("/")
    async def faulty() -> Response:
        policy = HEADERS["content-security-policy"].replace("img-src", "img-src https:")
        if fault == "low contrast":
            policy = policy.replace("style-src", "style-src 'unsafe-inline'")
        body = f"<!doctype html><html lang=en><title>t</title><link rel=icon href='data:,'>{markup}"
        return Response(body, media_type="text/html", headers={"content-security-policy": policy})

    async with served(app) as address:
        contexts = GuardedContexts(browser, address)
        async with contexts.page() as page:
            await page.goto("/")
            found = contexts.faults or await violations(page, ["wcag2a", "wcag2aa"])

    assert any(word in one for one in found), found
