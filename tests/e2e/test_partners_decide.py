"""Half a year of a partnership over HTTP: what partners decide, and what the referrals' gates make of it."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local import ports
from deploy.local.configuration import trial
from deploy.local.databases import DATABASES
from deploy.local.founding import operator_client, signed_by_two
from deploy.local.installation import Installation
from deploy.local.places import temporary_directory
from deploy.local.processes import PROCESSES, usual_ports
from deploy.local.supervisor import running
from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ProtocolDocument, document_hash
from schemas.events.governance_keys import Signable, sign
from schemas.topics import GOVERNANCE_FACTS
from services.cli.agency_client import ACCEPT, ACKNOWLEDGE, AgencyClient, AgencyStep, Json
from services.cli.demo.agencies import DIRECTORY, fictional_agencies
from services.cli.demo.trial import admission, listening
from services.cli.directory import import_directory
from services.cli.partner_client import PERSON, PartnerClient
from services.cli.tokens import local_issuer
from services.governance.domain.founding import FoundingAct
from services.runtime.clock import TEST_CLOCK
from services.runtime.kafka import security
from tests.support.clock import MovedClock
from tests.support.servers import unflushed
from tests.support.stage import FOUNDERS, PROTOCOL, a_committee, a_founding, a_protocol, described
from tests.support.waiting import until

GATES: Final = ("referrals", "social_services", "health")
RUNNING: Final = ("governance", *GATES, "social_services_vault")
WITHIN: Final = timedelta(seconds=2)
"""How long after its time a protocol may take to be in force at every gate."""
TERM: Final = timedelta(days=700)
MANDATE: Final = timedelta(days=120)
"""For how long the district may decide."""
ADMITTING: Final = ["admission", "recommendation"]
SLOW: Final = {timer: dict.fromkeys(lengths, 300 * 86_400) for timer, lengths in PROTOCOL["timers"].items()}
"""No deadline of a referral falls into this half year."""
IN_FORCE: Final = "SELECT hash FROM protocol WHERE id = 'shared-care' ORDER BY version DESC LIMIT 1"
RESTS_ON: Final = "SELECT protocol FROM referral WHERE id = $1"
pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class PartnershipYear:
    """An installation whose clock can be moved, partners' people at governance, and two agencies."""

    installation: Installation
    calendar: MovedClock
    partners: PartnerClient
    owner: AgencyClient
    receiver: AgencyClient
    titles: list[str] = field(default_factory=list)
    """Of everything that was tabled."""

    async def act(self, who: str, path: str, body: Any = None, *, refused: str | None = None) -> None:
        """`role partner` does something; it succeeds, or is refused with this code."""
        answer = await self.partners.ask(who, path, body or {})
        code = None if answer.is_success else answer.json()["code"]
        assert code == refused, f"{who}, {path}: {answer.text}"

    async def read(self, path: str) -> Json:
        """How something stands, for whoever takes part."""
        return await self.partners.read("monitor un-office", path)

    async def publish(self, path: str, body: Signable) -> None:
        """The operator hands something in that two of the installation's holders have signed."""
        signed = signed_by_two(body, self.installation.holders).model_dump(mode="json")
        async with operator_client(self.installation, "governance") as client:
            answer = await client.put(f"/v1/{path}", json=signed)
        assert answer.is_success, answer.text

    async def comes(self, path: str, **wanted: Any) -> None:
        """Wait for what the clock does to something."""

        async def is_so() -> bool:
            one = await self.read(path)
            return wanted.items() <= {"state": one["state"], "warned": one["content"].get("warned")}.items()

        await until(is_so)

    async def admit(self, partner: str, proposer: str, confirmer: str, about: Json) -> None:
        """One partner proposes another, a second of another constituency confirms."""
        await self.act(f"seat {proposer}", f"partners/{partner}", about)
        await self.act(f"approver {proposer}", f"partners/{partner}/confirm", refused="lone_admission")
        await self.act(f"approver {confirmer}", f"partners/{partner}/confirm")

    @asynccontextmanager
    async def meeting(self, name: str, committee: str) -> AsyncIterator["CommitteeMeeting"]:
        """A meeting with every seat there, for as long as the block."""
        stands = (await self.read(f"committees/{committee}"))["content"]
        secretary, meeting, now = f"secretary {stands['secretariat']}", f"mtg_{name}", self.calendar.now()
        call = {"committee": committee, "begins_at": now, "ends_at": now + timedelta(hours=3)}
        await self.act(secretary, f"meetings/{meeting}", call)
        await self.act(secretary, f"meetings/{meeting}/open")
        present = [seat["partner"] for seat in stands["seats"]]
        for partner in present:
            await self.act(f"seat {partner}", f"meetings/{meeting}/attend")
        yield CommitteeMeeting(self, committee, meeting, secretary, present)
        await self.act(secretary, f"meetings/{meeting}/close")

    async def offer(self, body: Json) -> str:
        """An offer that the arbiter has let through."""
        sent = await self.owner.offer(body)
        for party in (self.owner, self.receiver):
            await party.told(sent.referral, "referral.offered")
        return sent.referral

    async def passes(self, step: AgencyStep, referral: str) -> None:
        """The receiver's step happens."""
        sent = await self.receiver.step(referral, step)
        assert sent
        assert (await self.receiver.answer(sent)).type == step.fact

    async def asked(self, service: str, sql: str, *values: str) -> Any:
        """One value out of a service's own database."""
        async with self.installation.server.connection(DATABASES[service].name) as connection:
            return await connection.fetchval(sql, *values)

    async def gates(self) -> set[str]:
        """The hash that each gate goes by: governance's list, arbiter and sectors; one where they agree."""
        async with operator_client(self.installation, "governance") as client:
            listed = (await client.get("/v1/protocols")).json()["data"]
        return {*(row["hash"] for row in listed), *[await self.asked(gate, IN_FORCE) for gate in GATES]}

    async def everywhere(self, digest: str) -> datetime:
        """Wait until every gate goes by a version; gives when that was seen."""

        async def is_so() -> bool:
            return await self.gates() == {digest}

        await until(is_so)
        return self.calendar.now()


