"""What governance does with what the operator hands in, what partners do, and what time brings."""

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from pydantic import BaseModel

from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent, document_hash
from schemas.events.governance_keys import GovernanceBody, SignatureFault
from schemas.events.partnership import AgencyAdmitted, AgencySuspended
from schemas.topics import GOVERNANCE_FACTS, GOVERNANCE_STATE
from schemas.wire.body import Body, key_of
from schemas.wire.envelope import ReadEvent
from schemas.wire.topic import Topic
from services.governance.domain import publications
from services.governance.domain.composition import Committee
from services.governance.domain.figures import Figure, Indicator, digest_of
from services.governance.domain.founding import FoundedAlready, FoundingAct, founding_acts
from services.governance.domain.life_cycle import (
    CLOCK,
    ActOutcome,
    GovernanceRecord,
    GovernanceRegister,
    Nothing,
    PartnerAct,
    PartnerActor,
    perform,
)
from services.governance.domain.partners import Partner
from services.governance.domain.protocols import SharingVersion, versions
from services.governance.domain.publications import Kind, Publication, PublicationReceipt
from services.governance.domain.referral_facts import ReferralFact, referral_fact
from services.governance.domain.rules import FiguresUnread, Rules
from services.governance.domain.tables import CYCLES
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.errors import Refused, define_refusal

KEPT_AT_ONCE: Final = 500
"""How many acts one statement writes."""
FACTS_NAMED_MAX: Final = 200
"""Of how many acts a receipt names the facts."""
_TRIAL: Final = threading.Lock()
TrialRuns: Final = define_refusal(
    __name__, "trial_runs", "Another file is being tried now; send yours again in a while.", 429
)
ALARMING: Final[Sequence[tuple[str, str, Callable[[GovernanceRecord[Any]], bool]]]] = (
    ("committee_incomplete", "committee", lambda one: one.state == "incomplete"),
    ("mandate_ends_soon", "mandate", lambda one: one.state == "live" and one.content.warned > 1),
    ("recommendation_stalled", "recommendation", lambda one: one.state == "stalled"),
    ("protocol_ends_soon", "protocol", lambda one: one.state == "expiring"),
)
"""Which records are an alarm, and of which rule."""


class Publications(Protocol):
    """What was published; each method may raise Unavailable, all is durable at commit."""

    async def current(self, name: str) -> Publication | None:
        """The last version of this id, of whatever kind; waits for others, and none adds one until commit."""

    async def all(self, kind: Kind) -> Sequence[Publication]:
        """The last version of everything of this kind, by id."""

    async def hold(self, holder: str, keys: Collection[str]) -> bool:
        """Note whose keys these are, for good; waits for others who do. False if one is or was another's."""

    async def is_answered(self, organization: str, *, but: str) -> bool:
        """Whether an active agency but this one answers for it; waits for others; none joins until commit."""

    async def publish(self, publication: Publication) -> None:
        """Keep a version, and its event in the outbox of the same transaction."""


class StandingAlarms:
    """What a person must look at in how everything stands; asked from memory, without waiting."""

    def __init__(self, register: GovernanceRegister, clock: Clock) -> None:
        self._register = register
        self._clock = clock
        self._since: dict[str, datetime] = {}

    def __call__(self) -> Iterator[Alarm]:
        """Each rule once, however many records it concerns: their ids are chosen by others."""
        for rule, kind, concerns in ALARMING:
            if any(concerns(record) for record in self._register.of(kind)):
                yield Alarm(rule, kind, self._since.setdefault(rule, self._clock.now()))
            else:
                self._since.pop(rule, None)


class ActRepeat(NamedTuple):
    """An act that was done before: whether it is the last of all on its record, and of its partner."""

    is_last: bool
    is_own_last: bool


class NumberedAct(NamedTuple):
    """An act with its place among all acts, and the constituency for which it was done."""

    number: int
    outcome: ActOutcome
    constituency: str


class Acts(Protocol):
    """What the partners did; each method may raise Unavailable, all is durable at commit."""

    async def lock(self) -> GovernanceRegister:
        """How everything stands; waits for others, and nobody does anything until commit.

        One act at a time: quorum, composition and mandates rest on many records, and acts are rare.
        """

    async def register(self) -> GovernanceRegister:
        """How everything stands, without waiting."""

    async def due(self, at: datetime, most: int, but: int) -> Sequence[tuple[str, str]]:
        """Kind and id of records whose time has come, the longest due first, without the first few."""

    async def repeated(self, act: PartnerAct) -> ActRepeat | None:
        """What happened since the partner last did the very same to this record, if it ever did."""

    async def history(self, kind: str, name: str, after: int, limit: int) -> Sequence[Mapping[str, Any]]:
        """The acts on one record, in order."""

    async def keep(self, acts: Sequence[NumberedAct]) -> None:
        """Keep acts under their numbers, with how each record stands since."""

    async def tell(self, topic: Topic, told: Iterable[tuple[Body, datetime]]) -> None:
        """Put events into the outbox of the same transaction, each with its time."""


