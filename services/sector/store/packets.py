"""Packets at rest, their wrapped keys and the vault's intake keys in PostgreSQL; the promises: `Packets`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from schemas.wire.packets import CASE_KEY, IntakeKey
from schemas.wire.signed import SignatureWrong, check_signature
from services.runtime.transaction import Row, Transaction, columns
from services.sector.domain.refusals import IntakeMissing
from services.sector.handlers.work import HeldGroup, Packets, ReleaseRecord
from services.sector.vault.requests import DataKeyWrap, StoredGroup

_WRAP: Final = 'key, keyset, "group", version, epoch, wrap, is_adopted'
_ADD_KEYS: Final = f"""
INSERT INTO data_key ({_WRAP})
SELECT * FROM unnest(CAST(:key AS text[]), CAST(:keyset AS text[]), CAST(:group AS text[]),
  CAST(:version AS integer[]), CAST(:epoch AS text[]), CAST(:wrap AS bytea[]),
  CAST(:is_adopted AS boolean[]))"""  # noqa: S608  names of columns
_ADD_GROUPS: Final = """
INSERT INTO packet_group (packet, "group", version, key, agency, schema, kc, ct, recorded_at)
SELECT packet, "group", version, key, agency, schema, kc, ct, :at
FROM unnest(CAST(:packet AS text[]), CAST(:group AS text[]), CAST(:version AS integer[]),
    CAST(:key AS text[]), CAST(:agency AS text[]), CAST(:schema_name AS text[]), CAST(:kc AS bytea[]),
    CAST(:ct AS bytea[]))
  AS row (packet, "group", version, key, agency, schema, kc, ct)"""
_VERSIONS: Final = """
SELECT "group", max(version) AS version FROM packet_group WHERE packet = :packet GROUP BY "group" """
_NEWEST: Final = """
SELECT DISTINCT ON (g."group") g.packet, g."group", g.version, g.key, g.agency, g.schema AS schema_name,
  g.kc, g.ct, k.keyset, k.epoch, k.wrap, k.is_adopted
FROM packet_group g JOIN data_key k ON k.key = g.key
WHERE g.packet = :packet AND g."group" = ANY(CAST(:groups AS text[]))
ORDER BY g."group", g.version DESC"""
_CASE_WRAPS: Final = f"""
SELECT {_WRAP} FROM data_key
WHERE keyset = ANY(CAST(:keysets AS text[])) AND "group" = '{CASE_KEY}' AND version = 1"""  # noqa: S608  constants
_UNADOPTED: Final = f"""
SELECT {_WRAP} FROM data_key WHERE NOT is_adopted ORDER BY key LIMIT :limit"""  # noqa: S608  names of columns
_BEHIND: Final = f"""
SELECT {_WRAP} FROM data_key WHERE key > :after AND epoch <> :epoch ORDER BY key LIMIT :limit"""  # noqa: S608  the same
_ADOPT: Final = """
UPDATE data_key k SET epoch = w.epoch, wrap = w.wrap, is_adopted = true
FROM unnest(CAST(:key AS text[]), CAST(:before AS bytea[]), CAST(:epoch AS text[]), CAST(:wrap AS bytea[]))
  AS w (key, before, epoch, wrap)
WHERE k.key = w.key AND k.wrap = w.before"""
_INTAKE: Final = """
SELECT CAST(document AS text) AS document FROM intake_key
WHERE not_before <= :at AND not_after > :at
ORDER BY not_before DESC, length(epoch), epoch LIMIT 1"""
_KEEP_INTAKE: Final = """
INSERT INTO intake_key (epoch, document, not_before, not_after)
SELECT epoch, CAST(document AS jsonb), not_before, not_after
FROM unnest(CAST(:epoch AS text[]), CAST(:document AS text[]), CAST(:not_before AS timestamptz[]),
  CAST(:not_after AS timestamptz[])) AS row (epoch, document, not_before, not_after)