@dataclass(frozen=True)
class CommitteeMeeting:
    """An open meeting, in which seats table and the secretariat takes decisions."""

    its: PartnershipYear
    committee: str
    id: str
    secretary: str
    present: Sequence[str]

    async def table(self, decision: str, by: str, title: str, subject: str, **item: Any) -> None:
        """A seat tables an item, and all vote for it."""
        self.its.titles.append(title)
        item |= {"committee": self.committee, "meeting": self.id, "title": title, "subject": subject}
        await self.its.act(f"seat {by}", f"decisions/dec_{decision}", item)
        await self.vote(decision)

    async def vote(self, decision: str) -> None:
        """Every seat that is there is for it."""
        for partner in self.present:
            body = {"seat": partner, "choice": "for"}
            await self.its.act(f"seat {partner}", f"decisions/dec_{decision}/vote", body)

    async def take(self, decision: str, *, refused: str | None = None) -> None:
        """The committee decides by consensus, or may not."""
        path, body = f"decisions/dec_{decision}/take", {"method": "consensus"}
        await self.its.act(self.secretary, path, body, refused=refused)


@pytest.fixture(scope="module")
async def year() -> AsyncIterator[PartnershipYear]:
    """An installation of its own: no other test can use one whose year is over."""
    with temporary_directory("concert-year-") as folder:
        calendar = MovedClock(folder / "ahead")
        processes = tuple(one for one in PROCESSES if one.name in RUNNING)
        more = {one.name: {TEST_CLOCK: str(calendar.file)} for one in processes}
        configuration = trial(folder / "installation", chosen_ports=ports.trial_ports(usual_ports()))
        async with AsyncExitStack() as stack:
            with unflushed():
                platform = await stack.enter_async_context(
                    running(configuration, more=more, processes=processes)
                )
            assert not platform.failing
            installation = platform.installation
            issuer = local_issuer(installation)
            issuer.clock = calendar
            accounts = {one.sector: one for one in reversed(fictional_agencies())}
            owner, receiver = (
                AgencyClient(accounts[sector], installation.api_url(sector), issuer) for sector in GATES[1:]
            )
            partners = PartnerClient(installation.api_url("governance"), issuer)
            for http in (partners.http, owner.http, receiver.http):
                await stack.enter_async_context(http)
            yield PartnershipYear(installation, calendar, partners, owner, receiver)


async def founded(its: PartnershipYear) -> None:
    """Five partners begin; two agencies are let in, with their keys."""
    await its.publish("founding", FoundingAct.model_validate(a_founding(its.calendar.now())))
    async with operator_client(its.installation, "referrals") as client:
        await import_directory(DIRECTORY, client, its.calendar.now())
    for one in (its.owner, its.receiver):
        about = described("sector_agency", sector=one.agency.sector)
        await its.admit(one.agency.id, "ministry", "un-office", about)
        agency = AgencyCurrent.model_validate(admission(one, version=1))
        await its.publish(f"agencies/{one.agency.id}", agency)


