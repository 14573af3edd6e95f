"""How a sector service asks its vault: a few connections to the Unix socket, and a limit on each answer."""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_json

from schemas.events.access import Access, PublishedProofs
from schemas.events.consent import Closure
from schemas.trail.bytes import decoded
from schemas.wire.packets import IntakeKey, Release
from schemas.wire.strict_json import parse_json
from services.runtime.logs import log
from services.sector.domain.refusals import VaultUnavailable
from services.sector.vault.faults import VAULT_FAULTS, VaultRefusal
from services.sector.vault.requests import (
    FRAME_BYTES_MAX,
    LENGTH_BYTES,
    ClosureEntry,
    DataKeyWrap,
    OpenRequest,
    SubjectPlace,
    framed,
)

CONNECTIONS_MAX: Final = 4
ANSWER_SECONDS: Final = 2.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class VaultClient:
    """Asks one vault; VaultRefusal says why it would not, VaultUnavailable that it does not answer.

    A connection whose answer did not come is given up: the next answer on it would be another request's.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)

    async def status(self) -> Mapping[str, Any]:
        """How the vault is."""
        return await self._ask("status")

    async def intake(self) -> list[IntakeKey]:
        """Its signed intake keys, of this epoch and the next."""
        answer = await self._ask("intake")
        return [IntakeKey.model_validate(key) for key in answer["keys"]]

    async def subject(self, case: DataKeyWrap, number: int) -> bytes:
        """A subject's key, to register it with the trail."""
        place = SubjectPlace(case=case, number=number)
        return decoded((await self._ask("subject", subject=place))["key"])

    async def ask(self, access: Access) -> bytes:
        """A nonce for the intent of one access; it lives for thirty seconds."""
        return decoded((await self._ask("ask", access=access))["nonce"])

    async def open(self, request: OpenRequest) -> Release:
        """A release, if everything that it rests on holds."""
        return Release.model_validate((await self._ask("open", **dict(request)))["release"])

    async def settle(self, published: PublishedProofs) -> list[int]:
        """Hand in proofs of publication; the indexes that are still owed."""
        return list((await self._ask("settle", published=published))["unsettled"])

    async def adopt(self, rows: Sequence[DataKeyWrap]) -> list[DataKeyWrap | None]:
        """The rows with wraps of the current epoch; None where one is erased or opens not."""
        return _wraps(await self._ask("adopt", rows=rows))

    async def rewrap(self, rows: Sequence[DataKeyWrap]) -> list[DataKeyWrap | None]:
        """The same for rows of older epochs."""
        return _wraps(await self._ask("rewrap", rows=rows))

    async def closed(self, rows: Sequence[Closure], newest: int) -> list[Closure]:
        """Hand in ledger rows, and say how many the database holds; the rows that it lacks."""
        answer = await self._ask("closed", rows=rows, newest=newest)
        return [Closure.model_validate(row) for row in answer["missing"]]

    async def rebuild(self, checkpoint: str, entries: Sequence[ClosureEntry], newest: int) -> None:
        """Hand a vault that lost its ledger rows as the trail has them, in order; `newest` is the last."""
        await self._ask("rebuild", checkpoint=checkpoint, entries=entries, newest=newest)

    async def rotate(self) -> str:
        """Begin a new epoch; its name."""
        return str((await self._ask("rotate"))["epoch"])

    async def close(self) -> None:
        """Give up the connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _ask(self, operation: str, **words: object) -> Mapping[str, Any]:
        content = framed(to_json({"op": operation, **words}, exclude_none=True))
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._free:
                answer = parse_json(await self._exchange(content))
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            log().warning("vault_does_not_answer", error_class=type(error).__name__)
            raise VaultUnavailable from None
        if "ok" in answer:
            return dict(answer["ok"])
        code = answer["refused"]["code"]
        raise VaultRefusal(code if code in VAULT_FAULTS else "unexpected")

    async def _exchange(self, content: bytes) -> bytes:
        while self._idle:
            # The vault of a connection of before may have ended. What it did with this, if anything, it has
            # forgotten: a nonce, or a row that it takes again.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                return await self._talk(self._idle.pop(), content)
        return await self._talk(await self._connect(), content)

    async def _talk(self, connection: Connection, content: bytes) -> bytes:
        reader, writer = connection
        try:
            writer.write(content)
            await writer.drain()
            length = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
            answer = await reader.readexactly(min(length, FRAME_BYTES_MAX))
        except BaseException:  # also cancelled: half an exchange leaves an answer that is nobody's
            writer.close()
            raise
        self._idle.append(connection)
        return answer

    async def _connect(self) -> Connection:
        folder = os.open(self._socket.parent, os.O_PATH | os.O_DIRECTORY)
        try:  # a socket's path is short, a folder's may be long
            return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{self._socket.name}")
        finally:
            os.close(folder)


def _wraps(answer: Mapping[str, Any]) -> list[DataKeyWrap | None]:
    return [row and DataKeyWrap.model_validate(row) for row in answer["rows"]]
