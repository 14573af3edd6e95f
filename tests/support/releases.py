"""A sector's releases with a real vault, governance's signed documents and a small trail."""

import secrets
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from schemas.events.access import Actor
from schemas.events.governance import ProtocolCurrent, ServiceCurrent
from schemas.events.packet import GROUP_MODELS
from schemas.events.pulls import PacketPull, PullAnswer
from schemas.wire.hpke import new_pair
from schemas.wire.key_records import sign_key_record
from schemas.wire.packets import open_release
from schemas.wire.public_keys import written
from schemas.wire.topic import source_of
from services.sector.domain.bodies import OfferRequest
from services.sector.handlers.packets import write_group
from services.sector.handlers.requests import offer
from services.sector.permits import Permits
from services.sector.releases import Releases
from services.sector.vault.keys import KeyFiles
from services.sector.vault.operations import Vault, VaultTrust
from services.sector.vault_client import VaultClient
from tests.support.builders import OWNER, RECEIVER, a_protocol_current, a_service, agency_key
from tests.support.clock import NOON
from tests.support.governance import KEYS
from tests.support.intake import VAULT_KEY, VAULT_PUBLIC
from tests.support.scenes import a_case, a_recorded_consent, an_offer_asked, asker
from tests.support.sector import CELL, SIGNING_KEY, StoredSector
from tests.support.trail import TrailTwin

SAFE: Final[dict[str, Any]] = {
    "channels": ["call"],
    "hours": [{"days": ["monday"], "from_time": "09:00", "until_time": "17:00"}],
    "zone": "Africa/Nairobi",
}
CONTENTS: Final[Mapping[str, Any]] = {
    "contact": {"safe_contact": SAFE, "name": "Canary Name", "phone": "+000 000 000"},
    "clinical": {"injuries": "canary injuries", "pep": "given"},
    "protection": {"home": "canary road", "violence_types": ["rape"]},
}
PRIVATE, PUBLIC = new_pair(2)


class DirectVault(VaultClient):
    """A vault in this process, asked frame by frame; `is_away` makes it as if it were not there."""

    def __init__(self, vault: Vault) -> None:
        super().__init__(Path("nowhere"))
        self.vault = vault
        self.is_away = False

    async def _exchange(self, content: bytes) -> bytes:
        if self.is_away:
            raise ConnectionRefusedError
        return self.vault.answer(content[4:])


class ReleaseScene:
    """The owner's sector: a case with a packet, her consent to the receiver, an accepted referral."""

    def __init__(self, sector: StoredSector, folder: Path) -> None:
        self.sector = sector
        name = sector.profile.name
        audience = source_of(CELL, name)
        self.trail = TrailTwin(audience)
        trust = VaultTrust(sector=name, audience=audience, trail=self.trail.trust, governance=KEYS)
        provider = KeyFiles(folder, secrets.token_bytes)
        within = timedelta(seconds=60)
        self.vault = DirectVault(
            Vault(folder, trust, VAULT_KEY, provider, sector.clock, settle_within=within)
        )
        permits = Permits(
            self.trail.client(), audience=audience, trust=self.trail.trust, open_work=sector.open
        )
        self.ask_trail = permits.ask_trail
        self.releases = Releases(self.vault, permits.ask_trail, sector.open)
        self.given: list[bytes] = []

    def beside(self, sector: StoredSector) -> "ReleaseScene":
        """The same vault and trail, asked over another connection of the same database."""
        other = copy(self)
        other.sector, other.given = sector, []
        other.releases = Releases(self.vault, self.ask_trail, sector.open)
        return other

    async def prepare(self, contents: Mapping[str, Any] = CONTENTS, **scope: Any) -> str:
        """Everything in place; gives the referral."""
        sector, work = self.sector, self.sector.work
        await sector.rows("UPDATE intake_key SET not_after = not_before")
        await work.packets.keep_intake(await self.vault.intake())
        keys = {
            "signing_key": written(SIGNING_KEY.public_key().public_bytes_raw()),
            "vault_key": written(VAULT_PUBLIC),
        }
        await work.register.keep(ProtocolCurrent, [a_protocol_current()])
        await work.register.keep(ServiceCurrent, [a_service(sector.profile.name, **keys)])
        case = await a_case(sector)
        for group, content in contents.items():
            model = GROUP_MODELS[group].model_validate(content)
            await write_group(group, model, case, asker(), work)
        consent = await a_recorded_consent(sector, case, **scope)
        return await self.referral(case, consent)

    async def referral(self, case: str, consent: str, receiver: str = RECEIVER) -> str:
        """An accepted referral of a case, as its owner's service has it."""
        asked = OfferRequest.model_validate(an_offer_asked(case, consent, groups=[]))
        referral = str((await offer(asked, asker(), self.sector.work)).body["referral"])
        await self.accept(referral, receiver)
        return referral

    async def accept(self, referral: str, receiver: str = RECEIVER) -> None:
        """Let a receiver accept, and the trail know the referral by the vault's key for it."""
        await self.move(referral, "accepted", receiver)
        view = await self.sector.view(OWNER, referral)
        wraps = await self.sector.work.packets.case_wraps(
            [(await self.sector.work.cases.find(str(view.case), OWNER)).keyset]
        )
        [wrap] = wraps.values()
        self.trail.keys[referral] = await self.vault.subject(wrap, int(view.subject_number or 0))

    async def move(self, referral: str, state: Any, receiver: str = RECEIVER) -> None:
        """Let the owner's view stand in a state."""
        view = await self.sector.view(OWNER, referral)
        offered = {"owner": OWNER, "receiver": receiver}
        protocol = a_protocol_current().hash
        await self.sector.work.views.save([replace(view, state=state, offer=offered, protocol=protocol)])

    def pull(self, referral: str, *groups: str, by: str = RECEIVER, **changes: Any) -> PacketPull:
        """A pull as the recipient's sector sends it."""
        record = sign_key_record(
            changes.pop("signed_by", agency_key(by)),
            holder=by,
            suite=2,
            public=PUBLIC,
            not_before=NOON - timedelta(days=1),
            not_after=NOON + timedelta(days=60),
        )
        words = {"referral": referral, "purpose": "care", "groups": groups, "recipient": by}
        actor = Actor(id="nurse-1", role="nurse", client="ward-system")
        return PacketPull.model_validate(words | {"actor": actor, "key_record": record} | changes)

    async def released(self, pull: PacketPull) -> Mapping[str, Any]:
        """What the recipient opens."""
        await self.releases.release(await self.releases.permit(pull), self.take)
        answer = PullAnswer.model_validate_json(self.given[-1])
        return open_release(answer.release, PRIVATE, VAULT_PUBLIC)

    async def take(self, content: bytes) -> None:
        """The recipient's connection."""
        self.given.append(content)
