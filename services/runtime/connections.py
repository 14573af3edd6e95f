"""HTTP/1.1 connections within limits: strict reading (h11), never too many, none slow for ever."""

import asyncio
import re
import sys
from typing import Any, ClassVar, Final

import h11
from h11._receivebuffer import ReceiveBuffer
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.runtime import refusals
from services.runtime.errors import Refused
from services.runtime.problems import refusal
from services.runtime.requests import App, Receive, Scope, Send

HEADER_BYTES_MAX: Final = 32 * 1024
"""Request line and headers together; also a chunk's header and a body's trailers."""
HEADER_SECONDS: Final = 15.0
"""How long a connection may stand without a whole header: idle, or sending one byte after the other."""
UNREAD_BODY_SECONDS: Final = 2.0
"""How long what is left of a body is thrown away after the answer, before the connection is cut."""
ANSWER_TAKEN_SECONDS: Final = 30.0
"""How long an answer may wait for its reader to make room."""
HANDSHAKE_SECONDS: Final = 5.0
CONNECTIONS_MAX: Final = 1_000
REFUSED_CONNECTIONS_MAX: Final = 200
"""How many connections over the limit are told so at a time; any more are cut."""


PROTOCOL_REFUSALS: Final = {431: refusals.HeadersTooLarge, 501: refusals.TransferCodingUnknown}
_LENIENT: Final = re.compile(
    rb"^[ \t]"  # a line that goes on from the last one
    rb"|^content-length:[^,\n]*,"
    rb"|^(?:content-length|transfer-encoding):[^\0]*\n(?:content-length|transfer-encoding):"
    rb"|\A\S+ \S+ HTTP/(?!1\.[01]$)"
    rb"|\A\S+ \S+ HTTP/1\.0\n(?:.*\n)*transfer-encoding:",
    re.IGNORECASE | re.MULTILINE,
)
"""A header that h11 gives one reading, and the proxy in front of us perhaps another."""


class StrictLines(ReceiveBuffer):
    """The lines of a header, before h11 mends what two readers could take differently."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """All lines up to the empty one; raises RemoteProtocolError where they have two readings."""
        before = len(self)
        lines = super().maybe_extract_lines()
        if lines is None:
            return None
        has_bare_end = before - len(self) != sum(len(line) + 2 for line in lines) + 2
        if has_bare_end or _LENIENT.search(b"\n".join(lines)):
            raise h11.RemoteProtocolError("two readings")
        return lines


class BoundedProtocol(H11Protocol):
    """One connection of a port; uvicorn reads and answers, this class says when it is enough."""

    connections_max: ClassVar[int] = CONNECTIONS_MAX
    header_seconds: ClassVar[float] = HEADER_SECONDS
    unread_body_seconds: ClassVar[float] = UNREAD_BODY_SECONDS
    answer_taken_seconds: ClassVar[float] = ANSWER_TAKEN_SECONDS
    _deadline: asyncio.TimerHandle | None = None
    _answer_deadline: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.conn._receive_buffer = StrictLines()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a connection over the limit is told so, and one far over it is cut."""
        super().connection_made(transport)
        self._watch()
        self.app = _connected(self.app, transport)
        excess = len(self.connections) - self.connections_max
        if excess > REFUSED_CONNECTIONS_MAX:
            transport.abort()
        elif excess > 0:
            self.app = _refuse_connection

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and forget every deadline."""
        self._forget_deadline()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; bytes alone move no deadline, only a whole header does."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request, which may already be here."""
        self._forget_deadline()
        super().on_response_complete()
        self._watch()

    def shutdown(self) -> None:
        """Drain: the answer in hand is the connection's last, and says so."""
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.default_headers = [*self.cycle.default_headers, CLOSE_HEADER]

    def pause_writing(self) -> None:
        """The answer waits for its reader, who must not keep it for ever."""
        super().pause_writing()
        self._answer_deadline = self.loop.call_later(self.answer_taken_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The reader made room."""
        super().resume_writing()
        if self._answer_deadline:
            self._answer_deadline.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer what h11 refused; uvicorn calls this while it handles h11's error."""
        status = getattr(sys.exc_info()[1], "error_status_hint", 400)
        self._refuse(PROTOCOL_REFUSALS.get(status, refusals.HttpMalformed)())

    def _refuse(self, refused: Refused) -> None:
        """Answer without the application, and close; an answer that has begun is cut instead."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application waits for a body that never comes
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = refusal(refused)
            headers = [*answer.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=answer.status_code, headers=headers),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Keep a deadline whenever the connection, and not the application, has the next word."""
        if self.conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY) and not self.transport.is_closing():
            self._forget_deadline()
        elif self._deadline is None:
            is_unread = self.conn.their_state is h11.SEND_BODY
            seconds = self.unread_body_seconds if is_unread else self.header_seconds
            self._deadline = self.loop.call_later(seconds, self._late)

    def _forget_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            self.transport.abort()  # the last answer was never taken
        elif self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(refusals.RequestTimeout())
        else:
            self.transport.close()
        self._watch()


def _connected(application: App, transport: asyncio.Transport) -> App:
    """Hands the application the connection and the peer's certificate, which uvicorn keeps to itself."""
    known = {"transport": transport, "peer_certificate": transport.get_extra_info("peercert")}

    async def connected(scope: Scope, receive: Receive, send: Send) -> None:
        await application({**scope, "extensions": known}, receive, send)

    return connected


async def _refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    answer = refusal(refusals.TooManyConnections())
    answer.headers["connection"] = "close"
    await answer(scope, receive, send)
