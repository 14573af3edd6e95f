"""How what she told one agency is sealed as it is written: after that, only the vault can read it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from schemas.events.access import Code, SubjectId
from schemas.events.packet import GROUP_MODELS, GROUP_SCHEMA, GROUPS, PacketPart
from schemas.ids import KeysetId
from schemas.wire.body import Count
from schemas.wire.packets import (
    CASE_KEY,
    DATA_KEY_BYTES,
    IntakeKey,
    PacketTooLarge,
    encrypt_group,
    wrap_for_intake,
)
from services.runtime.refusals import TooLarge
from services.sector.domain.refusals import TooManyVersions
from services.sector.vault.requests import DataKeyWrap, StoredGroup

VERSIONS_MAX: Final = 100
"""How many versions a group may have; each stays, because releases of it name it."""

Random = Callable[[int], bytes]
NewId = Callable[[str], str]


class NumberedSubject(BaseModel):
    """A subject of a case as it waits for the trail: its key is the vault's to derive, when it is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: SubjectId
    keyset: KeysetId
    number: Count
    retention: Code


@dataclass(frozen=True, slots=True)
class PacketWriter:
    """Seals to one intake key for one keyset; `random` and `new_id` draw what must never come twice."""

    intake: IntakeKey
    keyset: str
    random: Random
    new_id: NewId

    def wrap_case_key(self, case_key: bytes) -> DataKeyWrap:
        """The key of her tags in the trail, which from here on only the vault can use."""
        return self._wrap(CASE_KEY, "1", case_key)

    def write(
        self, packet: str, agency: str, versions: Mapping[str, int], group: str, content: PacketPart
    ) -> list[StoredGroup]:
        """A new version of a group; with the first one all others too, empty, so that presence tells nothing.

        `versions` are the newest of each group so far.
        """
        contents = {group: content}
        if not versions:
            contents = {name: GROUP_MODELS[name]() for name in GROUPS} | contents
        return [
            self._sealed(packet, agency, name, versions.get(name, 0) + 1, one)
            for name, one in contents.items()
        ]

    def _sealed(self, packet: str, agency: str, group: str, version: int, content: PacketPart) -> StoredGroup:
        if version > VERSIONS_MAX:
            raise TooManyVersions
        data_key = self.random(DATA_KEY_BYTES)
        wrap = self._wrap(group, str(version), data_key)
        schema = GROUP_SCHEMA.format(group=group)
        place = wrap.packet_place(self.intake.sector, packet, agency, schema)
        try:
            ct, kc = encrypt_group(place, data_key, content.model_dump_json(exclude_none=True).encode())
        except PacketTooLarge:  # our spelling is a few bytes longer than the agency's own
            raise TooLarge from None
        return StoredGroup(wrap=wrap, packet=packet, agency=agency, schema_name=schema, kc=kc, ct=ct)

    def _wrap(self, group: str, version: str, data_key: bytes) -> DataKeyWrap:
        key = self.new_id("data_key")
        return DataKeyWrap(
            keyset=self.keyset,
            key=key,
            group=group,
            version=version,
            epoch=self.intake.epoch,
            wrap=wrap_for_intake(self.intake, self.keyset, key, group, version, data_key),
            is_adopted=False,
        )
