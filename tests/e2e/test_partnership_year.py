"""One year of a district and its nation over HTTP: each row of the founding text's capabilities is a step."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import StringIO
from typing import Any, Final

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local import ports
from deploy.local.configuration import trial
from deploy.local.databases import DATABASES
from deploy.local.founding import operator_client, signed_by_two
from deploy.local.installation import Installation
from deploy.local.places import temporary_directory
from deploy.local.processes import ISSUER_PROCESS, PROCESSES, usual_ports
from deploy.local.supervisor import Platform, running
from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ProtocolDocument, document_hash
from schemas.events.governance_keys import Signable, sign
from schemas.events.learning import QUESTIONS
from schemas.topics import GOVERNANCE_FACTS, REFERRALS_FACTS
from services.cli.agency_client import ACCEPT, ACKNOWLEDGE, AgencyClient, AgencyStep, Json
from services.cli.demo.agencies import DIRECTORY, fictional_agencies
from services.cli.demo.trial import admission, listening
from services.cli.directory import import_directory
from services.cli.partner_client import PERSON, PartnerClient
from services.cli.tokens import token_client
from services.governance.domain.founding import FoundingAct
from services.governance.domain.histories import COLUMNS
from services.runtime.clock import TEST_CLOCK
from services.runtime.kafka import security
from tests.support.clock import MovedClock
from tests.support.histories import a_table, rows_of_years
from tests.support.servers import unflushed
from tests.support.stage import (
    A_RECOMMENDATION,
    FOUNDERS,
    PROTOCOL,
    a_committee,
    a_founding,
    a_protocol,
    described,
)
from tests.support.waiting import until

GATES: Final = ("referrals", "social_services", "health", "police", "civil_society")
RUNNING: Final = ("governance", *GATES, "social_services_vault", ISSUER_PROCESS)
WITHIN: Final = timedelta(seconds=10)
"""How long after its time a protocol may take to be in force at every gate of a busy machine."""
TERM: Final = timedelta(days=700)
MANDATE: Final = timedelta(days=120)
"""For how long the district may decide."""
ADMITTING: Final = ["admission", "recommendation"]
SLOW: Final = {timer: dict.fromkeys(lengths, 300 * 86_400) for timer, lengths in PROTOCOL["timers"].items()}
"""No deadline of a referral falls into this year."""
PLANNED: Final = {"activity": "joint_training", "amount": 10_000, "hours": 160}
HOURS: Final = {"code": "staff_time", "amount": 10, "unit": "hours_a_month"}
IN_FORCE: Final = "SELECT hash FROM protocol WHERE id = 'shared-care' ORDER BY version DESC LIMIT 1"
OFFERED: Final = "SELECT sum(count)::int FROM figure WHERE part = 'referrals_by_need'"
TOLD: Final = "SELECT sum(last) FROM sequence_out WHERE topic = $1"
READ: Final = "SELECT sum(last) FROM sequence_in WHERE topic = $1"
RESTS_ON: Final = "SELECT protocol FROM referral WHERE id = $1"
MARKS: Final = (("is_above", "above"), ("heard_no_group", "unheard"))
pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class PartnershipYear:
    """An installation whose clock can be moved, partners' people at governance, and four agencies."""

    platform: Platform
    calendar: MovedClock
    partners: PartnerClient
    agencies: tuple[AgencyClient, ...]
    """Of social services, which owns the case, health, police and, from mid-year on, civil society."""
    began: datetime
    titles: list[str] = field(default_factory=list)
    """Of everything that was tabled or said."""
    versions: list[str] = field(default_factory=list)
    """The hash of each version of the protocol."""
    referrals: dict[str, str] = field(default_factory=dict)

    @property
    def installation(self) -> Installation:
        """What the processes run in."""
        return self.platform.installation

    async def act(self, who: str, path: str, body: Any = None, *, refused: str | None = None) -> None:
        """`role partner` does something; it succeeds, or is refused with this code."""
        answer = await self.partners.ask(who, path, body or {})
        code = None if answer.is_success else answer.json()["code"]
        assert code == refused, f"{who}, {path}: {answer.text}"

    async def read(self, path: str) -> Json:
        """How something stands, for whoever takes part."""
        return await self.partners.read("monitor un-office", path)

    async def table(self, name: str) -> list[Json]:
        """A table of the page that anybody may read, without a token."""
        answer = await self.partners.http.get(f"/partnership/{name}.csv")
        return list(csv.DictReader(StringIO(answer.raise_for_status().text)))

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

    async def join(self, one: AgencyClient, proposer: str, confirmer: str, constituency: str) -> None:
        """An agency is admitted as a partner, and its keys are published."""
        about = described(constituency, sector=one.agency.sector)
        await self.admit(one.agency.id, proposer, confirmer, about)
        agency = AgencyCurrent.model_validate(admission(one, version=1))
        await self.publish(f"agencies/{one.agency.id}", agency)

    async def offer(self, receiver: AgencyClient) -> str:
        """An offer that the arbiter has let through."""
        owner = self.agencies[0]
        body = await owner.prepare(receiver.agency, agreed={"statistics": True}, count="first")
        sent = await owner.offer(body)
        for party in (owner, receiver):
            await party.told(sent.referral, "referral.offered")
        return sent.referral

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
            issuer = token_client(installation)
            issuer.clock = calendar
            accounts = {one.sector: one for one in reversed(fictional_agencies())}
            agencies = tuple(
                AgencyClient(accounts[sector], installation.api_url(sector), issuer) for sector in GATES[1:]
            )
            partners = PartnerClient(installation.api_url("governance"), issuer)
            for http in (partners.http, *(one.http for one in agencies)):
                await stack.enter_async_context(http)
            yield PartnershipYear(platform, calendar, partners, agencies, calendar.now())


