"""Puts a sector service together; the only file that knows the real classes."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from httpx2 import AsyncClient

from schemas.trail.notes import named_key
from schemas.trail.permits import Trust
from services.runtime.peers import internal_client
from services.runtime.process import Parts, Runtime, main
from services.runtime.settings import secret_from
from services.runtime.sweeper import Sweeper
from services.runtime.tokens import token_reader_of
from services.runtime.transaction import Transaction
from services.sector.api import Engine, FeedNotifier, described_app, sector_app
from services.sector.domain.profile import Profile
from services.sector.handlers.requests import fold_denials
from services.sector.handlers.work import Work
from services.sector.permits import Permits, Shows, Trail
from services.sector.reports import Delivery
from services.sector.settings import SectorSettings
from services.sector.store.cases import AnswerStore, CaseStore
from services.sector.store.state import StateStore, StepStore
from services.sector.store.trail import TrailStore
from services.sector.store.views import ViewStore
from services.sector.subscriptions import subscriptions

FOLD_SECONDS: Final = 5.0
"""How often denials whose time is over are looked for."""


class Reporting(Sweeper):
    """Delivers reports; on the way out it closes the connections to the trail."""

    def __init__(self, delivery: Delivery, every_seconds: float, clients: Sequence[AsyncClient]) -> None:
        super().__init__("reports", every_seconds, delivery.sweep)
        self._clients = clients

    async def run(self) -> None:
        """Sweep until stopped, then close; a look still under way is answered 503."""
        try:
            await super().run()
        finally:
            for client in self._clients:
                await client.aclose()


@dataclass(frozen=True, slots=True)
class ConsentKey:
    """The key with which this service signs consents, and by which it knows its own signature again."""

    key: Ed25519PrivateKey

    @classmethod
    def read(cls, file: Path) -> "ConsentKey":
        """The key of a seed file."""
        seed = base64.b64decode(secret_from(file).get_secret_value(), validate=True)
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, message: bytes) -> bytes:
        """Ed25519 over the message."""
        return self.key.sign(message)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature over the message is ours."""
        try:
            self.key.public_key().verify(signature, message)
        except InvalidSignature:
            return False
        return True


def wire(profile: Profile) -> Callable[[Runtime, SectorSettings], Parts]:
    """The parts of a sector service, for any profile."""

    def parts(runtime: Runtime, settings: SectorSettings) -> Parts:
        key = ConsentKey.read(settings.signing_key_file)
        feeds = FeedNotifier()
        # Looks and reports have a client each: neither can use up the other's connections.
        clients = [internal_client(settings.tls, "audit", base_url=settings.audit.url) for _ in range(2)]
        delivery = Delivery(clients[0], lambda: open_reports())
        sweeper = Reporting(delivery, settings.report_every_seconds, clients)

        def work_on(transaction: Transaction) -> Work:
            return Work(
                profile=profile,
                clock=runtime.clock,
                sign=key.sign,
                cases=CaseStore(transaction, key.verify),
                views=ViewStore(transaction, feeds.notify),
                state=StateStore(transaction),
                steps=StepStore(transaction, runtime.outbox, profile.name),
                trail=TrailStore(transaction, sweeper.wake),
                answers=AnswerStore(transaction),
            )

        open_work = runtime.database.opener(work_on)
        open_reports = runtime.database.opener(lambda transaction: TrailStore(transaction, sweeper.wake))

        async def fold() -> bool:
            async with open_work() as work:
                return await fold_denials(work)

        engine = Engine(
            profile=profile,
            caller=token_reader_of(settings.issuer, runtime.identity.source, runtime.clock),
            open=open_work,
            show=Shows(Permits(_trail(runtime, settings, clients[1])), open_work),
            feeds=feeds,
        )
        return Parts(
            subscriptions=subscriptions(profile),
            open_work=work_on,
            api=sector_app(engine),
            sweepers=(sweeper, Sweeper("denials", FOLD_SECONDS, fold)),
            alarms=(delivery.alarms,),
        )

    return parts


def _trail(runtime: Runtime, settings: SectorSettings, client: AsyncClient) -> Trail:
    trust = Trust(settings.log, (named_key(settings.audit.permit_key),), named_key(settings.audit.log_key))
    return Trail(client, runtime.identity.source, trust)


def run_sector(profile: Profile) -> None:
    """`python -m services.<sector> run|migrate|openapi`."""
    main(profile.name, SectorSettings, wire(profile), lambda: described_app(profile))
