"""A sector's handlers on its real stores, within one transaction that leaves nothing behind."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel

from schemas.events.access import EventReport, OutcomeReport, SubjectErasure, SubjectKey
from schemas.events.governance import AgencyCurrent
from schemas.topics import steps_of
from schemas.wire.envelope import HEADERS, read
from schemas.wire.signed import sign
from services.runtime.identity import Identity
from services.runtime.outbox import Outbox
from services.runtime.transaction import Transaction
from services.sector.domain.packets import NumberedSubject
from services.sector.domain.profile import Profile
from services.sector.domain.views import ReferralView
from services.sector.handlers.work import Work
from services.sector.store.cases import CaseStore, ReplyStore
from services.sector.store.closures import ClosureStore
from services.sector.store.keys import KeyRecordStore
from services.sector.store.packets import PacketStore
from services.sector.store.register import RegisterStore
from services.sector.store.reports import ReportStore
from services.sector.store.views import ViewStore
from services.sector.wiring import log_stray
from tests.support.builders import REFERRAL, an_agency
from tests.support.clock import StoppedClock
from tests.support.governance import KEYS
from tests.support.intake import VAULT_PUBLIC

CELL = "test-local"
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGN = SIGNING_KEY.sign
KINDS: Mapping[str, type[BaseModel]] = {
    "subjects": SubjectKey,
    "events": EventReport,
    "outcomes": OutcomeReport,
    "erasures": SubjectErasure,
}


class StoredSector:
    """One sector on one connection; each of its transactions is a savepoint."""

    def __init__(self, profile: Profile, connection: Any) -> None:
        self.profile = profile
        self.connection = connection
        self.clock = StoppedClock()

    @property
    def work(self) -> Work:
        """What a handler gets."""
        transaction = Transaction(self.connection)
        return Work(
            profile=self.profile,
            clock=self.clock,
            keys=KEYS,
            cases=CaseStore(transaction, SIGN),
            packets=PacketStore(transaction, VAULT_PUBLIC, lambda: None),
            closures=ClosureStore(transaction, lambda: None),
            views=ViewStore(transaction, lambda agencies: None),
            register=RegisterStore(transaction),
            reports=ReportStore(transaction, lambda _seconds: None),
            key_records=KeyRecordStore(transaction),
            replies=ReplyStore(transaction),
            send=partial(Outbox(Identity(self.profile.name, CELL)).add, transaction),
            sign=partial(sign, private=SIGNING_KEY),
            log_stray=log_stray,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Work]:
        """A transaction."""
        async with self.connection.transaction():
            yield self.work

    async def rows(self, sql: str, **parameters: Any) -> Sequence[Any]:
        """What stands in a table."""
        return await Transaction(self.connection).rows(sql, **parameters)

    async def admit(self, *agencies: str, **changes: Any) -> None:
        """Let governance name these agencies."""
        await self.work.register.keep(AgencyCurrent, [an_agency(agency, **changes) for agency in agencies])

    async def suspend(self, agency: str) -> None:
        """Let governance suspend an agency of this sector."""
        await self.admit(agency, sector=self.profile.name, status="suspended", version=2)

    async def view(self, agency: str, referral: str = REFERRAL) -> ReferralView:
        """An agency's view of a referral."""
        [view] = await self.work.views.find([referral], agency)
        return view

    async def sent(self) -> list[Any]:
        """The steps that are about to leave, in order."""
        topic = steps_of(self.profile.name)
        return [
            read(topic, HEADERS, row.key, row.value, cell=CELL, mode="local").body
            for row in await self.rows("SELECT key, value FROM outbox ORDER BY id")
        ]

    async def reported(self) -> list[Any]:
        """What the trail is about to be told, in order."""
        rows = await self.rows("SELECT kind, content FROM trail_outbox ORDER BY id")
        return [_report(row.kind, json.loads(row.content)) for row in rows]


def _report(kind: str, content: dict[str, Any]) -> BaseModel:
    return (NumberedSubject if "keyset" in content else KINDS[kind]).model_validate(content)
