"""Desks, notices and when a notice is tried again."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final, Literal

from pydantic import SecretStr

from services.notifications.domain.mail import Language
from services.runtime.errors import Refused

DESKS_PER_AGENCY_MAX: Final = 100

RETRY_AFTER_SECONDS: Final = (5, 15, 60, 300, 900, 1800, *(3600,) * 23)
"""The wait after each failed attempt; after about a day nobody gains from the mail, and it is given up."""

ATTEMPT_WITHIN: Final = timedelta(seconds=20)
"""How long an attempt may last; a notice stays with whoever took it for longer than that."""

State = Literal["waiting", "sending", "sent", "given_up"]


class TooManyDesks(Refused):
    """An agency registers desks without end."""

    code: ClassVar[str] = "too_many_desks"
    sentence: ClassVar[str] = (
        f"An agency may register {DESKS_PER_AGENCY_MAX} duty desks; change one that you have."
    )


@dataclass(frozen=True, slots=True)
class Desk:
    """A duty desk as its agency registered it; the address is masked wherever it is printed."""

    agency: str
    code: str
    mail: SecretStr
    language: Language


@dataclass(frozen=True, slots=True)
class Notice:
    """That one event waits for one desk; the event's id keeps it to one."""

    event: str
    agency: str
    desk: str
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """A notice on its way out: the n-th attempt, to the desk as it is registered now."""

    event: str
    number: int
    mail: SecretStr
    language: Language
    written_at: datetime
    key: bytes
    """The installation's key for names of messages."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How an attempt ended, and when the next is due."""

    state: State
    due_at: datetime


def settled(number: int, *, was_taken: bool, at: datetime) -> Settled:
    """What follows an attempt: sent, tried again after a longer wait, or given up."""
    if was_taken:
        return Settled("sent", at)
    if number > len(RETRY_AFTER_SECONDS):
        return Settled("given_up", at)
    return Settled("waiting", at + timedelta(seconds=RETRY_AFTER_SECONDS[number - 1]))
