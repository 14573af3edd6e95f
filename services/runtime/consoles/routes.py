"""The ways into a console and out: a link to the issuer, the way back, the way out; and refusals as pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from services.runtime import refusals
from services.runtime.consoles.console import READING, TOKEN_FIELD, Console, ConsoleEntry
from services.runtime.consoles.open_id import SignInRefused, SignInTry
from services.runtime.errors import Refused, Unavailable
from services.runtime.pages.answers import HEADERS
from services.runtime.pages.languages import Language, language_of, message
from services.runtime.pages.rendering import Pages

SIGN_IN: Final = "sign-in"
SIGN_OUT: Final = "sign-out"
AnswerPart = Annotated[str | None, Query(max_length=2_000)]


@dataclass(frozen=True, slots=True)
class EntryPage:
    """What a page says that is shown in the place of another."""

    title: str
    sentence: str
    link: str = ""
    """What the link to sign in is called."""
    is_fresh: bool = False


SIGN_IN_WORDS: Final = message("Sign in")
REFUSED_PAGES: Final[Mapping[str, EntryPage]] = {
    "sign_in_needed": EntryPage(
        SIGN_IN_WORDS,
        message("This console shows nothing to whoever is not signed in, or was away for half an hour."),
        SIGN_IN_WORDS,
    ),
    "sign_in_refused": EntryPage(
        message("Not signed in"),
        message("This sign-in does not hold, or took too long. Begin it again."),
        SIGN_IN_WORDS,
    ),
    "fresh_sign_in_needed": EntryPage(
        message("Sign in once more"),
        message("This act needs two persons, each of whom signed in within the last five minutes."),
        message("Sign in once more"),
        is_fresh=True,
    ),
    "no_role": EntryPage(message("No role here"), "", message("Sign in as somebody else"), is_fresh=True),
    "foreign_form": EntryPage(
        message("Nothing was done"),
        message("This form is not from this console, or from before you signed in. Open its page again."),
    ),
    "form_sent": EntryPage(
        message("Sent before"),
        message("This form was sent already, and its act may be done. Look before you send another."),
    ),
    "unavailable": EntryPage(
        message("Not now"),
        message("A part that this needs does not answer. Try again in a moment."),
    ),
}  # fmt: skip
"""Refusals that people meet, by their code; any other is shown by its own sentence."""
OTHER_REFUSAL: Final = EntryPage(message("This was refused"), "")
SIGNED_OUT: Final = EntryPage(
    message("Signed out"), message("You are no longer signed in at this console."), SIGN_IN_WORDS
)
LEAVING: Final = EntryPage(message("Sign out"), "")


class EntryPages:
    """The pages at the door of one console."""

    def __init__(self, console: Console, grant_words: str) -> None:
        """`grant_words` is the command that grants a person a role, up to where the person is named."""
        self._console = console
        self._grant_words = grant_words
        self._pages = Pages(Path(__file__).parent)

    def refused(self, request: Request, refused: Refused) -> Response:
        """A refusal, as a page."""
        page = REFUSED_PAGES.get(refused.code, OTHER_REFUSAL)
        path = request.scope["path"]
        if request.method not in READING:  # of an act, the page that shows what it is about
            path = path.rpartition("/")[0]
        return self.shown(request, page, refused.status, back=path, refused=refused)

    def shown(
        self, request: Request, page: EntryPage, status: int, *, back: str = "", **more: Any
    ) -> Response:
        """A page at the door; from its link one comes `back`."""
        asked = {"back": back} if back else {}
        asked |= {"fresh": "yes"} if page.is_fresh else {}
        link = f"{self._console.home}/{SIGN_IN}" + (f"?{urlencode(asked)}" if asked else "")
        values = {"page": page, "link": link, "grant_words": self._grant_words, "refused": None, "token": ""}
        language = _language(request)
        body = self._pages.render("entry.html", language, values | {"token_field": TOKEN_FIELD} | more)
        return HTMLResponse(body, status, HEADERS | {"content-language": language})


def _language(request: Request) -> Language:
    asked = request.query_params.get("lang")
    known = next((one for one in get_args(Language) if one == asked), None)
    return language_of(known, request.headers.get("accept-language", ""))


def show_refusals(app: FastAPI, pages: EntryPages) -> None:
    """Let people read on a page what is refused them."""

    async def shown(request: Request, error: Exception) -> Response:
        return pages.refused(request, error if isinstance(error, Refused) else refusals.PartUnavailable())

    app.add_exception_handler(Refused, shown)
    app.add_exception_handler(Unavailable, shown)


def entry_routes(console: Console, pages: EntryPages) -> APIRouter:
    """Sign in, come back, sign out."""
    router = APIRouter(prefix=console.home, include_in_schema=False)

    @router.get(f"/{SIGN_IN}")
    async def sign_in(
        back: Annotated[str, Query(max_length=500)] = "",
        fresh: Annotated[Literal["yes"] | None, Query()] = None,
    ) -> Response:
        """To the issuer; a link leads here, for a form may not lead elsewhere."""
        attempt = SignInTry.begun(back, console.home)
        address = await console.issuer.address_for(attempt, is_fresh=fresh is not None)
        answer = RedirectResponse(address, 303, HEADERS)
        console.begin_try(answer, attempt)
        return answer

    @router.get("/sign-in/answer")
    async def come_back(
        request: Request,
        code: AnswerPart = None, state: AnswerPart = None, iss: AnswerPart = None,
        error: AnswerPart = None, error_description: AnswerPart = None, error_uri: AnswerPart = None,
        session_state: AnswerPart = None,
    ) -> Response:  # fmt: skip
        """From the issuer, to the page that was asked for."""
        attempt = console.try_of(request)
        if attempt is None:
            raise SignInRefused
        given = {"code": code, "state": state, "iss": iss, "error": error}
        told = {name: one for name, one in given.items() if one is not None}
        who = await console.issuer.authenticate(attempt, told)
        answer = RedirectResponse(attempt.back, 303, HEADERS)
        await console.enter(request, answer, who)
        return answer

    @router.get(f"/{SIGN_OUT}")
    async def ask_to_leave(
        request: Request,
        entry: Annotated[ConsoleEntry, Depends(console.entry_of)],
        lang: Annotated[Language | None, Query()] = None,
    ) -> Response:
        """The button that ends the session."""
        return pages.shown(request, LEAVING, 200, token=entry.key.form_token())

    @router.post(f"/{SIGN_OUT}", dependencies=[Depends(console.entry_of)])
    async def leave(request: Request) -> Response:
        """End the session."""
        answer = RedirectResponse(f"{console.home}/signed-out", 303, HEADERS)
        await console.leave(request, answer)
        return answer

    @router.get("/signed-out")
    async def tell_that_one_left(
        request: Request, lang: Annotated[Language | None, Query()] = None
    ) -> Response:
        """What comes after."""
        return pages.shown(request, SIGNED_OUT, 200)

    return router
