"""How what she told one agency is sealed as it is written: after that, only the vault can read it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from schemas.events.packet import GROUP_MODELS, GROUP_SCHEMA, GROUPS, PacketPart
from schemas.wire.packets import (
    CASE_KEY,
    DATA_KEY_BYTES,
    IntakeKey,
    PacketPlace,
    PacketTooLarge,
    encrypt_group,
    wrap_for_intake,
)
from services.runtime.refusals import TooLarge
from services.sector.domain.refusals import TooManyVersions

VERSIONS_MAX: Final = 100
"""How many versions a group may have; each stays, because releases of it name it."""

Random = Callable[[int], bytes]
NewId = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class KeyWrap:
    """A data key of a keyset, wrapped to the vault's intake key, or, once adopted, under the vault's own."""

    key: str
    keyset: str
    group: str
    version: int
    epoch: str
    wrap: bytes = field(repr=False)
    is_adopted: bool = False


@dataclass(frozen=True, slots=True)
class GroupVersion:
    """One version of a field group at rest (`xpkt/1`)."""

    packet: str
    group: str
    version: int
    key: str
    agency: str
    schema: str
    kc: bytes = field(repr=False)
    ct: bytes = field(repr=False)
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class PacketWriter:
    """Seals to one intake key; `random` and `new_id` draw what must never come twice."""

    intake: IntakeKey
    random: Random
    new_id: NewId

    def wrap_case_key(self, keyset: str, case_key: bytes) -> KeyWrap:
        """The key of her tags in the trail, which from here on only the vault can use."""
        return self._wrap(keyset, CASE_KEY, 1, case_key)

    def write(
        self,
        place: tuple[str, str, str],
        versions: Mapping[str, int],
        group: str,
        content: PacketPart,
        at: datetime,
    ) -> list[tuple[KeyWrap, GroupVersion]]:
        """A new version of a group; with the first one all others too, empty, so that presence tells nothing.

        `place` is packet, keyset and agency, `versions` the newest of each group so far.
        """
        contents = {group: content}
        if not versions:
            contents = {name: GROUP_MODELS[name]() for name in GROUPS} | contents
        return [
            self._sealed(place, name, versions.get(name, 0) + 1, one, at) for name, one in contents.items()
        ]

    def _sealed(
        self, place: tuple[str, str, str], group: str, version: int, content: PacketPart, at: datetime
    ) -> tuple[KeyWrap, GroupVersion]:
        if version > VERSIONS_MAX:
            raise TooManyVersions
        packet, keyset, agency = place
        data_key = self.random(DATA_KEY_BYTES)
        wrap = self._wrap(keyset, group, version, data_key)
        schema = GROUP_SCHEMA.format(group=group)
        bound = PacketPlace(self.intake.sector, packet, keyset, wrap.key, group, str(version), agency, schema)
        try:
            ct, kc = encrypt_group(bound, data_key, content.model_dump_json(exclude_none=True).encode())
        except PacketTooLarge:  # our spelling is a few bytes longer than the agency's own
            raise TooLarge from None
        return wrap, GroupVersion(packet, group, version, wrap.key, agency, schema, kc, ct, at)

    def _wrap(self, keyset: str, group: str, version: int, data_key: bytes) -> KeyWrap:
        key = self.new_id("data_key")
        wrap = wrap_for_intake(self.intake, keyset, key, group, str(version), data_key)
        return KeyWrap(key, keyset, group, version, self.intake.epoch, wrap)
