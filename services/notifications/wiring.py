"""Puts notifications together."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from joserfc.jwk import KeySet

from services.notifications.api import OpenWork, desks_app
from services.notifications.channels import Dispatch, Mail
from services.notifications.handlers import Notices, Work
from services.notifications.settings import Settings, SmtpSettings
from services.notifications.store import AgencyStore, DeskStore, NoticeStore
from services.notifications.subscriptions import SUBSCRIPTIONS
from services.runtime.process import Parts, Runtime
from services.runtime.sweeper import Sweeper
from services.runtime.tokens import token_reader
from services.runtime.transaction import Transaction


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """The desks' API, the reader of facts, and the dispatch of mails."""

    def work_on(transaction: Transaction) -> Work:
        return Work(AgencyStore(transaction), DeskStore(transaction), NoticeStore(transaction), runtime.clock)

    @asynccontextmanager
    async def open_work() -> AsyncIterator[Work]:
        async with runtime.database.transaction() as transaction:
            yield work_on(transaction)

    @asynccontextmanager
    async def open_notices() -> AsyncIterator[Notices]:
        async with open_work() as work:
            yield work.notices

    dispatch = Dispatch(open_notices, mail_of(settings.smtp).deliver, runtime.clock, settings.sending_for)
    return Parts(
        subscriptions=SUBSCRIPTIONS,
        open_work=work_on,
        api=_api(runtime, settings, open_work),
        sweepers=(Sweeper("dispatch", settings.sweep_every.total_seconds(), dispatch.sweep),),
        alarms=(dispatch.alarms,),
    )


def mail_of(smtp: SmtpSettings) -> Mail:
    """The way to a mail server, as its settings say."""
    tls = ssl.create_default_context(cafile=smtp.authority_file) if smtp.encryption == "starttls" else None
    return Mail(smtp.host, smtp.port, smtp.sender, tls)


def _api(runtime: Runtime, settings: Settings, open_work: OpenWork) -> FastAPI:
    keys = KeySet.import_key_set(json.loads(settings.issuer.keys_file.read_text()))
    caller_of = token_reader(
        keys,
        issuer=settings.issuer.name,
        audience=runtime.identity.source,
        clock=runtime.clock,
        life_seconds_max=settings.issuer.token_life_seconds_max,
    )
    return desks_app(open_work, caller_of)