async def row_1_every_constituency_founds(its: PartnershipYear) -> None:
    """UN, government, donors and civil society seat the first committee; three agencies bring their keys."""
    await its.publish("founding", FoundingAct.model_validate(a_founding(its.calendar.now())))
    async with operator_client(its.installation, "referrals") as client:
        await import_directory(DIRECTORY, client, its.calendar.now())
    for one in its.agencies[:3]:
        await its.join(one, "ministry", "un-office", "sector_agency")

    stands = (await its.read("committees/cmt_steering"))["content"]
    assert {seat["constituency"] for seat in stands["seats"]} == {*FOUNDERS.values()}


async def row_10_power_shifts_to_the_district_and_the_town(its: PartnershipYear) -> None:
    """The national committee seats one for a district, and that one for a town, each with its mandate."""
    (owner, receiver), now = [one.agency.id for one in its.agencies[:2]], its.calendar.now()
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
        plan = {"year": now.year, "currency": "XTS", "lines": [PLANNED]}
        async with its.meeting(f"founds-{name}", f"cmt_{above}") as meeting:
            await its.act(meeting.secretary, f"committees/cmt_{name}", body)
            validity = {"valid_from": now, "valid_until": now + lasts, "work_plans": [plan]}
            await its.act(meeting.secretary, f"mandates/mdt_{name}", mandate | validity)
            for about in (f"cmt_{name}", f"mdt_{name}"):
                decision, title = about.replace("_", "-"), "A mechanism closer to survivors"
                await meeting.table(decision, "dawn-movement", title, "admission", about=about, area=area)
                await meeting.take(decision)


async def row_2_what_lies_above_a_mandate_goes_up(its: PartnershipYear) -> None:
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


async def row_3_a_district_sees_its_own(its: PartnershipYear) -> None:
    """Lists narrow to an area; no partner of the nation reaches a single referral."""
    seen = {
        area: [row["id"] for row in (await its.read(f"committees?area={area}"))["data"]]
        for area in ("ZZ", "ZZ01", "ZZ0101", "ZZ02")
    }
    assert seen == {
        "ZZ": ["cmt_district", "cmt_local", "cmt_steering"],
        "ZZ01": ["cmt_district", "cmt_local"], "ZZ0101": ["cmt_local"], "ZZ02": [],
    }  # fmt: skip
    assert (await its.partners.ask("monitor un-office", "committees?area=XX")).status_code == 422
    token = await its.partners.issuer.token(agency="un-office", staff=PERSON, role="caseworker")
    bearer = {"Authorization": f"Bearer {token}", "Concert-Purpose": "care"}
    refused = await its.agencies[1].http.get("/v1/worklist", headers=bearer)
    assert refused.json()["code"] == "agency_not_admitted"


