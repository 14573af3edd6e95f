"""The keys that an agency's packets are sealed to: it registers its own, sees them and takes them back."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from schemas.ids import KINDS
from schemas.wire.key_records import KeyRecord
from services.runtime.errors import NotFound
from services.runtime.openapi import refuses
from services.sector.api import asking
from services.sector.api.answers import KeyList, KeyPage
from services.sector.domain import refusals
from services.sector.domain.requests import Asker
from services.sector.handlers.keys import keys_of, register_key, revoke_key
from services.sector.handlers.work import RegisteredKey

KeyPath = Annotated[str, Path(json_schema_extra={"pattern": KINDS["reader_key"].pattern})]


def key_routes(engine: asking.Engine) -> APIRouter:
    """The routes of whoever arranges things for their agency."""
    router = APIRouter(prefix="/v1/keys", tags=["keys"])
    arranger = Depends(asking.asker_of(engine, "arrange"))

    @router.put("/{key}", operation_id="register_key")
    @refuses(*refusals.KEY_RECORD.values(), refusals.OtherKey, refusals.KeyRegistered, refusals.TooManyKeys)
    async def put_key(key: KeyPath, record: KeyRecord, by: Annotated[Asker, arranger]) -> KeyPage:
        """Register a key by its record, which the agency signed with the key of its admission."""
        if record.key != key:
            raise refusals.OtherKey
        async with asking.noting_denials(engine, by, None), engine.open() as work:
            return _page(await register_key(record, by, work))

    @router.get("", operation_id="list_keys")
    async def list_keys(by: Annotated[Asker, arranger]) -> KeyList:
        """The agency's own keys whose time is not over."""
        async with asking.noting_denials(engine, by, None), engine.read() as work:
            return KeyList(data=[_page(key) for key in await keys_of(by, work)])

    @router.delete("/{key}", operation_id="revoke_key")
    @refuses(NotFound)
    async def delete_key(key: KeyPath, by: Annotated[Asker, arranger]) -> KeyPage:
        """Take a key back: nothing is sealed to it from now on, and no record brings it back."""
        async with asking.noting_denials(engine, by, None), engine.open() as work:
            return _page(await revoke_key(key, by, work))

    return router


def _page(key: RegisteredKey) -> KeyPage:
    return KeyPage(record=key.record, is_revoked=key.is_revoked)
