"""Mail as the way to a desk: one notice after the other, each sent at least once.

SMTP has no way to ask whether a mail was taken. A process that dies after the server took a mail and before
that was written down therefore leaves a notice `sending`; once its time is over it is sent again under the
same Message-ID, and byte for byte unless the desk changed meanwhile, so that a mail store may drop the
repeat. The same holds where the server's yes got lost on the way. At most once would be the other choice: a
desk that is told twice loses nothing, one that is never told lets somebody wait.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import aiosmtplib

from services.notifications.domain.mail import mail_bytes, message_id
from services.notifications.domain.notice import ATTEMPT_WITHIN, Attempt, settled
from services.notifications.handlers import Notices
from services.runtime.clock import Clock
from services.runtime.crash import crash_point
from services.runtime.errors import Unavailable
from services.runtime.logs import log

MAILS_PER_SWEEP_MAX: Final = 50
"""With the time between sweeps this bounds how many mails leave in a minute."""


class NotTaken(Exception):
    """The server takes mail, but not this one, or not now."""


@dataclass(frozen=True, slots=True)
class Mail:
    """The SMTP server that takes our mails, and the sender they name."""

    host: str
    port: int
    sender: str

    async def deliver(self, attempt: Attempt) -> None:
        """Hand one mail over; raises NotTaken for this mail, Unavailable for the server."""
        try:
            async with asyncio.timeout(ATTEMPT_WITHIN.total_seconds()):
                await self._send(attempt)
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPDataError):
            raise NotTaken from None  # the cause holds the address
        except (aiosmtplib.SMTPException, OSError):  # TimeoutError is an OSError
            raise Unavailable("the mail server takes no mail now; the same again will be tried") from None

    async def _send(self, attempt: Attempt) -> None:
        to = attempt.mail.get_secret_value()
        name = message_id(attempt.event, attempt.key, self.sender)
        content = mail_bytes(
            attempt.language, sender=self.sender, to=to, message=name, written_at=attempt.written_at
        )
        await aiosmtplib.send(
            content,
            sender=self.sender,
            recipients=[to],
            hostname=self.host,
            port=self.port,
            # Without it this machine's own name is looked up, and told to the server.
            local_hostname=self.sender.rpartition("@")[2],
        )


OpenNotices = Callable[[], AbstractAsyncContextManager[Notices]]
Deliver = Callable[[Attempt], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Postman:
    """Sends the notices that are due; several at once are safe."""

    open_notices: OpenNotices
    """Opens a transaction, commits on leaving."""
    deliver: Deliver
    clock: Clock
    sending_for: timedelta

    async def sweep(self) -> bool:
        """Send what is due, so many mails at most; end early when the server is away. Never asks for more."""
        for _ in range(MAILS_PER_SWEEP_MAX):
            if not await self._send_one():
                break
        return False

    async def _send_one(self) -> bool:
        now = self.clock.now()
        async with self.open_notices() as notices:
            attempt = await notices.claim(at=now, until=now + self.sending_for)
        if attempt is None:
            return False
        crash_point("notice.sending")
        # Crash point: taken, not sent; sent once its time as `sending` is over.
        is_answering, was_taken = await self._try(attempt)
        crash_point("notice.sent")
        # Crash point: sent, not written down; sent again under the same Message-ID (see above).
        outcome = settled(attempt.number, was_taken=was_taken, at=self.clock.now())
        async with self.open_notices() as notices:
            await notices.settle(attempt, outcome)
        if not was_taken:
            log().warning("notice_not_taken", attempt=attempt.number, state=outcome.state)
        return is_answering

    async def _try(self, attempt: Attempt) -> tuple[bool, bool]:
        try:
            await self.deliver(attempt)
        except NotTaken:
            return True, False
        except Unavailable:
            return False, False
        return True, True
