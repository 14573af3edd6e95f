"""A console's door: who a request is from, whether it may change anything, and that it does so once."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from fastapi import Request, Response

from services.runtime.clock import Clock
from services.runtime.consoles.open_id import Authentication, OpenIdClient, SignInTry
from services.runtime.consoles.sessions import (
    ForeignForm,
    FormSent,
    SessionKey,
    SessionStore,
    SignInNeeded,
    check_fresh,
)
from services.runtime.database import Database
from services.runtime.errors import Refused
from services.runtime.forms import form_of
from services.runtime.settings import ConsoleSettings
from services.runtime.transaction import Transaction

TOKEN_FIELD: Final = "form"  # noqa: S105  its name
"""The field of every form that says which it is, and that this session showed it."""
READING: Final = ("GET", "HEAD")
TRY_SECONDS: Final = 600
"""How long a browser keeps a try to sign in."""


class ConsoleRoles(Protocol):
    """Who may come in and as what, as one transaction sees it."""

    async def role_of(self, person: str) -> str | None:
        """A person's role at this console, or None."""

    async def administrators(self) -> Sequence[str]:
        """Some of those who can grant one."""


class NoRole(Refused):
    """Signed in, and without a role here; says who can grant one."""

    code = "no_role"
    sentence = "you are signed in and have no role at this console; ask an administrator for one"
    status = 403

    def __init__(self, person: str, administrators: Sequence[str]) -> None:
        super().__init__()
        self.person = person
        self.administrators = administrators


@dataclass(frozen=True, slots=True)
class ConsoleEntry:
    """Who a request is from."""

    person: str
    role: str
    authenticated_at: datetime
    """When they last proved who they are."""
    key: SessionKey


class Console:
    """A console of a service, such as `ops`: its pages lie below `/ops`."""

    def __init__(
        self,
        name: str,
        settings: ConsoleSettings,
        database: Database,
        roles: Callable[[Transaction], ConsoleRoles],
        issuer: OpenIdClient,
        clock: Clock,
    ) -> None:
        self.home = f"/{name}"
        self.issuer = issuer
        self._origin = settings.address
        self._cookie = f"__Host-concert_{name}"
        self._try_cookie = f"__Host-concert_{name}_sign_in"
        self._database = database
        self._roles = roles
        self._clock = clock

    def check_request(self, request: Request) -> None:
        """Refuse to read the body of a request without a session's cookie; the page looks who it is."""
        if request.method not in READING:
            self.key_of(request)

    async def entry_of(self, request: Request) -> ConsoleEntry:
        """A dependency of every page: who asks; raises SignInNeeded, NoRole, and ForeignForm of an act."""
        key = self.key_of(request)
        if request.method not in READING:
            self._check_origin(request)
            await self._form_name(request, key)
        # htmx asks by itself: a page that is left open must not keep its session alive.
        is_at_work = "hx-request" not in request.headers
        async with self._database.transaction() as transaction:
            store = SessionStore(transaction, self._clock.now())
            who = await store.find(key, is_at_work=is_at_work)
            role = await self._roles(transaction).role_of(who.person) if who else None
            if who and role is None:
                await store.end_all(who.person)
        if who is None:
            raise SignInNeeded
        if role is None:
            raise await self._no_role(who.person)
        return ConsoleEntry(who.person, role, who.at, key)

    def check_fresh(self, entry: ConsoleEntry) -> None:
        """Refuse an act that needs two persons unless this one signed in a moment ago."""
        check_fresh(entry.authenticated_at, self._clock.now())

    async def once(self, request: Request, act: Callable[[], Awaitable[str]]) -> str:
        """Where a form leads: `act` does it and says where; whoever sends it again is led to the same place.

        Where `act` raises Refused it did nothing, and the form may be corrected.
        """
        key = self.key_of(request)
        name = await self._form_name(request, key)
        async with self._sessions() as store:
            is_first = await store.send(name, key)
            path = None if is_first else await store.answered(name)
        if not is_first:
            if path is None:
                raise FormSent
            return path
        # A crash from here on leaves a form that was sent and led nowhere: it is never done twice.
        try:
            path = await act()
        except Refused:
            async with self._sessions() as store:
                await store.forget(name)
            raise
        async with self._sessions() as store:
            await store.answer(name, path)
        return path

    async def enter(self, request: Request, answer: Response, who: Authentication) -> None:
        """Begin a session in the browser that signed in, under a new key; raises NoRole."""
        key = SessionKey.new()
        async with self._database.transaction() as transaction:
            store = SessionStore(transaction, self._clock.now())
            role = await self._roles(transaction).role_of(who.person)
            if earlier := SessionKey.read(request.cookies.get(self._cookie, "")):
                await store.end(earlier)
            if role is not None:
                await store.begin(key, who)
        if role is None:
            raise await self._no_role(who.person)
        self._keep(answer, self._cookie, key.value, None)
        self._keep(answer, self._try_cookie, "", 0)

    async def leave(self, request: Request, answer: Response) -> None:
        """End the session, here and in the browser."""
        async with self._sessions() as store:
            await store.end(self.key_of(request))
        self._keep(answer, self._cookie, "", 0)

    def begin_try(self, answer: Response, attempt: SignInTry) -> None:
        """Have the browser keep what belongs to its try to sign in."""
        self._keep(answer, self._try_cookie, attempt.cookie, TRY_SECONDS)

    def try_of(self, request: Request) -> SignInTry | None:
        """What it kept."""
        return SignInTry.read(request.cookies.get(self._try_cookie, ""), self.home)

    def key_of(self, request: Request) -> SessionKey:
        """The key that a browser shows; raises SignInNeeded."""
        key = SessionKey.read(request.cookies.get(self._cookie, ""))
        if key is None:
            raise SignInNeeded
        return key

    def _check_origin(self, request: Request) -> None:
        """Our pages tell no referrer, so browsers send `Origin: null` with their forms, and the site."""
        origin, site = (request.headers.get(name) for name in ("origin", "sec-fetch-site"))
        is_ours = origin == self._origin if site is None else site == "same-origin"
        if not is_ours or origin not in (None, "null", self._origin):
            raise ForeignForm

    async def _form_name(self, request: Request, key: SessionKey) -> bytes:
        return key.form_of((await form_of(request)).get(TOKEN_FIELD, ""))

    def _sessions(self) -> AbstractAsyncContextManager[SessionStore]:
        now = self._clock.now()
        return self._database.opener(lambda transaction: SessionStore(transaction, now))()

    async def _no_role(self, person: str) -> NoRole:
        async with self._database.transaction() as transaction:
            return NoRole(person, await self._roles(transaction).administrators())

    def _keep(self, answer: Response, name: str, value: str, seconds: int | None) -> None:
        answer.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")
