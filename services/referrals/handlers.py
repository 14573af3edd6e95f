"""What the arbiter does with each kind of input: whole batches, pure rules, one save."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from schemas.events.directory import ServiceRegistered
from schemas.events.governance import AgencyCurrent, ProtocolCurrent
from schemas.events.governance_keys import GovernanceKeys, news_of
from schemas.events.referral import OfferReferral, RedirectReferral, ReofferReferral, StepBase
from schemas.events.unmet_need import ReportUnmetNeed, UnmetNeedRecorded
from schemas.wire.body import unlisted
from schemas.wire.envelope import ReadEvent
from services.referrals.domain.gate import InForce
from services.referrals.domain.referral import Outcome, Referral, due
from services.referrals.domain.steps import decide
from services.runtime.clock import Clock
from services.runtime.errors import Invalid

SWEPT_MAX: Final = 500
"""How many due referrals one transaction of the sweeper takes."""


class Store(Protocol):
    """Referrals and what stands around them; each method may raise Unavailable, all is durable at commit."""

    async def load(self, ids: Collection[str]) -> Mapping[str, Referral | None]:
        """Lock, in id order, waiting for others who hold them; a value or None for each id asked for."""

    async def due(self, at: datetime, most: int) -> Sequence[Referral]:
        """Lock referrals with something due that no other sweeper holds."""

    async def save(self, outcomes: Sequence[Outcome], in_force: InForce) -> None:
        """Keep what changed, with the facts that explain it, numbered for each party."""

    async def in_force(
        self, agencies: Collection[str], services: Collection[str], protocols: Collection[str]
    ) -> InForce:
        """What is known of these agencies and services, and of the agencies that offer the services."""

    async def last_agencies(self, agencies: Collection[str]) -> Mapping[str, AgencyCurrent]:
        """The last good document of each that is known."""

    async def last_protocols(self, protocols: Collection[str]) -> Mapping[str, ProtocolCurrent]:
        """The last good document of each that is known."""

    async def keep_agencies(self, agencies: Sequence[AgencyCurrent]) -> None:
        """Keep the newest version of each."""

    async def keep_protocols(self, protocols: Sequence[ProtocolCurrent]) -> None:
        """Keep each by its hash, and which version of each is the newest."""

    async def count_unmet(self, needs: Sequence[UnmetNeedRecorded], at: datetime) -> None:
        """Keep and publish those needs whose id is new; each id once."""

    async def keep_entries(self, entries: Sequence[ServiceRegistered], at: datetime) -> int:
        """Keep and publish the directory's entries that are new or changed; says how many those are."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler may touch, opened for one transaction."""

    store: Store
    clock: Clock
    keys: GovernanceKeys


async def answer_steps(steps: Sequence[ReadEvent[Any]], work: Work) -> None:
    """Decide what is asked of referrals, and count the needs for which no service was found."""
    asked = [event for event in steps if isinstance(event.body, StepBase)]
    reported = [event.body for event in steps if isinstance(event.body, ReportUnmetNeed)]
    if asked:
        await decide_steps(asked, work)
    if reported:
        await count_unmet(reported, work)


async def count_unmet(reported: Sequence[ReportUnmetNeed], work: Work) -> None:
    """Count needs by what was needed, where, and in which month; a code that no list has counts nothing."""
    if any(map(unlisted, reported)):
        raise Invalid("schema_mismatch", "data")
    at = work.clock.now()
    named = {one.unmet: one.model_dump() for one in reported}
    facts = [UnmetNeedRecorded(**content, month=f"{at:%Y-%m}") for content in named.values()]
    await work.store.count_unmet(facts, at)


async def decide_steps(steps: Sequence[ReadEvent[StepBase]], work: Work) -> None:
    """Answer each step in the order it came; a refusal is saved like any other fact."""
    successors = {
        asked.id: asked.body.successor for asked in steps if isinstance(asked.body, RedirectReferral)
    }
    known = dict(await work.store.load({*(asked.key for asked in steps), *successors.values()}))
    in_force = await _around(known.values(), steps, work)
    outcomes: list[Outcome] = []
    for asked in steps:
        successor = known[successors[asked.id]] if asked.id in successors else None
        outcome = decide(known[asked.key], asked, in_force, at=work.clock.now(), successor=successor)
        for one in (outcome, outcome.successor):
            if one:
                known[one.referral.id if one.referral else asked.key] = one.referral
                outcomes.append(one)
    await work.store.save(outcomes, in_force)


async def keep_agencies_and_protocols(
    events: Sequence[ReadEvent[AgencyCurrent | ProtocolCurrent]], work: Work
) -> None:
    """Remember what governance says is in force, once two of its keys have signed it."""
    bodies = [event.body for event in events]
    agencies = [body for body in bodies if isinstance(body, AgencyCurrent)]
    protocols = [body for body in bodies if isinstance(body, ProtocolCurrent)]
    last_agencies = await work.store.last_agencies({one.agency for one in agencies})
    last_protocols = await work.store.last_protocols({one.document.id for one in protocols})
    await work.store.keep_agencies(news_of(agencies, last_agencies, work.keys))
    await work.store.keep_protocols(news_of(protocols, last_protocols, work.keys))


async def expire_and_remind(work: Work) -> int:
    """Do what the clock asks of referrals that are due; says how many there were, at most `SWEPT_MAX`."""
    at = work.clock.now()
    found = await work.store.due(at, SWEPT_MAX)
    if found:
        in_force = await _around(found, (), work)
        known = ((one, in_force.protocols[one.protocol]) for one in found)
        outcomes = [outcome for one, document in known if (outcome := due(one, document, at=at))]
        await work.store.save(outcomes, in_force)
    return len(found)


async def _around(
    referrals: Collection[Referral | None], steps: Sequence[ReadEvent[StepBase]], work: Work
) -> InForce:
    live = [referral for referral in referrals if referral]
    asking = {asked.body.agency for asked in steps}
    parties = {agency for referral in live for agency in referral.parties}
    named = {
        asked.body.service for asked in steps if isinstance(asked.body, (OfferReferral, RedirectReferral))
    }
    again = {asked.key for asked in steps if isinstance(asked.body, ReofferReferral)}
    services = named | {referral.service for referral in live if referral.id in again}
    protocols = {one.protocol for one in live if one.protocol}
    return await work.store.in_force(asking | parties, services, protocols)
