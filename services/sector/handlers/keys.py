"""An agency's packet keys: each stands by a record that its admitted signing key has signed."""

from collections.abc import Sequence
from typing import Final

from schemas.events.governance import AgencyCurrent
from schemas.wire.key_records import VALID_FOR_MAX, BadKeyRecord, KeyRecord, check_key_record
from services.runtime.errors import NotFound
from services.sector.domain import refusals
from services.sector.domain.requests import Asker
from services.sector.handlers.requests import check_admitted
from services.sector.handlers.work import RegisteredKey, Work

KEYS_PER_AGENCY_MAX: Final = 20
"""Whose time is not over, revoked ones among them: enough for a fresh key each week."""


async def register_key(record: KeyRecord, by: Asker, work: Work) -> RegisteredKey:
    """Keep the record of an own key; the same again changes nothing, and no other takes its place."""
    await check_admitted(by, work)
    at = work.clock.now()
    [admission] = (await work.register.last(AgencyCurrent, {by.agency})).values()
    try:
        if record.holder != by.agency or record.not_before > at + VALID_FOR_MAX:
            raise BadKeyRecord("key_of_another_agency" if record.holder != by.agency else "key_not_valid_now")
        check_key_record(record, admission, max(at, record.not_before))  # the next key may come early
    except BadKeyRecord as wrong:
        raise refusals.KEY_RECORD[wrong.code] from None
    await work.key_records.lock(by.agency)
    others = await work.key_records.of_agency(by.agency, at)
    known = await work.key_records.registered(record.key)
    if known and known.record == record:
        return known
    if known:
        raise refusals.KeyRegistered
    if len(others) >= KEYS_PER_AGENCY_MAX:
        raise refusals.TooManyKeys
    await work.key_records.add(record)
    return RegisteredKey(record, is_revoked=False)


async def keys_of(by: Asker, work: Work) -> Sequence[RegisteredKey]:
    """The asker's own keys."""
    await check_admitted(by, work)
    return await work.key_records.of_agency(by.agency, work.clock.now())


async def revoke_key(key: str, by: Asker, work: Work) -> RegisteredKey:
    """Take an own key back, which protects and is open to a suspended agency too."""
    await check_admitted(by, work, though_suspended=True)
    known = await work.key_records.registered(key)
    if known is None or known.record.holder != by.agency:
        raise NotFound
    await work.key_records.revoke(key)
    return RegisteredKey(known.record, is_revoked=True)