async def row_6_each_brings_its_means(its: PartnershipYear) -> None:
    """A partner says what it brings, a mandate what its plan costs and what was used; services are found."""
    owner, year = its.agencies[0].agency.id, its.calendar.now().year
    means = {"expertise": ["survivor_care"], "offers": [HOURS]}
    await its.act(f"seat {owner}", f"partners/{owner}/amend", means)
    spent = {"entry": "first", "year": year, "amount": 9_000, "activity": "joint_training"}
    await its.act(f"seat {owner}", "mandates/mdt_district/use_budget", spent)
    assert (await its.read("mandates/mdt_district"))["content"]["money"] == {str(year): 9_000}
    for one in its.agencies[1:3]:
        service, needs = next(iter(one.agency.services.items()))
        search = {"need": needs[0], "area": "ZZ0104"}
        found = (await its.agencies[0].ask("POST", "/v1/service-searches", search)).json()
        assert service in json.dumps(found)


async def row_4_agencies_share_under_one_protocol(its: PartnershipYear) -> None:
    """A version is in force at every gate within two seconds, and a referral rests on it."""
    parties = tuple(one.agency.id for one in its.agencies[:3])
    its.versions.append(await adopted_and_signed(its, a_protocol(parties, timers=SLOW)))
    signed_at = its.calendar.now()
    assert await its.everywhere(its.versions[0]) - signed_at <= WITHIN
    async with listening(its.agencies):
        its.referrals["live"] = await its.offer(its.agencies[1])


async def row_7_those_concerned_speak(its: PartnershipYear) -> None:
    """Dialogues are told in counts, small ones unseen; one that heard no group concerned says so."""
    for name, phase, groups in (
        ("quay", "assessment", {"rural_women": 12, "women_with_disabilities": 3}),
        ("office", "planning", {}),
    ):
        opens = {"begins_at": its.calendar.now(), "level": "local", "area": "ZZ0101", "pillar": "services"}
        title = {"title": f"What is missing at night, {phase}", "phase": phase}
        its.titles.append(title["title"])
        await its.act("seat dawn-movement", f"dialogues/dlg_{name}", opens | title)
        told = {"by_constituency": {"womens_movement": 20, "government": 4}, "by_group": groups}
        await its.act("seat dawn-movement", f"dialogues/dlg_{name}/hold", told)
    heard = (await its.read("dialogues/dlg_quay"))["content"]["participants"]["by_group"]
    assert heard == {"rural_women": "12", "women_with_disabilities": "<5"}


async def row_t3_what_it_costs_them_is_counted(its: PartnershipYear) -> None:
    """Hours above four fifths of what a partner offered a month warn in their fact."""
    seat, day = f"seat {its.agencies[0].agency.id}", its.calendar.now().date()
    for number, hours in enumerate((8, 1)):
        entry = {"entry": str(number), "on": day, "hours": hours, "activity": "joint_training"}
        await its.act(seat, "mandates/mdt_district/log_effort", entry)


async def row_11_a_recommendation_is_owned_and_stalls_unattended(its: PartnershipYear) -> None:
    """Two constituencies agree, an owner has a day; nobody acts, and the clock tells."""
    path, now = "recommendations/rec_lamps", its.calendar.now()
    its.titles.append(A_RECOMMENDATION["text"])
    await its.act("seat dawn-movement", path, A_RECOMMENDATION)
    await its.act("seat un-office", f"{path}/agree")
    due = {"owner": "ministry", "due_at": now + timedelta(days=20)}
    await its.act("seat un-office", f"{path}/assign", due)
    its.calendar.move_to(now + timedelta(days=31))
    await its.comes(path, state="stalled")


async def row_t2_an_ended_mandate_blocks_new_decisions_alone(its: PartnershipYear) -> None:
    """The district's mandate warns twice and ends; its committee decides nothing new, referrals go on."""
    ends = datetime.fromisoformat((await its.read("mandates/mdt_district"))["content"]["valid_until"])
    for warned, days_left in enumerate((60, 14), 1):
        its.calendar.move_to(ends - timedelta(days=days_left))
        await its.comes("mandates/mdt_district", warned=warned)
    its.calendar.move_to(ends)
    await its.comes("mandates/mdt_district", state="expired")
    async with its.meeting("late", "cmt_district") as meeting:
        await meeting.table("transport", "dawn-movement", "Transport at night", "recommendation", area="ZZ01")
        await meeting.take("transport", refused="no_live_mandate")
    async with listening(its.agencies):
        await passes(its.agencies[1], ACKNOWLEDGE, its.referrals["live"])