ON CONFLICT (epoch) DO UPDATE SET document = excluded.document, not_before = excluded.not_before,
  not_after = excluded.not_after"""
_RELEASED: Final = """
INSERT INTO release_made (release, "group", version, case_id, referral, agency, released_at)
SELECT :release, "group", version, :case, :referral, :agency, :at
FROM unnest(CAST(:groups AS text[]), CAST(:versions AS integer[])) AS row ("group", version)"""
_HOLDERS: Final = """
SELECT referral, agency, "group", max(version) AS version, max(released_at) AS released_at
FROM release_made WHERE case_id = :case_id GROUP BY referral, agency, "group" ORDER BY referral, "group" """


class PacketStore(Packets):
    """Sealed rows alone: nothing here can be read without the vault."""

    def __init__(self, transaction: Transaction, vault_key: bytes, wake: Callable[[], None]) -> None:
        """`vault_key` verifies intake keys; `wake` is called after a commit that left keys to adopt."""
        self._transaction = transaction
        self._vault_key = vault_key
        self._wake = wake

    async def intake(self, at: datetime) -> IntakeKey:
        for row in await self._transaction.rows(_INTAKE, at=at):
            key = IntakeKey.model_validate_json(row.document)
            with suppress(SignatureWrong):  # whoever put another key here would read what is written next
                check_signature(key, self._vault_key)
                return key
        raise IntakeMissing

    async def keep_intake(self, keys: Sequence[IntakeKey]) -> None:
        documents = [key.model_dump_json() for key in keys]
        named = columns(keys, "epoch", "not_before", "not_after")
        await self._transaction.run(_KEEP_INTAKE, **named, document=documents)

    async def add(self, keys: Sequence[DataKeyWrap]) -> None:
        await self._transaction.run(_ADD_KEYS, **_key_columns(keys))
        self._transaction.after_commit.append(self._wake)

    async def write(self, groups: Sequence[StoredGroup], at: datetime) -> None:
        wraps = [group.wrap for group in groups]
        await self.add(wraps)
        named = columns(groups, "packet", "agency", "schema_name", "kc", "ct")
        await self._transaction.run(_ADD_GROUPS, **named, **_key_columns(wraps), at=at)

    async def versions(self, packet: str) -> Mapping[str, int]:
        rows = await self._transaction.rows(_VERSIONS, packet=packet)
        return {row.group: row.version for row in rows}

    async def newest(self, packet: str, groups: Collection[str]) -> Sequence[StoredGroup]:
        rows = await self._transaction.rows(_NEWEST, packet=packet, groups=list(groups))
        return [
            StoredGroup(
                wrap=_wrap_of(row),
                **{name: row[name] for name in ("packet", "agency", "schema_name", "kc", "ct")},
            )
            for row in rows
        ]

    async def case_wraps(self, keysets: Collection[str]) -> Mapping[str, DataKeyWrap]:
        rows = await self._transaction.rows(_CASE_WRAPS, keysets=list(keysets))
        return {row.keyset: _wrap_of(row) for row in rows}

    async def unadopted(self, limit: int) -> Sequence[DataKeyWrap]:
        return [_wrap_of(row) for row in await self._transaction.rows(_UNADOPTED, limit=limit)]

    async def behind(self, epoch: str, after: str, limit: int) -> Sequence[DataKeyWrap]:
        rows = await self._transaction.rows(_BEHIND, epoch=epoch, after=after, limit=limit)
        return [_wrap_of(row) for row in rows]

    async def adopt(self, keys: Mapping[bytes, DataKeyWrap]) -> None:
        rows = columns(list(keys.values()), "key", "epoch", "wrap")
        await self._transaction.run(_ADOPT, before=list(keys), **rows)

    async def record_release(self, record: ReleaseRecord) -> None:
        versions = {"groups": list(record.versions), "versions": list(record.versions.values())}
        await self._transaction.run(_RELEASED, **asdict(record) | versions)

    async def holders(self, case: str) -> Sequence[HeldGroup]:
        return [HeldGroup(*row) for row in await self._transaction.rows(_HOLDERS, case_id=case)]


def _key_columns(keys: Sequence[DataKeyWrap]) -> dict[str, list[Any]]:
    plain = columns(keys, "key", "keyset", "group", "epoch", "wrap", "is_adopted")
    return plain | {"version": [int(key.version) for key in keys]}


def _wrap_of(row: Row) -> DataKeyWrap:
    plain = {name: row[name] for name in ("key", "keyset", "group", "epoch", "wrap", "is_adopted")}
    return DataKeyWrap(**plain, version=str(row.version))
