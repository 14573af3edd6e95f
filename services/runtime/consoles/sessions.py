"""Who is signed in at a console: rows in the service's database, found by the hash of a browser's cookie."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from services.runtime.consoles.open_id import Authentication
from services.runtime.errors import define_refusal
from services.runtime.ids import random_bytes
from services.runtime.transaction import Transaction

IDLE_FOR: Final = timedelta(minutes=30)
LIVES_FOR: Final = timedelta(hours=12)
SEEN_EVERY: Final = timedelta(minutes=1)
"""Whoever is at work is noted no more often than this."""
FRESH_FOR: Final = timedelta(minutes=5)
"""How long an act that needs two persons believes a proof of who somebody is."""
SESSIONS_MAX: Final = 5
"""How many browsers a person is signed in with; one more ends the oldest."""
CLOCKS_APART: Final = timedelta(seconds=5)
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_TOKEN: Final = re.compile(r"([0-9a-f]{32})([0-9a-f]{64})")

_BEGIN: Final = """
INSERT INTO console_session (id, person, authenticated_at, began_at, seen_at)
VALUES (:id, :person, :authenticated_at, :now, :now)"""
_MAKE_ROOM: Final = f"""
DELETE FROM console_session WHERE id IN (
  SELECT id FROM console_session WHERE person = :person
  ORDER BY began_at DESC OFFSET {SESSIONS_MAX - 1})"""  # noqa: S608  a constant
_FIND: Final = "SELECT person, authenticated_at, began_at, seen_at FROM console_session WHERE id = :id"
_SEE: Final = "UPDATE console_session SET seen_at = :now WHERE id = :id"
_END: Final = "DELETE FROM console_session WHERE id = :id"
_END_ALL: Final = "DELETE FROM console_session WHERE person = :person"
_SEND: Final = """
INSERT INTO console_form (id, session) SELECT CAST(:id AS bytea), s.id FROM console_session s
WHERE s.id = :session ON CONFLICT (id) DO NOTHING RETURNING 1"""
_ANSWER: Final = "UPDATE console_form SET answer = :answer WHERE id = :id"
_FORGET: Final = "DELETE FROM console_form WHERE id = :id"
_ANSWERED: Final = "SELECT answer FROM console_form WHERE id = :id"

SignInNeeded: Final = define_refusal(__name__, "sign_in_needed", "sign in to this console", 403)
FreshSignInNeeded: Final = define_refusal(
    __name__,
    "fresh_sign_in_needed",
    "this act needs two persons, each of whom signed in within the last five minutes; sign in once more",
    403,
)
ForeignForm: Final = define_refusal(
    __name__,
    "foreign_form",
    "this form is not from this console, or from before you signed in; open its page again and send it anew",
    403,
)
FormSent: Final = define_refusal(
    __name__,
    "form_sent",
    "this form was sent already, and what it does may have been done; look before you send another",
    409,
)


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What a browser's cookie holds: 256 random bits, of which the database knows the hash alone."""

    value: str

    @classmethod
    def new(cls) -> Self:
        """Nobody's yet."""
        return cls(random_bytes(32).hex())

    @classmethod
    def read(cls, cookie: str) -> Self | None:
        """The one that a browser sends, if it can be one."""
        return cls(cookie) if _KEY.fullmatch(cookie) else None

    @property
    def id(self) -> bytes:
        """By which the database finds the session."""
        return hashlib.sha256(bytes.fromhex(self.value)).digest()

    def form_token(self) -> str:
        """What a form of this session carries: a name of its own, and a proof that this session showed it."""
        name = random_bytes(16)
        return name.hex() + self._proof(name)

    def form_of(self, token: str) -> bytes:
        """The form's name; raises ForeignForm."""
        found = _TOKEN.fullmatch(token)
        name = bytes.fromhex(found[1]) if found else b""
        if not found or not hmac.compare_digest(found[2], self._proof(name)):
            raise ForeignForm
        return name

    def _proof(self, name: bytes) -> str:
        return hmac.digest(bytes.fromhex(self.value), b"form" + name, "sha256").hex()


def check_fresh(authenticated_at: datetime, now: datetime) -> None:
    """Refuse where it was too long ago that a person proved who they are."""
    if not -CLOCKS_APART <= now - authenticated_at < FRESH_FOR:
        raise FreshSignInNeeded


class SessionStore:
    """The sessions and forms of one transaction."""

    def __init__(self, transaction: Transaction, now: datetime) -> None:
        self._transaction = transaction
        self._now = now

    async def begin(self, key: SessionKey, who: Authentication) -> None:
        """Let that browser act as this person; the sixth ends the oldest."""
        await self._transaction.run(_MAKE_ROOM, person=who.person)
        values = {"id": key.id, "person": who.person, "authenticated_at": who.at}
        await self._transaction.run(_BEGIN, **values, now=self._now)

    async def find(self, key: SessionKey, *, is_at_work: bool) -> Authentication | None:
        """Whose session it is, unless it ended; it goes on where a person `is_at_work`."""
        rows = await self._transaction.rows(_FIND, id=key.id)
        if not rows or not self._goes_on(rows[0].began_at, rows[0].seen_at):
            return None
        if is_at_work and abs(self._now - rows[0].seen_at) >= SEEN_EVERY:
            await self._transaction.run(_SEE, id=key.id, now=self._now)
        return Authentication(rows[0].person, rows[0].authenticated_at)

    async def end(self, key: SessionKey) -> None:
        """End a session, and forget its forms."""
        await self._transaction.run(_END, id=key.id)

    async def end_all(self, person: str) -> None:
        """End a person's sessions, wherever their browsers are."""
        await self._transaction.run(_END_ALL, person=person)

    async def send(self, form: bytes, key: SessionKey) -> bool:
        """Note that a form was sent; false where it was before."""
        return bool(await self._transaction.rows(_SEND, id=form, session=key.id))

    async def answer(self, form: bytes, path: str) -> None:
        """Note where it led."""
        await self._transaction.run(_ANSWER, id=form, answer=path)

    async def forget(self, form: bytes) -> None:
        """It did nothing, and may be sent again."""
        await self._transaction.run(_FORGET, id=form)

    async def answered(self, form: bytes) -> str | None:
        """Where it led, if that is known."""
        rows = await self._transaction.rows(_ANSWERED, id=form)
        return rows[0].answer if rows else None

    def _goes_on(self, began_at: datetime, seen_at: datetime) -> bool:
        """Also ended by a clock that was set back: it would go on for that much longer."""
        return self._now - began_at < LIVES_FOR and -CLOCKS_APART <= self._now - seen_at < IDLE_FOR