async def row_t1_no_decision_without_civil_society(its: PartnershipYear) -> None:
    """The women's movement's seat is lost in the middle of a meeting; another one takes it."""
    committee = "committees/cmt_steering"
    async with its.meeting("speech", "cmt_steering") as meeting:
        title = "Speaking time for movements first"
        await meeting.table("speech", "river-alliance", title, "recommendation", area="ZZ")
        await its.act("seat dawn-movement", f"{committee}/resign")
        await its.comes(committee, state="incomplete")
        await meeting.take("speech", refused="constituency_missing")
        await its.admit("tide-movement", "river-alliance", "ministry", described("womens_movement"))
        seat = {"partner": "tide-movement", "until": its.calendar.now() + TERM}
        chairs = {"co_chairs": ["ministry", "tide-movement"]}
        await its.act(meeting.secretary, f"{committee}/fill", seat | chairs)
        await its.comes(committee, state="constituted")
        await meeting.take("speech")


async def row_5_a_sector_joins_by_the_next_version(its: PartnershipYear) -> None:
    """A shelter is admitted in mid-year, and referred to from the second at which the next version begins."""
    clinic, shelter, first = its.agencies[1], its.agencies[3], its.versions[0]
    await its.join(shelter, "river-alliance", "ministry", "civil_society")
    timers = {**SLOW, "acknowledge": {**SLOW["acknowledge"], "urgent": 86_400}}
    parties = tuple(one.agency.id for one in its.agencies)
    second = await adopted_and_signed(its, a_protocol(parties, 2, timers=timers))
    its.versions.append(second)
    shown = await its.read("protocols/shared-care.2")
    in_force_at = datetime.fromisoformat(shown["content"]["in_force_at"])
    assert in_force_at > its.calendar.now() + timedelta(hours=23)
    its.calendar.move_to(in_force_at - timedelta(seconds=3))
    async with listening(its.agencies):
        before = await its.offer(clinic)
        assert await its.gates() == {first}
        late_by = await its.everywhere(second) - in_force_at
        after = await its.offer(shelter)
    assert timedelta() <= late_by <= WITHIN
    rests_on = [await its.asked("referrals", RESTS_ON, one) for one in (its.referrals["live"], before, after)]
    assert rests_on == [first, first, second]
    await its.comes("protocols/shared-care.1", state="replaced")
    difference = await its.read("protocols/shared-care.2/difference")
    assert difference["data"] == [
        "acknowledge when urgent: 86400 seconds instead of 25920000 seconds",
        f"party {shelter.agency.id}: takes part, which was not there before",
    ]


async def row_4_four_agencies_act_while_one_is_down(its: PartnershipYear) -> None:
    """Three receivers are asked while the clinic's service is down; afterwards nothing is lost."""
    owner, clinic, *others = its.agencies
    async with listening((owner, *others)):
        await its.platform.stop("health")
        waits, *sent = [await owner.offer(await owner.prepare(one.agency)) for one in (clinic, *others)]
        for one, offer in zip(others, sent, strict=True):
            await one.told(offer.referral, "referral.offered")
            await passes(one, ACCEPT, offer.referral)
        await its.platform.start("health")
    async with listening(its.agencies):
        await clinic.told(waits.referral, "referral.offered")
        for referral in (waits.referral, its.referrals["live"]):
            await passes(clinic, ACCEPT, referral)


async def row_9_an_empty_phase_is_a_gap(its: PartnershipYear) -> None:
    """Dialogues and recommendations carry their phase; where nothing happened, the page says so."""
    phases = {row["phase"]: row for row in await its.table("phases")}
    said = ("dialogues", "decisions", "recommendations")
    gaps = [phase for phase, row in phases.items() if not any(int(row[name]) for name in said)]
    assert gaps == ["analysis", "implementation", "monitoring", "evaluation"]
    assert (phases["planning"]["unheard"], phases["assessment"]["unheard"]) == ("1", "0")
    page = await its.partners.http.get("/partnership", headers={"accept-language": "en"})
    assert page.text.count("gap: nothing happened in this phase") == len(gaps)