class Statistics(Protocol):
    """Facts kept to be counted, and what is counted of them; each method may raise Unavailable."""

    async def keep(self, facts: Sequence[ReferralFact]) -> None:
        """Keep each fact about a referral once, by its event."""

    async def keep_told(self, facts: Sequence[ReadEvent[Any]]) -> None:
        """Keep each fact of our own once, by its event."""

    async def figures_of(self, month: str) -> Sequence[Figure]:
        """Count people's referrals of one month anew; this is for a release alone."""

    async def public_figures(self) -> Sequence[Figure]:
        """What was counted last of the public acts of organisations."""

    async def count(self, indicators: Collection[Indicator]) -> None:
        """Count these anew, in place of what stands; waits for others who do."""

    async def figures(self) -> Sequence[Figure]:
        """Everything that was counted last, people's referrals too: for the operator's proof alone."""


class ActReceipt(BaseModel):
    """What stands after an act, whether the act changed anything, and what was told of it."""

    id: str
    state: str
    version: int
    is_news: bool
    facts: Sequence[str]


class RebuildReceipt(BaseModel):
    """How many figures were counted from the kept facts, and the SHA-256 of all of them."""

    figures: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler of this service may touch, opened for one transaction."""

    publications: Publications
    acts: Acts
    rules: Rules
    clock: Clock
    statistics: Statistics


def receipt_of(record: GovernanceRecord[Any], outcomes: Sequence[ActOutcome] = ()) -> ActReceipt:
    """How a record stands, after these outcomes or none."""
    facts = [fact.type for one in outcomes[:FACTS_NAMED_MAX] for fact in one.facts]
    return ActReceipt(
        id=record.id, state=record.state, version=record.version, is_news=bool(outcomes), facts=facts
    )


async def admit_agency(agency: AgencyCurrent, work: Work) -> PublicationReceipt:
    """Take the next version of an agency: a partner, with keys of its own, alone in its organisation."""
    publications.check_agency(agency)
    receipt = await _publish("agency", agency, work)
    if not receipt.is_news:
        return receipt
    if not await work.publications.hold(agency.agency, publications.keys_of(agency)):
        raise publications.KeyInUse
    answers = agency.status == "active"  # a suspension passes, whoever else is there
    if answers:
        publications.check_takes_part(agency, await work.acts.lock())  # no partner leaves meanwhile
    if answers and await work.publications.is_answered(agency.organization, but=agency.agency):
        raise publications.OrganizationInUse
    if agency.probe:
        return receipt  # what is told is counted
    fact = AgencyAdmitted if answers else AgencySuspended
    told = fact(agency=agency.agency, version=agency.version, sector=agency.sector)
    await work.acts.tell(GOVERNANCE_FACTS, [(told, work.clock.now())])
    return receipt


async def publish_service(service: ServiceCurrent, work: Work) -> PublicationReceipt:
    """Take the next version of a sector service; its keys are its own."""
    publications.check_service(service)
    receipt = await _publish("service", service, work)
    if receipt.is_news and not await work.publications.hold(service.service, publications.keys_of(service)):
        raise publications.KeyInUse
    return receipt


async def publish_probe_protocol(content: ProtocolCurrent, work: Work) -> PublicationReceipt:
    """Take the next version of a protocol among probes: nobody decides on it, for it shares nothing."""
    register = await work.acts.lock()  # nobody drafts a protocol of this id meanwhile
    if versions(register, content.document.id) or register.get(Partner.kind, content.document.id):
        raise publications.IdTaken
    agencies = await work.publications.all("agency")
    admitted = (one.content for one in agencies if isinstance(one.content, AgencyCurrent))
    publications.check_among_probes(content, admitted)
    return await _publish("protocol", content, work)


async def found(founding: FoundingAct, work: Work) -> ActReceipt:
    """Take the founding act: partners, the first committee and its mandate at once, or nothing of it.

    Handed in once more with another mandate, it gives the first committee that one: nobody stands above it.
    """
    register = await work.acts.lock()
    acts = founding_acts(founding, work.clock.now())
    *_, committee, mandate = acts
    known = register.get(committee.kind, committee.id)
    if register.of(Committee.kind):
        if known is None or not await work.acts.repeated(committee):
            raise FoundedAlready
        if register.get(mandate.kind, mandate.id):
            return receipt_of(known)
        acts = [mandate]
    try:
        work.rules.keys.check(founding)
    except SignatureFault as fault:
        raise publications.signature_refusal(fault) from None
    outcomes = perform(acts, register, CYCLES, work.rules)
    await _keep(outcomes, register, work)
    return receipt_of(known or next(one.record for one in outcomes if one.act is committee), outcomes)


def foresee(act: PartnerAct, register: GovernanceRegister, rules: Rules) -> None:
    """Refuse what takes long to try before anybody waits for it; blocks, and one at a time."""
    if register.get(act.kind, act.id):
        return
    if not _TRIAL.acquire(blocking=False):
        raise TrialRuns
    try:
        perform([act], register, CYCLES, rules)
    finally:
        _TRIAL.release()


async def perform_act(act: PartnerAct, work: Work) -> ActReceipt:
    """Do what a partner's person asks, and all that follows from it; the same again changes nothing.

    It is the same again where nothing was done since, or where it cannot be done a second time and its
    partner did nothing else since. A seat that was given up, filled and is given up again is no repeat.
    """
    register = await work.acts.lock()
    act = replace(act, at=work.clock.now())  # who waited for others acts now, not when it asked
    known, rows = register.get(act.kind, act.id), CYCLES[act.kind].names[act.name]
    repeat = await work.acts.repeated(act) if known else None
    if known and repeat and (repeat.is_last or any(row.once for row in rows)):
        return receipt_of(known)
    try:
        outcomes = await _perform(act, register, work)
    except Refused:
        if known and repeat and repeat.is_own_last:
            return receipt_of(known)
        raise
    await _keep(outcomes, register, work)
    return receipt_of(outcomes[0].record, outcomes)


async def _perform(act: PartnerAct, register: GovernanceRegister, work: Work) -> list[ActOutcome]:
    """Do an act; exact counts are read for one alone that nothing but these can refuse any more."""

    def play(rules: Rules) -> list[ActOutcome]:
        return perform([act], register, CYCLES, rules)

    try:
        if any(row.is_long for row in CYCLES[act.kind].names[act.name]):
            return await asyncio.to_thread(play, work.rules)  # under the lock nobody changes the register
        return play(work.rules)
    except FiguresUnread as unread:
        figures = await work.statistics.figures_of(unread.month)
        return await asyncio.to_thread(play, replace(work.rules, figures=figures))


async def act_on_time(kind: str, name: str, work: Work) -> bool:
    """Do what is due of one record now, if it still is; says whether it was."""
    register, now = await work.acts.lock(), work.clock.now()
    record = register.get(kind, name)
    timer = CYCLES[kind].timer(record) if record else None
    if timer is None or timer[0] > now:
        return False
    act = PartnerAct(kind, name, timer[1], PartnerActor(CLOCK), Nothing(), now)
    await _keep(perform([act], register, CYCLES, work.rules), register, work)
    return True


async def keep_referral_facts(received: Sequence[ReadEvent[Any]], work: Work) -> None:
    """Keep of each fact the codes that an indicator counts, and of most kinds of fact nothing."""
    await work.statistics.keep([fact for fact in map(referral_fact, received) if fact])


async def keep_governance_facts(received: Sequence[ReadEvent[Any]], work: Work) -> None:
    """Keep each fact of our own as it was told: it names organisations, bodies and counts."""
    await work.statistics.keep_told(received)


async def rebuild(indicators: Collection[Indicator], work: Work) -> RebuildReceipt:
    """Count everything anew from the kept facts; the same facts give the same digest."""
    await work.statistics.count(indicators)
    figures = await work.statistics.figures()
    return RebuildReceipt(figures=len(figures), sha256=digest_of(figures))


async def _check_unpublished(content: Any, work: Work) -> None:
    """Refuse a version of a protocol whose place is taken by what was published otherwise."""
    if isinstance(content, SharingVersion):
        last = await work.publications.current(content.document.id)
        if last and last.kind != "protocol":
            raise publications.IdTaken
        if last and last.version >= content.document.version:
            raise publications.VersionNotNext


async def _keep(outcomes: Sequence[ActOutcome], register: GovernanceRegister, work: Work) -> None:
    for one in outcomes:
        if one.record.state in ("draft", "in_force"):
            await _check_unpublished(one.record.content, work)
    numbered = []
    for number, one in enumerate(outcomes, register.seen + 1):
        partner = register.get(Partner.kind, one.act.actor.partner)
        numbered.append(NumberedAct(number, one, partner.content.constituency if partner else ""))
    for first in range(0, len(numbered), KEPT_AT_ONCE):
        some = numbered[first : first + KEPT_AT_ONCE]
        await work.acts.keep(some)
        await work.acts.tell(
            GOVERNANCE_FACTS, [(fact, one.outcome.act.at) for one in some for fact in one.outcome.facts]
        )
    for one in outcomes:
        if isinstance(one.current, ProtocolCurrent):
            document = one.current.document
            await work.publications.publish(
                Publication(
                    "protocol", document.id, document.version, one.current.hash, one.current, one.act.at
                )
            )
        elif one.current:
            await work.acts.tell(GOVERNANCE_STATE, [(one.current, one.act.at)])


async def _publish(kind: Kind, content: GovernanceBody, work: Work) -> PublicationReceipt:
    body = content.document if isinstance(content, ProtocolCurrent) else content
    name, version, digest = key_of(content), body.version, document_hash(body)
    publication = Publication(kind, name, version, digest, content, work.clock.now())
    last = await work.publications.current(name)
    is_news = publications.is_new(publication, last)
    if is_news:
        publications.check_signed(content, last, work.rules.keys)
        await work.publications.publish(publication)
    return PublicationReceipt(name, version, digest, is_news)
