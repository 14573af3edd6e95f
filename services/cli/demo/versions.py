"""The next version of the protocol, tried twice in vain: without civil society, and with one signature."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from schemas.events.governance import ProtocolCurrent, ProtocolDocument
from schemas.topics import GOVERNANCE_STATE
from schemas.wire import envelope
from schemas.wire.body import key_of
from schemas.wire.topic import source_of
from services.cli.demo.partner_checks import NOT_SIGNED, READERS, HalfSigned, UndecidedVersion
from services.cli.demo.partners import MECHANISM, Partnership, partnership
from services.cli.demo.trial import Trial, protocol, until
from services.runtime.clock import SystemClock
from services.runtime.ids import new_id

_NUMBER: Final = """
UPDATE sequence_out SET last = last + 1 WHERE topic = $1 AND key = $2 RETURNING last"""
_SEND: Final = "INSERT INTO outbox (shard, topic, key, sequence, value) VALUES (0, $1, $2, $3, $4)"
_SET_ASIDE: Final = "SELECT reason FROM dead_letter WHERE topic = $1 AND key = $2 AND state = 'waiting'"
_PUT_AWAY: Final = """
UPDATE dead_letter SET state = 'discarded', value = NULL
WHERE topic = $1 AND key = $2 AND state = 'waiting'"""
_KEPT: Final = "SELECT coalesce(max(version), 0) FROM protocol WHERE id = $1"


async def try_next_version(
    trial: Trial,
) -> tuple[Mapping[str, UndecidedVersion], Mapping[str, HalfSigned]]:
    """What came of it: of the decision, and at each reader of what one holder signed."""
    document = protocol([agency.id for agency in trial.agencies]) | {"entry_fresh_for_days": 1}
    async with partnership(trial.installation, trial.issuer, trial.agencies) as partners:
        drafted = await partners.draft(document)
        half_signed = partners.signed(drafted, holders=1)
        await _send(trial.installation, half_signed)  # goes out with the facts of the acts that follow
        undecided = await _decide_without_civil_society(partners, drafted)
    return {f"{drafted.id}.{drafted.version}": undecided}, await _met_by_all(trial.installation, half_signed)


async def in_force_everywhere(installation: Installation, name: str, version: int) -> Mapping[str, int]:
    """Wait until every reader goes by a version; gives what each of them goes by."""

    async def goes_by(reader: str) -> int:
        async with installation.server.connection(DATABASES[reader].name) as connection:

            async def is_so() -> bool:
                return bool(await connection.fetchval(_KEPT, name) >= version)

            await until(is_so, f"{reader} goes by version {version}")
            return int(await connection.fetchval(_KEPT, name))

    return dict(zip(READERS, await asyncio.gather(*map(goes_by, READERS)), strict=True))


async def _decide_without_civil_society(partners: Partnership, drafted: ProtocolDocument) -> UndecidedVersion:
    """A seat is given up, every other one votes for the version, and the seat is filled again."""
    name, seat = f"{drafted.id}.{drafted.version}", partners.seated["civil_society"]
    await partners.client.act(f"seat {seat}", f"committees/{MECHANISM}/resign")
    async with partners.meeting(MECHANISM, name) as meeting:
        code = await partners.decide(MECHANISM, meeting, partners.point(drafted))
    await partners.fill(MECHANISM, seat)
    secretary = f"secretary {partners.seated['social_services']}"
    return UndecidedVersion(code, (await partners.client.read(secretary, f"protocols/{name}"))["state"])


async def _send(installation: Installation, body: ProtocolCurrent) -> None:
    """Bring it onto the topic as governance's own process would."""
    topic, key = GOVERNANCE_STATE.name(installation.kafka.namespace), key_of(body).encode()
    async with installation.server.connection(DATABASES["governance"].name) as connection:
        number = await connection.fetchval(_NUMBER, topic, key)
        value = envelope.write(
            GOVERNANCE_STATE,
            body,
            id=new_id("event"),
            source=source_of(installation.configuration.cell, "governance"),
            sequence=number,
            at=SystemClock().now(),
        )
        await connection.execute(_SEND, topic, key, number, value)


async def _met_by_all(installation: Installation, body: ProtocolCurrent) -> Mapping[str, HalfSigned]:
    met = await asyncio.gather(*(_met(installation, reader, body) for reader in READERS))
    return dict(zip(READERS, met, strict=True))


async def _met(installation: Installation, reader: str, body: ProtocolCurrent) -> HalfSigned:
    """How a reader met it, once it has set it aside or taken it.

    The letter is then put away as an administrator of the database would, for the demo is nobody's second
    person: an installation that goes on has no alarm of it.
    """
    topic = GOVERNANCE_STATE.name(installation.kafka.namespace)
    key, version = key_of(body), body.document.version
    async with installation.server.connection(DATABASES[reader].name) as connection:
        ask_kept = partial(connection.fetchval, _KEPT, key)
        ask_reason = partial(connection.fetchval, _SET_ASIDE, topic, key.encode())

        async def is_met() -> bool:
            return bool(await ask_reason()) or await ask_kept() >= version

        await until(is_met, f"{reader} has met the version with one signature")
        met = HalfSigned(version, await ask_reason(), await ask_kept())
    if met.reason == NOT_SIGNED:
        async with installation.server.connection(DATABASES[reader].name) as connection:
            await connection.execute(_PUT_AWAY, topic, key.encode())
    return met