async def row_t4_they_learn_together(its: PartnershipYear) -> None:
    """A reference group scores a service, and a lesson names the version of the protocol that it changed."""
    now, clinic = its.calendar.now(), its.agencies[1].agency.id
    year, quarter = divmod(now.year * 4 + (now.month - 1) // 3 - 1, 4)
    card = {"agency": clinic, "service": "medical_care", "quarter": f"{year}-Q{quarter + 1}", "people": 14}
    await its.act(
        "seat tide-movement", "scorecards/scd_clinic", card | {"scores": dict.fromkeys(QUESTIONS, 4)}
    )
    its.titles.append("Offers that nobody answered within a day were lost to whoever needed them.")
    lesson = {"text": its.titles[-1], "causes": ["weak_institutions"], "protocol": "shared-care.2"}
    await its.act("seat river-alliance", "lessons/lsn_day", lesson)
    await its.act("seat ministry", "lessons/lsn_day/share")


async def row_t4_figures_wait_for_civil_society(its: PartnershipYear) -> None:
    """A month's figures are a draft until civil society signs; then all see the same bytes, nothing small."""
    path, month = "releases/rls_first", {"period": its.began.strftime("%Y-%m")}
    await its.act("seat un-office", path, month)
    await its.act("approver ministry", f"{path}/sign", refused="civil_signature")
    await its.comes(path, state="draft")
    await its.act("approver tide-movement", f"{path}/sign")
    served = [
        await its.partners.ask(who, path)
        for who in ("monitor un-office", f"monitor {its.agencies[0].agency.id}")
    ]
    assert served[0].json()["state"] == "published"
    assert served[0].content == served[1].content
    tables = {one["part"]: one for one in served[0].json()["content"]["tables"]}
    assert tables["referrals_by_need"]["cells"] == [], "what is not listed is fewer than eleven"


async def row_8_184_recommendations_of_five_years_are_reported(its: PartnershipYear) -> None:
    """A file of past years comes in as a whole, vouched for by a second constituency; the page counts it."""
    rows = rows_of_years(its.calendar.now().date())
    await its.act("seat un-office", "histories/his_years", a_table(*rows, header=COLUMNS))
    await its.act("approver ministry", "histories/his_years/confirm")
    its.calendar.move_to(its.calendar.now() + timedelta(seconds=3))
    counted = Counter({
        (row["year"], row["level"], state): int(row[state])
        for row in await its.table("recommendations")
        for state in ("agreed", "assigned", "progressed", "implemented", "verified", "stalled")
    })  # fmt: skip
    lamps = (its.began.isoformat()[:4], "national", "stalled")
    assert counted.total() == 185
    assert +counted == Counter([lamps, *((row["agreed_on"][:4], row["level"], row["state"]) for row in rows)])


async def row_12_figures_are_rebuilt_from_facts(its: PartnershipYear) -> None:
    """Whatever was counted is counted again from the kept facts alone: the same, byte for byte."""

    async def rebuilt(client: httpx2.AsyncClient) -> Mapping[str, Any]:
        return dict((await client.post("/v1/figures/rebuild")).raise_for_status().json())

    async def is_the_same_from_nothing() -> bool:
        async with operator_client(its.installation, "governance") as client:
            before = await rebuilt(client)
            async with its.installation.server.connection(DATABASES["governance"].name) as connection:
                await connection.execute("DELETE FROM figure")
            return before["figures"] > 0 and await rebuilt(client) == before

    async def has_read_all() -> bool:
        told = await its.asked("referrals", TOLD, REFERRALS_FACTS.name(""))
        return bool(told == await its.asked("governance", READ, REFERRALS_FACTS.title))

    await until(has_read_all)
    await until(is_the_same_from_nothing)
    assert await its.asked("governance", OFFERED) == 3, "the others bear no mark, and count nowhere"


async def everybody_reads_it(its: PartnershipYear) -> None:
    """The page shows, without a token, whether the partnership kept its word this year."""
    its.calendar.move_to(its.began + timedelta(days=365))
    decided = {row["level"]: row["adopted"] for row in await its.table("decisions") if row["adopted"] != "0"}
    assert decided == {"national": "5", "district": "3"}
    influence = {row["constituency"]: row for row in await its.table("influence")}
    assert influence["womens_movement"]["tabled"] == "6"
    assert influence["civil_society"]["ratio"] == "100"
    burden = {row["partner"]: row for row in await its.table("burden")}
    assert burden[its.agencies[0].agency.id]["hours"] == "9"
    assert "rec_lamps" in {row["recommendation"] for row in await its.table("stalled")}
    assert [row["lesson"] for row in await its.table("lessons")] == ["lsn_day"]
    assert [row["agency"] for row in await its.table("scorecards")] == [its.agencies[1].agency.id]
    assert await its.table("released") == [], "each count of this year is under eleven"


STORY: Final = (
    row_1_every_constituency_founds,
    row_10_power_shifts_to_the_district_and_the_town,
    row_2_what_lies_above_a_mandate_goes_up,
    row_3_a_district_sees_its_own,
    row_4_agencies_share_under_one_protocol,
    row_6_each_brings_its_means,
    row_7_those_concerned_speak,
    row_t3_what_it_costs_them_is_counted,
    row_11_a_recommendation_is_owned_and_stalls_unattended,
    row_t2_an_ended_mandate_blocks_new_decisions_alone,
    row_9_an_empty_phase_is_a_gap,
    row_t1_no_decision_without_civil_society,
    row_5_a_sector_joins_by_the_next_version,
    row_4_four_agencies_act_while_one_is_down,
    row_t4_they_learn_together,
    row_t4_figures_wait_for_civil_society,
    row_8_184_recommendations_of_five_years_are_reported,
    row_12_figures_are_rebuilt_from_facts,
    everybody_reads_it,
)
"""The year in its order; each step is named after the row of the founding text's capabilities it shows."""


async def test_one_year_of_a_district_and_its_nation(year: PartnershipYear) -> None:
    for step in STORY:
        await step(year)

    told, content = await facts_told(year)
    story = story_of(year.agencies)
    assert {name: told.get(name) for name in story} == story
    secret = (PERSON, *year.titles, *(text for one in year.agencies for text in one.agency.planted))
    assert [text for text in secret if text.encode() in content] == []


async def passes(receiver: AgencyClient, step: AgencyStep, referral: str) -> None:
    """The receiver's step happens."""
    sent = await receiver.step(referral, step)
    assert sent
    assert (await receiver.answer(sent)).type == step.fact


async def adopted_and_signed(its: PartnershipYear, document: ProtocolDocument) -> str:
    """A version is drafted, adopted by the national committee and signed twice; gives its hash."""
    path, decision = f"protocols/shared-care.{document.version}", f"protocol-{document.version}"
    async with its.meeting(decision, "cmt_steering") as meeting:
        await its.act(meeting.secretary, path, {"document": document})
        about, title = path.partition("/")[2], "The rules by which agencies refer"
        await meeting.table(decision, "river-alliance", title, "protocol", about=about, area="ZZ")
        await meeting.take(decision)
    current = ProtocolCurrent(document=document, hash=document_hash(document))
    for by, holder in zip(("ministry", "river-alliance"), its.installation.holders, strict=False):
        await its.comes(path, state="adopted")
        await its.act(f"approver {by}", f"{path}/sign", sign(current, holder).signatures[0])
    return current.hash


async def facts_told(its: PartnershipYear) -> tuple[dict[str, list[str]], bytes]:
    """What whoever reads the facts' topic finds: types with their marks in order by key, and every byte."""
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
                    body = event["data"]
                    said = [str(body.get("days_left", "")), *(word for name, word in MARKS if body.get(name))]
                    type_ = event["type"].split(".")[-2]
                    told[record.key.decode()].append("=".join([type_, *filter(None, said)]))
                    content += record.key + record.value + repr(record.headers).encode()
                if records[-1].offset + 1 >= waiting.get(partition, 0):
                    waiting.pop(partition, None)
    finally:
        await consumer.stop()
    return dict(told), content


def story_of(agencies: Sequence[AgencyClient]) -> dict[str, list[str]]:
    """The facts of the year, in order for each key."""
    partners = dict.fromkeys((*FOUNDERS, "tide-movement"), "partner_admitted")
    tabled, held = "decision_tabled decision_taken", "meeting_held"
    version = "protocol_adopted protocol_signed protocol_in_force"
    constituted = f"committee_constituted {tabled} {tabled} {held}"
    seat = "decision_tabled seat_lost committee_incomplete seat_filled committee_constituted decision_taken"
    told = {
        **partners,
        **{one.agency.id: "partner_admitted agency_admitted" for one in agencies},
        "cmt_steering": f"{constituted} {tabled} {held} {seat} {held} {tabled} {held}",
        "cmt_district": f"{constituted} decision_taken {held} decision_tabled {held}",
        "cmt_local": f"committee_constituted decision_tabled decision_routed_up {held}",
        "mdt_steering": "mandate_given",
        "mdt_local": "mandate_given",
        "mdt_district": "mandate_given mandate_expiring=60 mandate_expiring=14 mandate_expired",
        "shared-care": f"{version} {version} protocol_replaced",
        "dlg_quay": "dialogue_held",
        "dlg_office": "dialogue_held=unheard",
        "rec_lamps": "recommendation_agreed recommendation_assigned recommendation_stalled",
    }
    told[agencies[0].agency.id] += " budget_used=above effort_logged effort_logged=above"
    return {name: types.split() for name, types in told.items()}