async def constituted(its: PartnershipYear) -> None:
    """The national committee seats one for a district, and that one for a town, each with its mandate."""
    owner, receiver, now = its.owner.agency.id, its.receiver.agency.id, its.calendar.now()
    civil = {"river-alliance": "civil_society", "dawn-movement": "womens_movement"}
    for name, level, area, above, secretariat, agencies, subjects, lasts in (
        ("district", "district", "ZZ01", "steering", owner, (owner, receiver), ADMITTING, MANDATE),
        ("local", "local", "ZZ0101", "district", "river-alliance", (receiver,), ["recommendation"], TERM),
    ):
        seated, chairs = civil | dict.fromkeys(agencies, "sector_agency"), ("river-alliance", agencies[0])
        place = {"type": "coordination", "level": level, "area": area, "above": f"cmt_{above}"}
        body = a_committee(seated, chairs, now + TERM, **place, secretariat=secretariat)
        body["composition"]["sectors"] = ["health"]
        mandate = {"committee": f"cmt_{name}", "given_by": f"cmt_{above}", "area": area, "subjects": subjects}
        async with its.meeting(f"founds-{name}", f"cmt_{above}") as meeting:
            await its.act(meeting.secretary, f"committees/cmt_{name}", body)
            validity = {"valid_from": now, "valid_until": now + lasts}
            await its.act(meeting.secretary, f"mandates/mdt_{name}", mandate | validity)
            for about in (f"cmt_{name}", f"mdt_{name}"):
                decision, title = about.replace("_", "-"), "A mechanism closer to survivors"
                await meeting.table(decision, "dawn-movement", title, "admission", about=about, area=area)
                await meeting.take(decision)


async def routed_up(its: PartnershipYear) -> None:
    """What the town's mandate does not cover is decided by the district, and not lost."""
    async with its.meeting("local", "cmt_local") as meeting:
        title = "Lighting on every path of the district"
        await meeting.table("lighting", "dawn-movement", title, "recommendation", area="ZZ01")
        await meeting.take("lighting")
    rows = (await its.read("decisions?state=tabled"))["data"]
    (above,) = [row["id"] for row in rows if row["content"]["routed_from"] == "dec_lighting"]
    async with its.meeting("district", "cmt_district") as meeting:
        await its.act(meeting.secretary, f"decisions/{above}/schedule", {"meeting": meeting.id})
        await meeting.vote(above.removeprefix("dec_"))
        await meeting.take(above.removeprefix("dec_"))
    await its.comes(f"decisions/{above}", state="adopted")


async def mandate_ends(its: PartnershipYear, at: datetime) -> None:
    """The district's mandate warns twice and ends; its committee decides nothing new."""
    for warned, days_left in enumerate((60, 14), 1):
        its.calendar.move_to(at - timedelta(days=days_left))
        await its.comes("mandates/mdt_district", warned=warned)
    its.calendar.move_to(at)
    await its.comes("mandates/mdt_district", state="expired")
    async with its.meeting("late", "cmt_district") as meeting:
        await meeting.table("transport", "dawn-movement", "Transport at night", "recommendation", area="ZZ01")
        await meeting.take("transport", refused="no_live_mandate")


async def adopted_and_signed(its: PartnershipYear, document: ProtocolDocument) -> str:
    """A version is drafted, adopted by the national committee and signed twice; gives its hash."""
    path, decision = f"protocols/shared-care.{document.version}", f"protocol-{document.version}"
    async with its.meeting(decision, "cmt_steering") as meeting:
        await its.act(meeting.secretary, path, {"document": document})
        about, title = path.partition("/")[2], "The rules by which agencies refer"
        await meeting.table(decision, "river-alliance", title, "protocol", about=about, area="ZZ")
        if document.version > 1:
            await seat_changes_hands(meeting, decision)
        await meeting.take(decision)
    current = ProtocolCurrent(document=document, hash=document_hash(document))
    for by, holder in zip(("ministry", "river-alliance"), its.installation.holders, strict=False):
        await its.comes(path, state="adopted")
        await its.act(f"approver {by}", f"{path}/sign", sign(current, holder).signatures[0])
    return current.hash


async def seat_changes_hands(meeting: CommitteeMeeting, decision: str) -> None:
    """The women's movement's seat is lost in the middle of a meeting; another one takes it."""
    its, committee = meeting.its, "committees/cmt_steering"
    await its.act("seat dawn-movement", f"{committee}/resign")
    await its.comes(committee, state="incomplete")
    await meeting.take(decision, refused="constituency_missing")
    await its.admit("tide-movement", "river-alliance", "ministry", described("womens_movement"))
    seat = {"partner": "tide-movement", "until": its.calendar.now() + TERM}
    await its.act(meeting.secretary, f"{committee}/fill", seat | {"co_chairs": ["ministry", "tide-movement"]})
    await its.comes(committee, state="constituted")


