"""Partners decide: they found, seat two committees, and adopt the protocol that referrals rest on."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

from deploy.local.founding import operator_client, signed_by_two
from deploy.local.installation import Installation
from deploy.local.refusals import CannotRun
from schemas.events.governance import ProtocolCurrent, ProtocolDocument, document_hash
from schemas.topics import SECTORS
from services.cli.agency_client import AgencyAccount, Json
from services.cli.partner_client import PartnerClient
from services.governance.domain.founding import FoundingAct
from services.runtime.clock import SystemClock
from services.runtime.token_client import TokenClient

COUNTRY, DISTRICT = "ZZ", "ZZ0104"
STEERING, MECHANISM = "cmt_national", "cmt_tidewell"
OFFICE, MINISTRY, MOVEMENT = "un-office", "ministry-of-women", "dawn-movement"
FOUNDERS: Final[Mapping[str, str]] = {
    OFFICE: "un",
    MINISTRY: "government",
    "open-hand-fund": "donor",
    "river-alliance": "civil_society",
    MOVEMENT: "womens_movement",
}
"""Who founds, and for whom each of them speaks; the agencies answer referrals besides."""
MIXED: Final = ("government", "sector_agency", "womens_movement")
"""Who must have a seat in the mechanism; with one seat of civil society less its share is below a fifth."""
TERM: Final = timedelta(days=700)
MANDATE: Final = timedelta(days=600)
SESSION: Final = timedelta(hours=2)


class AgendaPoint(NamedTuple):
    """What a committee is asked, by which seat, and which proposed thing it would adopt."""

    name: str
    by: str
    title: str
    subject: str
    about: str


@dataclass(frozen=True, slots=True)
class Partnership:
    """The partners of a demo, and the committees in which they meet."""

    client: PartnerClient
    installation: Installation
    agencies: Sequence[AgencyAccount]

    @property
    def constituencies(self) -> Mapping[str, str]:
        """Partner → for whom it speaks: of civil society's agencies the last one for the women's movement."""
        civil = [agency.id for agency in self.agencies if agency.sector == "civil_society"]
        spoken = dict.fromkeys(civil, "civil_society") | {civil[-1]: "womens_movement"}
        return {**FOUNDERS, **{one.id: spoken.get(one.id, "sector_agency") for one in self.agencies}}

    @property
    def seated(self) -> Mapping[str, str]:
        """Sector → its first agency, which has a seat in the district's mechanism."""
        return {agency.sector: agency.id for agency in reversed(self.agencies)}

    async def found(self) -> None:
        """The founding act, and what the first committee then decides: the district gets its mechanism."""
        *at_once, last = self.agencies
        async with operator_client(self.installation, "governance") as client:
            act = signed_by_two(self.founding_act(at_once), self.installation.holders)
            answer = await client.put("/v1/founding", json=act.model_dump(mode="json"))
        if not answer.is_success:
            raise CannotRun("not_founded", f"the founding act was answered {answer.text[:300]}")
        await self.admit(last)
        secretariat, shelter = self.seated["social_services"], self._shelter
        mechanism = self._committee(
            [MINISTRY, *(self.seated[sector] for sector in SECTORS), shelter], (secretariat, shelter),
            type="coordination", level="district", area=DISTRICT, above=STEERING, secretariat=secretariat,
            composition={"constituencies": MIXED, "sectors": SECTORS},
        )  # fmt: skip
        mandate = {**self._mandate(MECHANISM, DISTRICT), "given_by": STEERING}
        await self.client.act(f"secretary {OFFICE}", f"committees/{MECHANISM}", mechanism)
        await self.client.act(f"secretary {OFFICE}", "mandates/mdt_tidewell", mandate)
        points = (
            AgendaPoint("mechanism", MOVEMENT, "A mechanism for the district", "admission", MECHANISM),
            AgendaPoint("its-mandate", MINISTRY, "What it may decide", "admission", "mdt_tidewell"),
        )
        async with self.meeting(STEERING, "first") as meeting:
            for point in points:
                await self.decide(STEERING, meeting, point)

    def founding_act(self, agencies: Sequence[AgencyAccount]) -> FoundingAct:
        """Five founders and the agencies, their steering committee, and its mandate for everything."""
        committee = self._committee(
            list(FOUNDERS), (MINISTRY, MOVEMENT),
            id=STEERING, type="steering", level="national", area=COUNTRY, secretariat=OFFICE,
            composition={"constituencies": ["un", "government", "donor"], "civil_share_least": 40},
        )  # fmt: skip
        founders = [
            {"id": name, "constituency": one, "level": "national", "area": COUNTRY}
            for name, one in FOUNDERS.items()
        ]
        partners = [*founders, *({"id": one.id, **self._described(one)} for one in agencies)]
        mandate = {"id": "mdt_national", **self._mandate(STEERING, COUNTRY)}
        act = {"partners": partners, "committee": committee, "mandate": mandate}
        return FoundingAct.model_validate(act)

    async def admit(self, agency: AgencyAccount) -> None:
        """One partner proposes an organisation, and one of another constituency agrees."""
        described = self._described(agency)
        await self.client.act(f"seat {MOVEMENT}", f"partners/{agency.id}", described)
        await self.client.act(f"approver {MINISTRY}", f"partners/{agency.id}/confirm")

    async def adopt(self, document: Json) -> ProtocolDocument:
        """The next version of a protocol, tabled by civil society, adopted, signed by two; in force soon."""
        drafted = await self.draft(document)
        name = f"{drafted.id}.{drafted.version}"
        async with self.meeting(MECHANISM, name) as meeting:
            await self.decide(MECHANISM, meeting, self.point(drafted))
        for signature in self.signed(drafted).signatures:
            await self.client.act(f"approver {MINISTRY}", f"protocols/{name}/sign", signature)
        return drafted

    async def fill(self, committee: str, partner: str) -> None:
        """An empty seat is taken."""
        stands = (await self.client.read(f"secretary {OFFICE}", f"committees/{committee}"))["content"]
        body = {"partner": partner, "until": SystemClock().now() + TERM}
        await self.client.act(f"secretary {stands['secretariat']}", f"committees/{committee}/fill", body)

    async def draft(self, document: Json) -> ProtocolDocument:
        """The next version, as the mechanism's secretariat writes it down."""
        secretary = f"secretary {self.seated['social_services']}"
        known = (await self.client.read(secretary, "protocols"))["data"]
        version = sum(one["content"]["document"]["id"] == document["id"] for one in known) + 1
        drafted = ProtocolDocument.model_validate({**document, "version": version})
        body = {"document": drafted.model_dump(mode="json")}
        await self.client.act(secretary, f"protocols/{drafted.id}.{version}", body)
        return drafted

    def point(self, drafted: ProtocolDocument) -> AgendaPoint:
        """A drafted version on an agenda: civil society's shelter tables it."""
        name = f"{drafted.id}.{drafted.version}"
        title = "The rules by which agencies refer"
        return AgendaPoint(_plain(name), self._shelter, title, "protocol", name)

    def signed(self, document: ProtocolDocument, holders: int = 2) -> ProtocolCurrent:
        """A version with so many of the holders' signatures."""
        body = ProtocolCurrent(document=document, hash=document_hash(document))
        return signed_by_two(body, self.installation.holders[:holders])

    @asynccontextmanager
    async def meeting(self, committee: str, name: str) -> AsyncIterator[str]:
        """A meeting with every seat there, for as long as the block."""
        stands = (await self.client.read(f"secretary {OFFICE}", f"committees/{committee}"))["content"]
        secretary, meeting = f"secretary {stands['secretariat']}", f"mtg_{_plain(name)}"
        now = SystemClock().now()
        call = {"committee": committee, "begins_at": now, "ends_at": now + SESSION}
        await self.client.act(secretary, f"meetings/{meeting}", call)
        await self.client.act(secretary, f"meetings/{meeting}/open")
        attend = f"meetings/{meeting}/attend"
        await asyncio.gather(
            *(self.client.act(f"seat {seat['partner']}", attend) for seat in stands["seats"])
        )
        yield meeting
        await self.client.act(secretary, f"meetings/{meeting}/close")

    async def decide(self, committee: str, meeting: str, point: AgendaPoint) -> str | None:
        """Let every seat vote for it, and the secretariat take the decision; gives the code of a refusal."""
        stands = (await self.client.read(f"secretary {OFFICE}", f"committees/{committee}"))["content"]
        decision = f"decisions/dec_{point.name}"
        item = {**point._asdict(), "committee": committee, "meeting": meeting, "area": stands["area"]}
        await self.client.act(f"seat {point.by}", decision, _without(item, "name", "by"))
        seats = [seat["partner"] for seat in stands["seats"]]
        votes = ({"seat": seat, "choice": "for"} for seat in seats)
        await asyncio.gather(
            *(self.client.act(f"seat {vote['seat']}", f"{decision}/vote", vote) for vote in votes)
        )
        taking = {"method": "vote"}
        answer = await self.client.ask(f"secretary {stands['secretariat']}", f"{decision}/take", taking)
        return None if answer.is_success else str(answer.json()["code"])

    @property
    def _shelter(self) -> str:
        """The agency that speaks for the women's movement; no founder comes after it."""
        return [name for name, one in self.constituencies.items() if one == "womens_movement"][-1]

    def _described(self, agency: AgencyAccount) -> dict[str, Any]:
        constituency = self.constituencies.get(agency.id, "sector_agency")
        place = {"level": "district", "area": DISTRICT}
        return {"constituency": constituency, "sector": agency.sector, **place}

    def _committee(self, partners: Sequence[str], chairs: tuple[str, str], **more: Any) -> dict[str, Any]:
        until = SystemClock().now() + TERM
        seats = [
            {"partner": name, "constituency": self.constituencies[name], "until": until} for name in partners
        ]
        return {"seats": seats, "co_chairs": chairs, **more}

    def _mandate(self, committee: str, area: str) -> dict[str, Any]:
        now = SystemClock().now()
        subjects = ["admission", "protocol", "work_plan", "recommendation"]
        validity = {"valid_from": now - timedelta(days=1), "valid_until": now + MANDATE}
        return {"committee": committee, "subjects": subjects, "area": area, **validity}


@asynccontextmanager
async def partnership(
    installation: Installation, issuer: TokenClient, agencies: Sequence[AgencyAccount]
) -> AsyncIterator[Partnership]:
    """The partners of an installation, with a connection for as long as the block."""
    client = PartnerClient(installation.api_url("governance"), issuer)
    async with client.http:
        yield Partnership(client, installation, agencies)


def _plain(name: str) -> str:
    """A version's id as part of an id that has no full stop."""
    return name.replace(".", "-")


def _without(item: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in names}
