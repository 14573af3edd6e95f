"""Duty desks, on the agencies' port: each agency registers and sees its own."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from schemas.ids import DeskCode
from schemas.wire.body import Instant
from services.notifications.domain.mail import ADDRESS_BYTES_MAX, Language
from services.notifications.domain.notice import Desk, TooManyDesks
from services.notifications.handlers import OpenWork, desks_of, register_desk
from services.runtime.admission import check_role
from services.runtime.openapi import refuses, serve_openapi
from services.runtime.refusals import NO_ENTRY
from services.runtime.tokens import Caller
from services.runtime.web import create_app

_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+"
)
"""A plain address of RFC 5321 in ASCII: no name, no comment, nothing that could start another header."""
_LOCAL_PART_BYTES_MAX: Final = 64


def _address(given: SecretStr) -> SecretStr:
    text = given.get_secret_value()
    if not _ADDRESS.fullmatch(text) or text.index("@") > _LOCAL_PART_BYTES_MAX:
        raise PydanticCustomError("one_plain_address", "give one plain mail address")
    return given


MailAddress = Annotated[SecretStr, Field(max_length=ADDRESS_BYTES_MAX), AfterValidator(_address)]


class DeskEntry(BaseModel):
    """What an agency says about a desk; the mailbox should belong to the desk, not to a person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mail: MailAddress
    language: Language


class DeskView(BaseModel):
    """A desk, as its own agency sees it."""

    code: DeskCode
    mail: str
    language: Language
    undeliverable_since: Instant | None
    """When the address began to refuse mail; null while it takes it. A new address is tried at once."""


class DeskList(BaseModel):
    """All desks of one agency; a list of this length needs no cursor."""

    data: list[DeskView]
    next: None = None


def desks_app(open_work: OpenWork, caller_of: Callable[[Request], Caller]) -> FastAPI:
    """The application on the agencies' port; `caller_of` says who asks, or refuses."""
    router = APIRouter(prefix="/v1/duty-desks")

    @refuses(*NO_ENTRY)
    async def arranger(request: Request) -> Caller:
        caller = caller_of(request)
        check_role(caller.role, "arrange")
        return caller

    @router.put("/{code}", operation_id="register_desk")
    @refuses(TooManyDesks)
    async def put_desk(
        code: DeskCode, entry: DeskEntry, caller: Annotated[Caller, Depends(arranger)]
    ) -> DeskView:
        """Register a duty desk, or change where and in which language it is told."""
        desk = Desk(caller.agency, code, entry.mail, entry.language)
        async with open_work() as work:
            return _view(await register_desk(desk, work))

    @router.get("", operation_id="list_desks")
    async def list_desks(caller: Annotated[Caller, Depends(arranger)]) -> DeskList:
        """The agency's own desks."""
        async with open_work() as work:
            found = await desks_of(caller.agency, work)
        return DeskList(data=[_view(desk) for desk in found])

    app = create_app("Duty desks", caller_of)
    app.include_router(router)
    serve_openapi(app)
    return app


def described_app() -> FastAPI:
    """The routes without anything behind them, for their document."""
    nothing: Any = None
    return desks_app(nothing, lambda request: nothing)


def _view(desk: Desk) -> DeskView:
    return DeskView(
        code=desk.code,
        mail=desk.mail.get_secret_value(),
        language=desk.language,
        undeliverable_since=desk.undeliverable_since,
    )
