"""Agencies' packet keys in PostgreSQL; the promises: `KeyRecords`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from schemas.wire.key_records import KeyRecord
from services.runtime.transaction import Row, Transaction
from services.sector.handlers.work import KeyRecords, RegisteredKey

_REGISTERED: Final = "SELECT CAST(document AS text) AS document, is_revoked FROM key_record WHERE key = :key"
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('key_record ' || :agency, 0))"
_OF_AGENCY: Final = """
SELECT CAST(document AS text) AS document, is_revoked FROM key_record
WHERE agency = :agency AND not_after > :at ORDER BY not_before DESC, key"""
_ADD: Final = """
INSERT INTO key_record (key, agency, document, not_before, not_after)
VALUES (:key, :agency, CAST(CAST(:document AS text) AS jsonb), :not_before, :not_after)"""
_REVOKE: Final = "UPDATE key_record SET is_revoked = true WHERE key = :key"


class KeyRecordStore(KeyRecords):
    """The registered keys of this sector's agencies."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def registered(self, key: str) -> RegisteredKey | None:
        for row in await self._transaction.rows(_REGISTERED, key=key):
            return _key(row)
        return None

    async def lock(self, agency: str) -> None:
        await self._transaction.run(_LOCK, agency=agency)

    async def of_agency(self, agency: str, at: datetime) -> Sequence[RegisteredKey]:
        return [_key(row) for row in await self._transaction.rows(_OF_AGENCY, agency=agency, at=at)]

    async def add(self, record: KeyRecord) -> None:
        await self._transaction.run(
            _ADD,
            key=record.key,
            agency=record.holder,
            document=record.model_dump_json(),
            not_before=record.not_before,
            not_after=record.not_after,
        )

    async def revoke(self, key: str) -> None:
        await self._transaction.run(_REVOKE, key=key)


def _key(row: Row) -> RegisteredKey:
    return RegisteredKey(KeyRecord.model_validate_json(row.document), row.is_revoked)
