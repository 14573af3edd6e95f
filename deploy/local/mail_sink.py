"""Takes every mail and keeps it as one file, for demonstrations and tests."""

import asyncio
import itertools
import os
import signal
import socket
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class MailFolder:
    """Writes each mail to the folder, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = itertools.count()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answers only once the mail is in its file."""
        await asyncio.to_thread(self._keep, envelope.original_content or b"", envelope.rcpt_tos)
        return "250 OK"

    def _keep(self, content: bytes, recipients: list[str]) -> None:
        # The envelope's recipients are what counts; headers may say anything.
        name = f"{time.time_ns()}-{os.getpid()}-{next(self._number)}.eml"
        fresh = self._folder / f".{name}"
        delivered = "".join(f"Delivered-To: {recipient}\r\n" for recipient in recipients)
        fresh.write_bytes(delivered.encode() + content)
        fresh.rename(self._folder / name)


async def serve(listening: socket.socket, folder: Path) -> None:
    """Takes mail until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    mails = MailFolder(folder)
    server = await loop.create_server(lambda: SMTP(mails, hostname="localhost", loop=loop), sock=listening)
    async with server:
        await stopping.wait()


def main() -> None:
    """Runs on the socket that the supervisor bound."""
    _, _, descriptor = os.environ["CONCERT_SOCKETS"].partition("smtp=")
    folder = Path(os.environ["CONCERT_DATA"]) / "mail"
    folder.mkdir(mode=0o700, exist_ok=True)
    asyncio.run(serve(socket.socket(fileno=int(descriptor)), folder))


if __name__ == "__main__":
    main()
