"""Cases, consents and given replies in PostgreSQL; what each method promises, its Protocol says."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from hmac import compare_digest
from typing import Any, Final

from schemas.events.consent import ConsentRef, ConsentVersion
from services.runtime.errors import NotFound
from services.runtime.transaction import Transaction
from services.sector.domain.consents import ConsentRecord
from services.sector.domain.refusals import CaseErased
from services.sector.domain.requests import Reply
from services.sector.handlers.work import Case, Cases, Place, Replies, ShownConsent

_ADD: Final = """
INSERT INTO case_file (id, agency, reference, subject, opened_at)
VALUES (:id, :agency, :reference, :subject, :opened_at)"""
_ADD_PACKET: Final = "INSERT INTO packet (case_id, packet, keyset) VALUES (:id, :packet, :keyset)"
_CASES: Final = """
SELECT c.id, c.agency, c.reference, c.subject, p.packet, p.keyset, c.opened_at,
  EXISTS (SELECT FROM closure l WHERE l.id = p.keyset) AS is_erased
FROM case_file c JOIN packet p ON p.case_id = c.id WHERE c.agency = :agency AND """
_FIND: Final = _CASES + "c.id = :id"
_LISTED: Final = f"""{_CASES} NOT EXISTS (SELECT FROM closure l WHERE l.id = p.keyset)
  AND (CAST(:before AS timestamptz) IS NULL OR (c.opened_at, c.id) < (:before, CAST(:id AS text)))
ORDER BY c.opened_at DESC, c.id DESC LIMIT :limit"""
_LOCK: Final = _FIND + " FOR UPDATE OF c"
_SHARE: Final = _FIND + " FOR SHARE OF c"
_ERASE: Final = "SELECT erase_case(:id)"
_BLANK: Final = "UPDATE case_file SET reference = '' WHERE id = :id"
_NEXT_SUBJECT: Final = """
UPDATE case_file SET next_subject = next_subject + 1 WHERE id = :id RETURNING next_subject - 1 AS number"""
_ADD_CONSENT: Final = """
INSERT INTO consent_version (id, version, case_id, agency, document, signature)
VALUES (:id, :version, :case_id, :agency, CAST(CAST(:document AS text) AS jsonb), :signature)
ON CONFLICT DO NOTHING RETURNING id"""
_CONSENTS: Final = """
SELECT case_id, CAST(document AS text) AS document, signature,
  EXISTS (SELECT FROM closure l WHERE l.id = c.id || '/' || c.version) AS is_closed,
  EXISTS (SELECT FROM consent_withdrawal w WHERE w.id = c.id AND w.version = c.version) AS is_withdrawn