async def test_half_a_year_of_a_partnership(year: PartnershipYear) -> None:
    its, calendar = year, year.calendar
    began, parties = calendar.now(), (its.owner.agency.id, its.receiver.agency.id)
    agencies = its.owner, its.receiver
    await founded(its)
    await constituted(its)
    await routed_up(its)

    first = await adopted_and_signed(its, a_protocol(parties, timers=SLOW))
    signed_at = calendar.now()
    assert await its.everywhere(first) - signed_at <= WITHIN
    bodies = [await its.owner.prepare(its.receiver.agency) for _ in range(3)]
    async with listening(agencies):
        live = await its.offer(bodies[0])

    await mandate_ends(its, began + MANDATE + timedelta(minutes=1))
    async with listening(agencies):
        await its.passes(ACKNOWLEDGE, live)

    calendar.move_to(began + timedelta(days=180))
    timers = {**SLOW, "acknowledge": {**SLOW["acknowledge"], "urgent": 86_400}}
    second = await adopted_and_signed(its, a_protocol(parties, 2, timers=timers))
    shown = await its.read("protocols/shared-care.2")
    in_force_at = datetime.fromisoformat(shown["content"]["in_force_at"])
    assert in_force_at > calendar.now() + timedelta(hours=23)
    calendar.move_to(in_force_at - timedelta(seconds=3))
    async with listening(agencies):
        before = await its.offer(bodies[1])
        assert await its.gates() == {first}
        late_by = await its.everywhere(second) - in_force_at
        after = await its.offer(bodies[2])
        await its.passes(ACCEPT, live)

    assert timedelta() <= late_by <= WITHIN
    rests_on = [await its.asked("referrals", RESTS_ON, one) for one in (live, before, after)]
    assert rests_on == [first, first, second]
    await its.comes("protocols/shared-care.1", state="replaced")
    difference = await its.read("protocols/shared-care.2/difference")
    assert difference["data"] == ["acknowledge when urgent: 86400 seconds instead of 25920000 seconds"]
    told, content = await facts_told(its)
    assert told == story_of(*parties)
    secret = (PERSON, *its.titles, *(text for one in agencies for text in one.agency.planted))
    assert [text for text in secret if text.encode() in content] == []


async def facts_told(its: PartnershipYear) -> tuple[dict[str, list[str]], bytes]:
    """What whoever reads the facts' topic finds: types in order by key, and every byte of it."""
    topic, told, content = GOVERNANCE_FACTS.name(""), defaultdict(list), b""
    consumer = AIOKafkaConsumer(auto_offset_reset="earliest", **security(its.installation.kafka))
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(GOVERNANCE_FACTS.partitions)]
        consumer.assign(partitions)
        waiting = {one: end for one, end in (await consumer.end_offsets(partitions)).items() if end}
        while waiting:
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    event = json.loads(record.value)
                    days = event["data"].get("days_left", "")
                    told[record.key.decode()].append(f"{event['type'].split('.')[-2]} {days}".strip())
                    content += record.key + record.value + repr(record.headers).encode()
                if records[-1].offset + 1 == waiting[partition]:
                    del waiting[partition]
    finally:
        await consumer.stop()
    return dict(told), content


def story_of(owner: str, receiver: str) -> dict[str, list[str]]:
    """The facts of the half year, in order for each key."""
    partners = dict.fromkeys((*FOUNDERS, "tide-movement"), "partner_admitted")
    tabled, taken, held, version = (
        "decision_tabled",
        "decision_taken",
        "meeting_held",
        "protocol_adopted protocol_signed protocol_in_force",
    )
    constituted = f"committee_constituted {tabled} {taken} {tabled} {taken} {held}"
    seat = "seat_lost committee_incomplete seat_filled committee_constituted"
    told = {
        **partners,
        **dict.fromkeys((owner, receiver), "partner_admitted agency_admitted"),
        "cmt_steering": f"{constituted} {tabled} {taken} {held} {tabled} {seat} {taken} {held}",
        "cmt_district": f"{constituted} {taken} {held} {tabled} {held}",
        "cmt_local": f"committee_constituted {tabled} decision_routed_up {held}",
        "mdt_steering": "mandate_given",
        "mdt_local": "mandate_given",
        "shared-care": f"{version} {version} protocol_replaced",
    }
    mandate = ["mandate_given", "mandate_expiring 60", "mandate_expiring 14", "mandate_expired"]
    return {name: types.split() for name, types in told.items()} | {"mdt_district": mandate}
