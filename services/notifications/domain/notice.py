"""Desks, notices, and when a mail that was not taken is tried again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import SecretStr

from services.notifications.domain.mail import Language
from services.runtime.errors import define_refusal

DESKS_PER_AGENCY_MAX: Final = 100
NOTICES_PER_MAIL_MAX: Final = 500

RETRY_AFTER_SECONDS: Final = (5, 15, 60, 300, 900, 1800, *(3600,) * 23)
"""The wait after each failed attempt; after about a day nobody gains from the mail, and it is given up."""

REFUSED_RETRY_AFTER_SECONDS: Final = (1800, 7200)
"""The same where the server said that it never takes mail for this address: a full box may be emptied."""

ATTEMPT_WITHIN: Final = timedelta(seconds=20)
"""How long an attempt may last."""
SENDING_FOR: Final = timedelta(seconds=60)
"""How long a notice stays with the process that took it; one that died is followed only after that."""

State = Literal["waiting", "sending", "sent", "moot", "given_up"]
"""A notice is moot when its referral waits for somebody else by now."""
Result = Literal["taken", "not_now", "refused"]
"""What the server said to a mail; refused is for good."""


TooManyDesks: Final = define_refusal(
    __name__, "too_many_desks", f"An agency may have {DESKS_PER_AGENCY_MAX} duty desks; change one."
)


@dataclass(frozen=True, slots=True)
class Desk:
    """A duty desk as its agency registered it; the address is masked wherever it is printed."""

    agency: str
    code: str
    mail: SecretStr
    language: Language
    undeliverable_since: datetime | None = None
    """When its address began to take no mail, if it takes none now."""


@dataclass(frozen=True, slots=True)
class Notice:
    """That one event waits for one desk; the event's id keeps it to one."""

    event: str
    referral: str
    agency: str
    desk: str
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One mail on its way out, for all notices that were due at its desk as that is registered now."""

    desk: Desk
    numbers: Mapping[str, int]
    """Event of each notice → the number of this attempt for it; the oldest first."""
    at: datetime
    written_at: datetime
    key: bytes
    """The installation's key for names of messages."""

    @property
    def event(self) -> str:
        """The oldest notice's event, which names the message: the same one at each attempt."""
        return next(iter(self.numbers))


def outcome_of(number: int, result: Result, *, at: datetime) -> tuple[State, datetime]:
    """What follows an attempt: sent, tried again after a longer wait, or given up; and when it is due."""
    if result == "taken":
        return "sent", at
    waits = REFUSED_RETRY_AFTER_SECONDS if result == "refused" else RETRY_AFTER_SECONDS
    if number > len(waits):
        return "given_up", at
    return "waiting", at + timedelta(seconds=waits[number - 1])