FROM consent_version c """
_CONSENT: Final = _CONSENTS + "WHERE id = :id AND version = :version"
_RULING: Final = _CONSENTS + "WHERE id = :id ORDER BY version DESC LIMIT 1"
_OF_CASE: Final = _CONSENTS + "WHERE case_id = :case_id ORDER BY document ->> 'recorded_at', id, version"
_WITHDRAW: Final = """
INSERT INTO consent_withdrawal (id, version, referral, withdrawn_at)
VALUES (:id, :version, :referral, :at) ON CONFLICT DO NOTHING RETURNING id"""
_CLAIM: Final = """
INSERT INTO idempotency (agency, key_digest, request_digest) VALUES (:agency, :key, :request)
ON CONFLICT DO NOTHING RETURNING agency"""
_GIVEN: Final = """
SELECT request_digest, status, headers, body FROM idempotency WHERE agency = :agency AND key_digest = :key"""
_KEEP: Final = """
UPDATE idempotency SET status = :status, headers = :headers, body = :body
WHERE agency = :agency AND key_digest = :key"""


class CaseStore(Cases):
    """Cases and her consents; a signature that does not hold makes a version worthless, not an error."""

    def __init__(self, transaction: Transaction, sign: Callable[[bytes], bytes]) -> None:
        """`sign` gives the same signature for the same bytes, as Ed25519 does (RFC 8032)."""
        self._transaction = transaction
        self._sign = sign

    async def add(self, case: Case) -> None:
        fields = asdict(case)
        await self._transaction.run(_ADD, **fields)
        await self._transaction.run(_ADD_PACKET, **fields)

    async def find(self, case: str, agency: str) -> Case:
        return await self._case(_FIND, case, agency)

    async def lock(self, case: str, agency: str, *, though_erased: bool = False) -> Case:
        return await self._case(_LOCK, case, agency, though_erased=though_erased)

    async def share(self, case: str, agency: str) -> Case:
        return await self._case(_SHARE, case, agency)

    async def erase(self, case: Case) -> None:
        await self._transaction.run(_ERASE, id=case.id)
        await self._transaction.run(_BLANK, id=case.id)

    async def _case(self, sql: str, case: str, agency: str, *, though_erased: bool = False) -> Case:
        for row in await self._transaction.rows(sql, id=case, agency=agency):
            *fields, is_erased = tuple(row)
            if is_erased and not though_erased:
                raise CaseErased
            return Case(*fields)
        raise NotFound

    async def listed(self, agency: str, after: Place | None, limit: int) -> Sequence[Case]:
        before, case = after or (None, None)
        rows = await self._transaction.rows(_LISTED, agency=agency, before=before, id=case, limit=limit)
        return [Case(*tuple(row)[:-1]) for row in rows]

    async def next_subject(self, case: str) -> int:
        rows = await self._transaction.rows(_NEXT_SUBJECT, id=case)
        return int(rows[0].number)

    async def add_consent(self, case: str, version: ConsentVersion) -> tuple[bytes, bool]:
        signature = self._sign(version.signed_bytes())
        named = {"id": version.id, "version": version.version, "case_id": case, "agency": version.agency}
        document = version.model_dump_json()
        rows = await self._transaction.rows(_ADD_CONSENT, **named, document=document, signature=signature)
        return signature, bool(rows)

    async def consent(self, named: ConsentRef) -> ConsentRecord | None:
        return await self._consent(_CONSENT, id=named.id, version=named.version)

    async def ruling_consent(self, consent: str) -> ConsentRecord | None:
        return await self._consent(_RULING, id=consent)

    async def _consent(self, sql: str, **named: Any) -> ConsentRecord | None:
        for row in await self._transaction.rows(sql, **named):
            version = ConsentVersion.model_validate_json(row.document)
            signature = bytes(row.signature)
            is_signed = compare_digest(signature, self._sign(version.signed_bytes()))
            return ConsentRecord(row.case_id, version, signature, is_signed, row.is_closed)
        return None

    async def consents(self, case: str) -> Sequence[ShownConsent]:
        rows = await self._transaction.rows(_OF_CASE, case_id=case)
        return [(json.loads(row.document), row.is_withdrawn) for row in rows]

    async def withdraw(self, consent: ConsentRef, referral: str, at: datetime) -> bool:
        named = {"id": consent.id, "version": consent.version}
        return bool(await self._transaction.rows(_WITHDRAW, **named, referral=referral, at=at))


class ReplyStore(Replies):
    """Replies already given; a key is taken in its reply's transaction, so one under way is waited for."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def claim(self, agency: str, key: bytes, request_digest: bytes) -> tuple[bytes, Reply] | None:
        if await self._transaction.rows(_CLAIM, agency=agency, key=key, request=request_digest):
            return None
        return await self.given(agency, key)

    async def given(self, agency: str, key: bytes) -> tuple[bytes, Reply] | None:
        for row in await self._transaction.rows(_GIVEN, agency=agency, key=key):
            reply = Reply(row.status, json.loads(row.headers), json.loads(row.body))
            return bytes(row.request_digest), reply
        return None

    async def keep(self, agency: str, key: bytes, reply: Reply) -> None:
        headers, body = json.dumps(dict(reply.headers)), json.dumps(dict(reply.body))
        await self._transaction.run(
            _KEEP, agency=agency, key=key, status=reply.status, headers=headers, body=body
        )
