"""Mail as the way to a desk: one mail for all that is due at it, each notice sent at least once.

SMTP has no way to ask whether a mail was taken. A process that dies after the server took a mail and before
that was written down therefore leaves a notice `sending`; once its time is over it is sent again under the
same Message-ID, and byte for byte unless the desk changed meanwhile, so that a mail store may drop the
repeat. The same holds where the server's yes got lost on the way. At most once would be the other choice: a
desk that is told twice loses nothing, one that is never told lets somebody wait.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import aiosmtplib

from services.notifications.domain.mail import mail_bytes, message_id
from services.notifications.domain.notice import ATTEMPT_WITHIN, SENDING_FOR, Attempt, Desk, Result
from services.notifications.handlers import OpenWork
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.crash import crash_point
from services.runtime.errors import Unavailable
from services.runtime.logs import log

MAILS_PER_SWEEP_MAX: Final = 50
"""With the time between sweeps this bounds how many mails leave in a minute."""
DESKS_TOLD_MAX: Final = 100
"""So many desks that take no mail are told as alarms; an operator who sees them looks at the server first."""
REFUSED_FROM: Final = 500
"""An SMTP answer from here on is for good (RFC 5321, section 4.2.1)."""


@dataclass(frozen=True, slots=True)
class Mail:
    """The SMTP server that takes our mails, and the sender they name."""

    host: str
    port: int
    sender: str
    tls: ssl.SSLContext | None
    """What STARTTLS must hold against; without it mail goes in the clear."""

    async def deliver(self, attempt: Attempt) -> Result:
        """Hand one mail over, and say what became of it; raises Unavailable where the server takes none."""
        to = attempt.desk.mail.get_secret_value()
        name = message_id(attempt.event, attempt.key, self.sender)
        content = mail_bytes(
            attempt.desk.language, sender=self.sender, to=to, message=name, written_at=attempt.written_at
        )
        try:
            async with asyncio.timeout(ATTEMPT_WITHIN.total_seconds()):
                await aiosmtplib.send(
                    content,
                    sender=self.sender,
                    recipients=[to],
                    hostname=self.host,
                    port=self.port,
                    start_tls=self.tls is not None,
                    tls_context=self.tls,
                    # Without it this machine's own name is looked up, and told to the server.
                    local_hostname=self.sender.rpartition("@")[2],
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _result_of(error.recipients[0].code)
        except aiosmtplib.SMTPDataError as error:
            return _result_of(error.code)
        except (aiosmtplib.SMTPException, OSError) as error:  # TimeoutError is an OSError
            raise Unavailable("the mail server takes no mail now; the same again will be tried") from error
        return "taken"


def _result_of(code: int) -> Result:
    return "refused" if code >= REFUSED_FROM else "not_now"


Deliver = Callable[[Attempt], Awaitable[Result]]


class MailDispatcher:
    """Sends the notices that are due; several at once are safe."""

    def __init__(
        self,
        open_work: OpenWork,
        singly: OpenWork,
        deliver: Deliver,
        clock: Clock,
        tell_taken: Callable[[], None] = lambda: None,
    ) -> None:
        """`singly` opens work of which each statement is committed by itself; `tell_taken` tells others."""
        self._open_work = open_work
        self._singly = singly
        self._deliver = deliver
        self._clock = clock
        self._undeliverable: Sequence[Desk] = ()
        self._away: Alarm | None = None
        self._tell_taken = tell_taken

    def hear_taken(self, _told: Collection[str] = ()) -> None:
        """Another process's mail was taken: the server is there, though this one has nothing to try."""
        self._away = None

    async def sweep(self) -> bool:
        """Send what is due, so many mails at most; end early when the server is away. Never asks for more."""
        for _ in range(MAILS_PER_SWEEP_MAX):
            if not await self._send_one():
                break
        async with self._singly() as work:
            self._undeliverable = await work.store.undeliverable(DESKS_TOLD_MAX)
        return False

    def alarms(self) -> Iterable[Alarm]:
        """Each desk whose address takes no mail, and the server if it takes none, as of the last sweep."""
        for desk in self._undeliverable:
            if desk.undeliverable_since:
                yield Alarm("desk_undeliverable", f"{desk.agency}/{desk.code}", desk.undeliverable_since)
        if self._away:
            yield self._away

    async def _send_one(self) -> bool:
        now = self._clock.now()
        async with self._singly() as work:
            attempt = await work.store.claim(at=now, until=now + SENDING_FOR)
        if attempt is None:
            return False
        crash_point("notice.sending")
        # Crash point: taken, not sent; sent once its time as `sending` is over.
        result = await self._try(attempt)
        crash_point("notice.sent")
        # Crash point: sent, not written down; sent again under the same Message-ID (see above).
        async with self._open_work() as work:
            await work.store.settle(attempt, result or "not_now", at=self._clock.now())
        if result in ("not_now", "refused"):
            number = max(attempt.numbers.values())
            log().warning("mail_not_taken", attempt=number, state=result, agency_id=attempt.desk.agency)
        return result is not None

    async def _try(self, attempt: Attempt) -> Result | None:
        """What became of a mail; None where the server takes none, which is told once for each reason."""
        try:
            result = await self._deliver(attempt)
        except Unavailable as error:
            trouble = type(error.__cause__ or error).__name__
            if self._away is None or self._away.where != trouble:
                log().error("mail_server_away", error_class=trouble)
                since = self._away.since if self._away else self._clock.now()
                self._away = Alarm("mail_server_away", trouble, since)
            return None
        self._away = None
        self._tell_taken()
        return result
