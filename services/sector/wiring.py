"""Puts a sector service together; the only file that knows the real classes."""

import hmac
from base64 import b64decode
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.events.access import PermitRequest
from schemas.events.facts import FactBase
from schemas.events.governance_keys import GovernanceKeys
from schemas.topics import written_by
from schemas.trail.notes import named_key
from schemas.trail.permits import Trust
from schemas.wire.public_keys import public_bytes
from schemas.wire.signed import sign
from services.runtime.logs import log
from services.runtime.peers import internal_client
from services.runtime.process import Parts, Runtime, main
from services.runtime.settings import secret_from
from services.runtime.sweeper import Sweeper
from services.runtime.tokens import token_reader_of
from services.runtime.transaction import Transaction
from services.sector.api import Engine, FeedNotifier, described_app, release_app, sector_app
from services.sector.api.vault import vault_routes
from services.sector.domain.profile import Profile
from services.sector.handlers.requests import fold_denials
from services.sector.handlers.work import Work
from services.sector.ledger import LedgerGate, LedgerKeeper, ToldLedger
from services.sector.owners import ANSWER_WITHIN_SECONDS as OWNER_SECONDS
from services.sector.owners import OwnerSectors
from services.sector.permits import Permits
from services.sector.releases import Releases
from services.sector.reports import Delivery
from services.sector.settings import SectorSettings
from services.sector.store.cases import CaseStore, ReplyStore
from services.sector.store.closures import ClosureStore
from services.sector.store.keys import KeyRecordStore
from services.sector.store.packets import PacketStore
from services.sector.store.register import RegisterStore
from services.sector.store.reports import ReportStore
from services.sector.store.views import ViewStore
from services.sector.subscriptions import subscriptions
from services.sector.upkeep import VaultUpkeep
from services.sector.vault.log_size import LogSize
from services.sector.vault_client import VaultClient

LEDGER_SECONDS: Final = 5.0
"""How often closures are looked for that a request left undone."""
UPKEEP_SECONDS: Final = 5.0
"""How often a vault is looked after when no commit of this process left keys for it."""
FOLD_SECONDS: Final = 5.0
"""How often denials whose time is over are looked for."""


def wire(profile: Profile) -> Callable[[Runtime, SectorSettings], Parts]:
    """The parts of a sector service, for any profile."""

    def parts(runtime: Runtime, settings: SectorSettings) -> Parts:
        seed = b64decode(secret_from(settings.signing_key_file).get_secret_value(), validate=True)
        signing_key = Ed25519PrivateKey.from_private_bytes(seed)
        keys = GovernanceKeys.read(settings.governance_keys_file.read_bytes())
        feeds = FeedNotifier(runtime.siblings)
        vault = VaultClient(settings.vault.socket)
        vault_key = public_bytes(settings.vault.key)

        def work_on(transaction: Transaction) -> Work:
            return Work(
                profile=profile,
                clock=runtime.clock,
                keys=keys,
                cases=CaseStore(transaction, signing_key.sign),
                packets=PacketStore(transaction, vault_key, keeping.wake),
                closures=ClosureStore(transaction, ledger.wake),
                views=ViewStore(transaction, feeds.notify),
                register=RegisterStore(transaction),
                reports=ReportStore(transaction, sweeper.wake_within),
                key_records=KeyRecordStore(transaction),
                replies=ReplyStore(transaction),
                send=partial(runtime.outbox.add, transaction),
                sign=partial(sign, private=signing_key),
                log_stray=log_stray,
            )

        open_work = runtime.database.opener(work_on)
        work_singly = runtime.database.opener(work_on, singly=True)

        async def fold() -> bool:
            if delivery.is_full:
                return False  # they are counted on
            async with open_work() as work:
                return await fold_denials(work)

        # Looks, reports and proofs have a client each: none can use up the others' connections.
        clients = [internal_client(settings.tls, "audit", base_url=settings.trail_url) for _ in range(3)]
        follows_another = LogSize(settings.log_size_file, settings.log).follows_another
        new_log = settings.log if follows_another else None
        delivery = Delivery(clients[0], vault, work_singly, new_log, settings.reports_max)
        sweeper = Sweeper("reports", settings.report_every_seconds, delivery.sweep)
        trust = Trust(
            settings.log, (named_key(settings.audit.permit_key),), named_key(settings.audit.log_key)
        )
        told = ToldLedger(clients[2], runtime.identity.source, trust)
        keeper = LedgerKeeper(vault, open_work, told)
        ledger = Sweeper("ledger", LEDGER_SECONDS, keeper.sweep)
        show = Permits(
            clients[1],
            audience=runtime.identity.source,
            trust=trust,
            open_work=open_work,
            size_file=settings.log_size_file,
            has_room=lambda: not delivery.is_full,
        )
        upkeep = VaultUpkeep(vault, clients[2], open_work, runtime.clock)
        keeping = Sweeper("vault", UPKEEP_SECONDS, upkeep.sweep)

        async def ask_trail(request: PermitRequest) -> bytes:
            await keeper.replay()
            return await show.ask_trail(request)

        releases = Releases(vault, ask_trail, open_work)
        owners = {
            sector: internal_client(settings.tls, sector, base_url=url, seconds=OWNER_SECONDS)
            for sector, url in settings.peers.items()
            if sector != profile.name
        }
        caller = token_reader_of(settings.issuer, runtime.identity.source, runtime.clock)
        return Parts(
            subscriptions=subscriptions(profile),
            writes=written_by(profile.name),
            open_work=work_on,
            api=sector_app(
                Engine(
                    profile=profile,
                    caller=caller,
                    open=open_work,
                    read=work_singly,
                    show=LedgerGate(keeper, show),
                    digest=keyed_digest(seed),
                    packets=releases,
                    forward=OwnerSectors(owners),
                    feeds=feeds,
                    has_room=lambda: not (runtime.outbox.is_full or delivery.is_full),
                )
            ),
            internal=release_app(releases, work_singly, runtime.identity.cell, profile.calls_itself),
            operators=vault_routes(vault, keeping.wake),
            before_serving=keeper.take_back,
            sweepers=(sweeper, keeping, ledger, Sweeper("denials", FOLD_SECONDS, fold)),
            alarms=(delivery.alarms, upkeep.alarms, show.alarms),
            closes=[*(client.aclose for client in (*clients, *owners.values())), vault.close],
        )

    return parts


def keyed_digest(seed: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA256 under a key that follows from this service's secret."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"concert/idempotency/v1").derive(seed)
    return partial(hmac.digest, key, digest="sha256")


def log_stray(event: str, refused: Sequence[FactBase]) -> None:
    """Tell in one line that steps went out from here which no agency of this sector has asked for."""
    log().error(event, count=len(refused), agency_id=refused[0].to)


def run_service(profile: Profile) -> None:
    """`python -m services.<sector> run|migrate|openapi`."""
    main(profile.name, SectorSettings, wire(profile), lambda: described_app(profile))
