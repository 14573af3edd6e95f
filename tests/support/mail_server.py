"""A real mail server on loopback, for tests."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiosmtpd.smtp import SMTP, Envelope, Session

from services.notifications.channels import Mail

SENDER: Final = "notice@concert.example"


class MailServer:
    """A real SMTP server on loopback; `answers` holds what it says once instead of yes, by address."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.mails: list[tuple[str, bytes]] = []
        self.answers: dict[str, str] = {}
        self.port = 0
        self._listener: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen on a free port."""
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: SMTP(
                self, hostname="mail.example", tls_context=self._tls, require_starttls=self._tls is not None
            ),
            "127.0.0.1",
            0,
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more connections."""
        if self._listener:
            self._listener.close()

    async def handle_MAIL(  # noqa: N802 - the server's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a sender, or say what stands in `answers`."""
        if address in self.answers:
            return self.answers.pop(address)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - the server's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or say what stands in `answers`."""
        if address in self.answers:
            return self.answers.pop(address)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the server's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep a mail."""
        self.mails.append((envelope.rcpt_tos[0], bytes(envelope.content or b"")))
        return "250 OK"

    def to(self, address: str) -> list[bytes]:
        """The mails that one address got."""
        return [content for recipient, content in self.mails if recipient == address]

    @property
    def mail(self) -> Mail:
        """What hands mails to this server."""
        return Mail("127.0.0.1", self.port, SENDER, None)


@asynccontextmanager
async def a_mail_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[MailServer]:
    """A server that listens for as long as the block."""
    made = MailServer(tls)
    await made.open()
    yield made
    made.close()
