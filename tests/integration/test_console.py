"""Who is signed in at a console: sessions on a real database, the real issuer, and what a browser sends."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from services.runtime.consoles.console import Console, ConsoleEntry
from services.runtime.consoles.routes import EntryPages, entry_routes, show_refusals
from services.runtime.consoles.sessions import FRESH_FOR, IDLE_FOR, LIVES_FOR, SEEN_EVERY, SESSIONS_MAX
from services.runtime.database import Database
from services.runtime.errors import define_refusal
from services.runtime.forms import FORM
from services.runtime.transaction import Transaction
from services.runtime.web import create_app
from tests.support.consoles import ADDRESS, TOKEN, Browser, IssuerStage
from tests.support.platform import Space

SERVICE = "operations"
COOKIE = "__Host-concert_ops"
WrongCount = define_refusal(__name__, "wrong_count", "type the count that the plan shows")


class Roles:
    """Who has which role."""

    def __init__(self, held: Mapping[str, str]) -> None:
        self._held = held

    async def role_of(self, person: str) -> str | None:
        """A person's."""
        return self._held.get(person)

    async def administrators(self) -> Sequence[str]:
        """Those of that role."""
        return [person for person, role in self._held.items() if role == "administrator"]


class ConsoleStage:
    """A console with one page and one act on it, and browsers."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.issuer = IssuerStage(folder)
        self.database = database
        self.held = {"p-1": "viewer", "p-9": "administrator"}
        self.done: list[str] = []
        self.console = Console(
            "ops", self.issuer.settings, database, self._roles, self.issuer.client, self.issuer.clock
        )
        self.app = self._app()
        self.browser = self.new_browser()

    def new_browser(self) -> Browser:
        return Browser(self.app, self.issuer)

    async def rows(self, sql: str) -> Sequence[Any]:
        async with self.database.transaction() as transaction:
            return await transaction.rows(sql)

    async def token(self, browser: Browser | None = None) -> str:
        """Of the form on the page."""
        found = TOKEN.search((await (browser or self.browser).get("/ops")).text)
        assert found
        return found[1]

    def _roles(self, _transaction: Transaction) -> Roles:
        return Roles(self.held)

    def _app(self) -> FastAPI:
        console = self.console
        app = create_app("Operations", console.check_request, forms={("POST", "/ops"): FORM})
        pages = EntryPages(console, "concert operators grant")
        app.include_router(entry_routes(console, pages))
        show_refusals(app, pages)

        @app.get("/ops")
        async def page(entry: Annotated[ConsoleEntry, Depends(console.entry_of)]) -> HTMLResponse:
            return HTMLResponse(f'{entry.person} {entry.role} name="form" value="{entry.key.form_token()}"')

        @app.post("/ops/acts/{name}/confirmation")
        async def act(
            request: Request, name: str, entry: Annotated[ConsoleEntry, Depends(console.entry_of)]
        ) -> RedirectResponse:
            if name == "of-two":
                console.check_fresh(entry)

            async def done() -> str:
                if name == "refused":
                    raise WrongCount
                self.done.append(entry.person)
                if name == "broken":
                    raise RuntimeError
                await asyncio.sleep(0)
                return f"/ops/acts/{len(self.done)}"

            return RedirectResponse(await console.once(request, done), 303)

        return app


@pytest.fixture(scope="module")
async def database(space: Space) -> AsyncIterator[Database]:
    database = space.database(SERVICE)
    yield database
    await database.close()


@pytest.fixture
async def stage(database: Database, tmp_path: Path) -> ConsoleStage:
    async with database.transaction() as transaction:
        await transaction.run("DELETE FROM console_session")
    return ConsoleStage(tmp_path, database)


async def is_shown(browser: Browser) -> bool:
    answer = await browser.get("/ops")
    assert (answer.status_code, "Sign in" in answer.text) in ((200, False), (403, True))
    return answer.status_code == 200


async def test_a_person_signs_in_and_the_database_knows_no_cookie(stage: ConsoleStage) -> None:
    assert not await is_shown(stage.browser)
    answer = await stage.browser.sign_in()

    assert (answer.status_code, answer.headers["location"]) == (303, "/ops")
    assert (await stage.browser.get("/ops")).text.startswith("p-1 viewer")
    [row] = await stage.rows("SELECT id, person FROM console_session")
    assert row.id == hashlib.sha256(bytes.fromhex(stage.browser.cookies[COOKIE])).digest()
    assert stage.browser.cookies.keys() == {COOKIE}, "the try is over"


async def test_a_cookie_that_was_made_up_opens_nothing(stage: ConsoleStage) -> None:
    await stage.browser.sign_in()
    held = stage.browser.cookies[COOKIE]

    for cookie in ("", "0" * 64, held[:-1], held.upper(), held + "0", f"{held}\xe9", "0" * 30_000):
        stage.browser.cookies[COOKIE] = cookie
        assert not await is_shown(stage.browser)


async def test_a_key_that_was_there_before_is_no_session_afterwards(stage: ConsoleStage) -> None:
    await stage.browser.sign_in()
    planted = stage.browser.cookies[COOKIE]
    await stage.browser.sign_in("p-9")

    thief = stage.new_browser()
    thief.cookies[COOKIE] = planted
    assert not await is_shown(thief)
    assert (await stage.browser.get("/ops")).text.startswith("p-9 administrator")
    assert len(await stage.rows("SELECT 1 FROM console_session")) == 1


async def test_a_session_ends_by_itself(stage: ConsoleStage) -> None:
    clock = stage.issuer.clock
    await stage.browser.sign_in()
    for _ in range(3):  # whoever is at work stays
        clock.forward(IDLE_FOR - SEEN_EVERY)
        assert await is_shown(stage.browser)
    clock.forward(IDLE_FOR - SEEN_EVERY)
    assert (await stage.browser.get("/ops", **{"hx-request": "true"})).status_code == 200
    clock.forward(SEEN_EVERY)  # a page that asks by itself keeps nobody signed in
    assert not await is_shown(stage.browser)

    await stage.browser.sign_in()
    for _ in range(LIVES_FOR // timedelta(minutes=20) - 1):
        clock.forward(timedelta(minutes=20))
        await stage.browser.get("/ops")
    assert await is_shown(stage.browser)
    clock.forward(timedelta(minutes=20))
    assert not await is_shown(stage.browser)

    await stage.browser.sign_in()
    clock.forward(timedelta(minutes=10))
    assert await is_shown(stage.browser)
    clock.forward(-timedelta(minutes=1))
    assert not await is_shown(stage.browser), "a clock that was set back gives nobody time"


async def test_who_loses_the_role_is_out_at_once_and_for_good(stage: ConsoleStage) -> None:
    await stage.browser.sign_in()
    token = await stage.token()
    role = stage.held.pop("p-1")

    answer = await stage.browser.post("/ops/acts/a/confirmation", {"form": token})
    assert answer.status_code == 403
    assert "concert operators grant p-1 viewer" in answer.text
    assert "p-9" in answer.text
    assert not stage.done
    stage.held["p-1"] = role
    assert not await is_shown(stage.browser), "the session went, and does not come back with the role"


async def test_whoever_has_no_role_gets_no_session(stage: ConsoleStage) -> None:
    answer = await stage.browser.sign_in("p-5")

    assert answer.status_code == 403
    assert "concert operators grant p-5 viewer" in answer.text
    assert not await stage.rows("SELECT 1 FROM console_session")
    assert COOKIE not in stage.browser.cookies


async def test_signing_out_ends_it_in_the_database(stage: ConsoleStage) -> None:
    await stage.browser.sign_in()
    stolen = stage.browser.cookies[COOKIE]
    shown = await stage.browser.get("/ops/sign-out")
    found = TOKEN.search(shown.text)
    assert found
    assert (await stage.browser.post("/ops/sign-out", {"form": "0" * 96})).status_code == 403
    answer = await stage.browser.post("/ops/sign-out", {"form": found[1]})

    assert answer.headers["location"] == "/ops/signed-out"
    assert COOKIE not in stage.browser.cookies
    assert (await stage.browser.get("/ops/signed-out?lang=ar")).headers["content-language"] == "ar"
    stage.browser.cookies[COOKIE] = stolen
    assert not await is_shown(stage.browser)


async def test_a_person_has_so_many_browsers_and_the_oldest_goes(stage: ConsoleStage) -> None:
    browsers = [stage.new_browser() for _ in range(SESSIONS_MAX + 1)]
    for browser in browsers:
        await browser.sign_in()
        stage.issuer.clock.forward(timedelta(seconds=1))

    assert [await is_shown(one) for one in browsers] == [False] + [True] * SESSIONS_MAX


async def test_a_form_of_another_site_does_nothing(stage: ConsoleStage) -> None:
    await stage.browser.sign_in()
    form = {"form": await stage.token()}
    elsewhere: list[dict[str, str | None]] = [
        {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"sec_fetch_site": "none"},
        {"sec_fetch_site": "cross-site", "origin": ADDRESS}, {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:8102"}, {"sec_fetch_site": None},
        {"sec_fetch_site": None, "origin": None},
    ]  # fmt: skip

    for headers in elsewhere:
        answer = await stage.browser.post("/ops/acts/a/confirmation", form, **headers)
        assert (answer.status_code, stage.done) == (403, [])
    older: dict[str, str | None] = {"sec_fetch_site": None, "origin": ADDRESS}
    assert (await stage.browser.post("/ops/acts/a/confirmation", form, **older)).status_code == 303


async def test_a_form_carries_what_its_own_session_showed(stage: ConsoleStage) -> None:
    other = stage.new_browser()
    await other.sign_in()
    foreign = await stage.token(other)
    await stage.browser.sign_in()
    earlier = await stage.token()
    await stage.browser.sign_in()

    good = await stage.token()
    forged = [foreign, earlier, good[:32] + "0" * 64, good[:-1], good.upper(), "", "é"]
    for token in forged:
        answer = await stage.browser.post("/ops/acts/a/confirmation", {"form": token})
        assert (answer.status_code, "Nothing was done" in answer.text) == (403, True)
    assert (await stage.browser.post("/ops/acts/a/confirmation", {})).status_code == 403
    assert (await stage.browser.get("/ops/acts/a/confirmation")).status_code == 405
    assert not stage.done
    said = {"sec-fetch-site": "same-origin", "origin": ADDRESS}
    assert (await stage.browser.post("/ops/acts/a/confirmation", {"form": good}, **said)).status_code == 303


async def test_a_form_that_is_sent_twice_counts_once(stage: ConsoleStage) -> None:
    await stage.browser.sign_in()
    form = {"form": await stage.token()}

    first = await stage.browser.post("/ops/acts/a/confirmation", form)
    again = await stage.browser.post("/ops/acts/a/confirmation", form)
    fresh = {"form": await stage.token()}
    both = await asyncio.gather(*(stage.browser.post("/ops/acts/a/confirmation", fresh) for _ in range(4)))

    assert [one.headers["location"] for one in (first, again)] == ["/ops/acts/1"] * 2
    assert stage.done == ["p-1"] * 2
    assert {one.headers.get("location") for one in both} <= {"/ops/acts/2", None}
    assert {one.status_code for one in both} <= {303, 409}


async def test_what_was_refused_may_be_corrected_and_what_broke_is_not_done_again(
    stage: ConsoleStage,
) -> None:
    await stage.browser.sign_in()
    form = {"form": await stage.token()}
    refused = await stage.browser.post("/ops/acts/refused/confirmation", form)
    assert (refused.status_code, WrongCount.sentence in refused.text) == (409, True)
    assert (await stage.browser.post("/ops/acts/a/confirmation", form)).status_code == 303

    form = {"form": await stage.token()}
    with pytest.raises(RuntimeError):
        await stage.browser.post("/ops/acts/broken/confirmation", form)
    again = await stage.browser.post("/ops/acts/broken/confirmation", form)
    assert (again.status_code, "Sent before" in again.text) == (409, True)
    assert stage.done == ["p-1", "p-1"]


async def test_an_act_of_two_persons_wants_a_sign_in_of_a_moment_ago(stage: ConsoleStage) -> None:
    await stage.browser.sign_in()
    form = {"form": await stage.token()}
    stage.issuer.clock.forward(FRESH_FOR)

    refused = await stage.browser.post("/ops/acts/of-two/confirmation", form)
    link = "/ops/sign-in?back=%2Fops%2Facts%2Fof-two&amp;fresh=yes"
    assert (refused.status_code, link in refused.text, stage.done) == (403, True, [])
    back = await stage.browser.sign_in(path=link.replace("&amp;", "&"))
    assert back.headers["location"] == "/ops/acts/of-two"
    form = {"form": await stage.token()}
    assert (await stage.browser.post("/ops/acts/of-two/confirmation", form)).status_code == 303


async def test_nobody_is_signed_in_by_a_link_of_somebody_else(stage: ConsoleStage) -> None:
    attacker = stage.new_browser()
    sent = await attacker.get("/ops/sign-in")
    told = await stage.issuer.sign_in(sent.headers["location"], "p-9")

    assert (await stage.browser.come_back(told)).status_code == 403  # no try at all
    await stage.browser.get("/ops/sign-in")
    assert (await stage.browser.come_back(told)).status_code == 403  # another one
    assert COOKIE not in stage.browser.cookies
    assert (await stage.browser.get("/ops/sign-in/answer?state=x&other=y")).status_code == 422
    taken = await attacker.come_back(told)
    assert taken.status_code == 303
    assert (await attacker.come_back(told)).status_code == 403  # once


async def test_whoever_is_to_be_led_elsewhere_comes_home(stage: ConsoleStage) -> None:
    answer = await stage.browser.sign_in(path="/ops/sign-in?back=//evil.example/ops")

    assert answer.headers["location"] == "/ops"


async def test_an_issuer_that_is_away_is_said(stage: ConsoleStage) -> None:
    stage.issuer.client._documents._issuer = "http://127.0.0.1:9/nobody"

    answer = await stage.browser.get("/ops/sign-in")

    assert (answer.status_code, "Not now" in answer.text) == (503, True)
