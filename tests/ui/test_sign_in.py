"""A person comes in at a console by a link, through the local issuer, and goes out by a button."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from deploy.local.issuer.app import Issuer, issuer_app
from deploy.local.issuer.clients import Client
from deploy.local.issuer.persons import Persons, add_person
from services.operations.console.entry import console_app, console_of
from services.operations.store.grants import GrantStore
from services.runtime.clock import SystemClock
from services.runtime.consoles.open_id import OpenIdClient, issuer_http
from services.runtime.settings import ConsoleSettings
from tests.support.consoles import ANSWERED_AT, CLIENT, CONSOLE_KEY, ISSUER_KEY, public, write_console_key
from tests.support.platform import Space
from tests.ui.conftest import GuardedContexts, served, violations


class LateApplication:
    """What is served before its own address is known."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class SignInPlace:
    """A console and an issuer on two ports, and one person's passphrase."""

    def __init__(self, console: str, passphrase: str) -> None:
        self.console = console
        self.passphrase = passphrase


@pytest.fixture
async def place(space: Space, tmp_path: Path) -> AsyncIterator[SignInPlace]:
    clock, database = SystemClock(), space.database("operations")
    issuer_late, console_late = LateApplication(), LateApplication()
    persons = tmp_path / "persons.json"
    persons.write_text("{}")
    async with served(issuer_late) as issuer_at, served(console_late) as console_at:
        name = f"{issuer_at}/local-issuer"
        known = Client(id=CLIENT, keys=public(CONSOLE_KEY), comes_back_to=console_at + ANSWERED_AT)
        issuer = Issuer(name, "test-local", ISSUER_KEY, {CLIENT: known}, clock)
        issuer_late.app = issuer_app(issuer, Persons(persons, clock), "/local-issuer")
        settings = ConsoleSettings(
            address=console_at, issuer=name, client=CLIENT, key_file=write_console_key(tmp_path)
        )
        http = issuer_http()
        client = OpenIdClient(settings, ANSWERED_AT, clock, http)
        console_late.app = console_app(console_of(settings, database, client, clock))
        async with database.transaction() as transaction:
            await GrantStore(transaction, clock.now()).put("p-1", "viewer", "on call")
        yield SignInPlace(console_at, add_person(persons, "p-1"))
        await http.aclose()
    await database.close()


@pytest.mark.parametrize(("language", "direction"), [("en", "ltr"), ("ar", "rtl")])
async def test_whoever_has_a_role_comes_in_by_a_link_and_goes_out_by_a_button(
    browser: Browser, place: SignInPlace, language: str, direction: str
) -> None:
    contexts = GuardedContexts(browser, "http://127.0.0.1:")
    narrow = {"width": 320, "height": 640}
    async with contexts.page(base_url=place.console, locale=language, viewport=narrow) as page:
        await page.goto("/ops/sign-out")
        assert await page.get_attribute("html", "dir") == direction
        found = await violations(page)
        await page.click("main a")
        await page.fill("#person", "p-1")
        await page.fill("#passphrase", place.passphrase)
        await page.press("#passphrase", "Enter")
        await page.wait_for_url(f"{place.console}/ops/sign-out")
        found += await violations(page)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
        [cookie] = await page.context.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("__Host-concert_ops", True, "Lax")
        await page.click("main button")
        await page.wait_for_url("**/ops/signed-out")
        found += await violations(page)
        assert await page.context.cookies() == []
        again = await page.goto("/ops/sign-out")
        assert again
        assert again.status == 403

    assert found == []
    assert [one for one in contexts.faults if "status of 403" not in one] == []
