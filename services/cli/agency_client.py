"""An agency's own system: HTTP and nothing else, patient, never asking twice anew."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic.dataclasses import dataclass as reading_dataclass
from pydantic_core import to_json

from deploy.local.refusals import CannotRun
from schemas.wire.public_keys import public_bytes
from services.cli.packet_keys import PacketKey
from services.runtime.clock import SystemClock
from services.runtime.ids import random_bytes
from services.runtime.token_client import TokenClient

PATIENCE_SECONDS: Final = 90.0
RETRY_SECONDS: Final = 0.2
ANSWER_WITHIN_SECONDS: Final = 20.0
LISTEN_SECONDS: Final = 10
CONNECTIONS_MAX: Final = 24
AGAIN: Final = (429, 503)
STALE: Final = 412
PULL_REFUSED: Final = (403, 404, 409)
NOT_YET_ADMITTED: Final = "agency_not_admitted"
"""What a service answers that has not read yet what governance published."""
REFUSED: Final = "referral.step_refused"
DESK: Final = "duty"
ROLE: Final = "caseworker"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyAccount:
    """An agency as its system knows it, and what it plants where no name belongs."""

    id: str
    title: str
    sector: str
    purpose: str
    """What its people look at referrals for."""
    services: Mapping[str, tuple[str, ...]]
    """Its services in the directory, each with the needs that it answers."""
    organization: str
    language: str
    mail: str
    planted: tuple[str, str]
    """Its name inside case numbers, and inside idempotency keys, which are ASCII without spaces."""

    @property
    def staff(self) -> tuple[str, str]:
        """Pseudonyms of the two people at work."""
        return f"{self.id}.1", f"{self.id}.2"


@dataclass(frozen=True, slots=True)
class AgencyStep:
    """One step: which party asks, at which sub-resource, with what, and the fact that answers it."""

    by: str
    resource: str
    fact: str
    body: Json = field(default_factory=dict)


ACKNOWLEDGE: Final = AgencyStep("receiver", "acknowledgements", "referral.acknowledged")
ACCEPT: Final = AgencyStep("receiver", "acceptances", "referral.accepted", {"appointment": "this_week"})
DECLINE: Final = AgencyStep("receiver", "declines", "referral.declined", {"reason": "no_capacity"})
START: Final = AgencyStep("receiver", "starts", "referral.started")
PROVIDE: Final = AgencyStep("receiver", "provisions", "referral.provided", {"outcome": "completed"})
NOT_PROVIDE: Final = AgencyStep(
    "receiver", "non-provisions", "referral.not_provided", {"reason": "did_not_come"}
)
FEEDBACK: Final = AgencyStep("receiver", "feedback", "referral.feedback_given", {"outcome": "helped"})
CLOSE: Final = AgencyStep("owner", "closures", "referral.closed", {"reason": "needs_met"})
REDIRECT: Final = AgencyStep("owner", "redirections", "referral.redirected")
"""Its body names another recipient and its service."""
CLOSE_UNMET: Final = AgencyStep("owner", "unmet-closures", "referral.closed_unmet", {"unmet": "no_capacity"})
CANCEL: Final = AgencyStep("owner", "cancellations", "referral.cancelled", {"reason": "found_elsewhere"})
WITHDRAW: Final = AgencyStep("owner", "withdrawals", "referral.withdrawn", {"stop_contact": True})
SEAL: Final = AgencyStep("receiver", "seal-confirmations", "referral.sealed", {"method": "nothing_held"})


@dataclass(frozen=True, slots=True)
class SentStep:
    """A step that was answered 202; `fact` is what the arbiter calls it once it has happened."""

    id: str
    referral: str
    agency: str
    fact: str


@reading_dataclass(frozen=True, slots=True)
class NumberedFact:
    """One numbered fact of a referral, as one agency is told it."""

    referral: str
    agency: str
    type: str
    number: int = 0
    state: str | None = None
    code: str | None = None
    """Why a step was refused."""
    step: str | None = None
    """Which step was refused."""
    caused_by: str | None = field(default=None, compare=False)
    """The step behind it, as the arbiter says; no agency is told."""
    position: int = field(default=0, compare=False)
    """Where it stands in the agency's feed."""

    def answers(self, sent: SentStep) -> bool:
        """Whether this is the fact of a step, or its refusal."""
        return self.type == sent.fact or (self.type == REFUSED and self.step == sent.id)


@dataclass(frozen=True, slots=True)
class GrantedLook:
    """One look that an agency's person was granted; a case has no referral."""

    act: str
    agency: str
    staff: str
    purpose: str
    referral: str | None = None


class UnexpectedAnswer(CannotRun):
    """A service answered what no agency can go on from."""

    def __init__(self, sentence: str) -> None:
        super().__init__("unexpected_answer", sentence)


class AgencyClient:
    """One agency's system, with connections of its own; remembers what it sent, saw and was told."""

    def __init__(self, agency: AgencyAccount, url: str, issuer: TokenClient) -> None:
        self.agency = agency
        self.sent: list[SentStep] = []
        self.looks: list[GrantedLook] = []
        self.unanswered: dict[str, SentStep] = {}
        """Steps that wait for their fact or their refusal."""
        self.http = httpx2.AsyncClient(
            base_url=url,
            timeout=ANSWER_WITHIN_SECONDS,
            limits=httpx2.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX),
            trust_env=False,
        )
        self.signing_key = Ed25519PrivateKey.generate()
        """With which the agency is admitted, and signs what it registers."""
        self.packet_key = PacketKey.new(agency.id)
        self._issuer = issuer
        self.events: dict[str, list[NumberedFact]] = defaultdict(list)
        """What was told of each referral so far."""
        self._growth: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._position = 0

    async def ask(
        self, method: str, path: str, body: Any = None, *, lets: Collection[int] = (STALE,), **more: Any
    ) -> httpx2.Response:
        """One request under one key, sent again under the same key for as long as nobody answers it.

        Whatever is neither a success nor one of the statuses that it `lets` pass is unexpected.
        """
        more["headers"] = {"Idempotency-Key": self._key(), **more.get("headers", {})}
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = await self.request(method, path, body, **more)
            except httpx2.TransportError as error:
                trouble, passes = type(error).__name__, True
            else:
                if answer.is_success or answer.status_code in lets:
                    return answer
                trouble = f"{answer.status_code} {answer.text[:300]}"
                passes = answer.status_code in AGAIN or answer.json().get("code") == NOT_YET_ADMITTED
            if not passes or time.monotonic() > ends:
                raise UnexpectedAnswer(f"{self.agency.id}: {method} {path}: {trouble}")
            await asyncio.sleep(RETRY_SECONDS)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        person: int = 0,
        headers: Json | None = None,
        **more: Any,
    ) -> httpx2.Response:
        """One request, sent once; bytes go as they are, and a header that is given empty is left out."""
        usual = {
            "Authorization": f"Bearer {await self._token(person)}",
            "Concert-Purpose": self.agency.purpose,
            "Content-Type": "application/json",
            "Idempotency-Key": self._key(),
        }
        chosen = {name: text for name, text in {**usual, **(headers or {})}.items() if text}
        content = body if isinstance(body, bytes | None) else to_json(body)
        return await self.http.request(method, path, content=content, headers=chosen, **more)

    async def prepare(
        self,
        recipient: AgencyAccount,
        /,
        *others: AgencyAccount,
        feedback: bool = False,
        agreed: Json = MappingProxyType({}),
        **changes: Any,
    ) -> Json:
        """A case, her consent to recipients, and the offer to the first of them that may be sent upon it."""
        case = await self.open_case()
        allowed = consent_to(recipient, *others, feedback=feedback, **agreed)
        consent = (await self.ask("POST", f"/v1/cases/{case}/consents", allowed)).json()
        service, needs = next(iter(recipient.services.items()))
        return {
            "case": case,
            "consent": {"id": consent["id"], "version": consent["version"]},
            "service": service,
            "recipient": recipient.id,
            "purpose": recipient.purpose,
            "groups": allowed["scope"]["groups"],
            "needs": needs,
            "urgency": "priority",
            "age_band": "adult",
            "area": "ZZ0104",
            "duty": DESK,
            **changes,
        }

    async def open_case(self) -> str:
        """A case of one's own; gives its id."""
        reference = f"{self.agency.planted[0]} / {random_bytes(3).hex()}"
        return str((await self.ask("POST", "/v1/cases", {"reference": reference})).json()["id"])

    async def offer(self, body: Json) -> SentStep:
        """Offer a referral."""
        return self._remember((await self.ask("POST", "/v1/referrals", body)).json(), "referral.offered")

    async def step(self, referral: str, step: AgencyStep, trace: Any = None) -> SentStep | None:
        """Ask for a step, on the newest view; None where the referral had moved on already."""
        answer = await self.ask(
            "POST",
            f"/v1/referrals/{referral}/{step.resource}",
            {"duty": DESK, **step.body},
            headers={"If-Match": f'"{self.number(referral)}"'},
            extensions={"trace": trace} if trace else {},
        )
        return None if answer.status_code == STALE else self._remember(answer.json(), step.fact)

    async def read_referral(self, referral: str, person: int = 0) -> Json:
        """Look at a referral."""
        shown: Json = (await self.ask("GET", f"/v1/referrals/{referral}", person=person)).json()
        self._was_shown("view", person, referral)
        return shown

    async def read_case(self, case: str) -> Json:
        """Look at an own case."""
        shown: Json = (await self.ask("GET", f"/v1/cases/{case}")).json()
        self._was_shown("view", 0, None)
        return shown

    async def read_worklist(self) -> list[Json]:
        """Look at what waits; gives the newest rows."""
        rows: list[Json] = (await self.ask("GET", "/v1/worklist", person=1)).json()["data"]
        for row in rows:
            self._was_shown("list", 1, row["referral"])
        return rows

    async def write_packet(self, case: str, groups: Mapping[str, Json]) -> None:
        """Write down what she told, group by group."""
        for group, content in groups.items():
            await self.ask("PUT", f"/v1/cases/{case}/packet/{group}", content)

    async def register_key(self) -> None:
        """Register the packet key at the agency's own sector, signed by the key of the admission."""
        record = self.packet_key.record(self.signing_key, SystemClock().now())
        await self.ask("PUT", f"/v1/keys/{record.key}", record.model_dump(mode="json"))

    async def pull_packet(self, referral: str, groups: Sequence[str], person: int = 0) -> httpx2.Response:
        """Pull groups of a packet, sealed to the agency's newest key; a refusal is an answer too."""
        answer = await self.ask("POST", *self.pull_of(referral, groups), person=person, lets=PULL_REFUSED)
        if answer.is_success:
            self._was_shown("disclosure", person, referral)
        return answer

    def pull_of(self, referral: str, groups: Sequence[str]) -> tuple[str, Json]:
        """Where a pull goes, and what it says."""
        return f"/v1/referrals/{referral}/packet-pulls", {
            "purpose": self.agency.purpose,
            "groups": list(groups),
        }

    def open_packet(self, answer: bytes, vault_key: str) -> Json:
        """The groups of a pull's answer, which the owner's vault signed."""
        return self.packet_key.open(answer, public_bytes(vault_key))

    async def services(self) -> list[Json]:
        """The directory, all pages."""
        found: list[Json] = []
        after = ""
        while after is not None:
            page = (await self.ask("GET", "/v1/services", params={"limit": 200, "after": after})).json()
            found += page["data"]
            after = page["next"]
        return found

    async def listen(self) -> None:
        """Follow the feed for ever."""
        while True:
            for event in await self._page(self._position, LISTEN_SECONDS):
                self._position = event.position
                self.take(event)

    async def whole_feed(self) -> list[NumberedFact]:
        """The feed once more, from its beginning."""
        found: list[NumberedFact] = []
        while page := await self._page(found[-1].position if found else 0, 0):
            found += page
        return found

    def take(self, event: NumberedFact) -> None:
        """The feed brought an event."""
        self.events[event.referral].append(event)
        for sent in [each for each in self.unanswered.values() if each.referral == event.referral]:
            if event.answers(sent):
                del self.unanswered[sent.id]
        self._growth.pop(event.referral, asyncio.Event()).set()

    def number(self, referral: str) -> int:
        """The number of the last fact of a referral."""
        return max((event.number for event in self.events[referral]), default=0)

    async def until(self, referral: str, holds: Callable[[NumberedFact], bool]) -> NumberedFact:
        """Wait until something is told of a referral; raises TimeoutError when it takes too long."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := next(filter(holds, self.events[referral]), None)):
                await self._growth[referral].wait()
        return found

    async def answer(self, sent: SentStep) -> NumberedFact:
        """Wait for the fact or the refusal that answers a step."""
        return await self.until(sent.referral, lambda event: event.answers(sent))

    async def told(self, referral: str, fact: str) -> NumberedFact:
        """Wait until a fact is told."""
        return await self.until(referral, lambda event: event.type == fact)

    def _remember(self, answer: Json, fact: str) -> SentStep:
        sent = SentStep(answer["step"], answer["referral"], self.agency.id, fact)
        self.sent.append(sent)
        if not any(event.answers(sent) for event in self.events[sent.referral]):
            self.unanswered[sent.id] = sent
        return sent

    def _was_shown(self, act: str, person: int, referral: str | None) -> None:
        agency = self.agency
        self.looks.append(GrantedLook(act, agency.id, agency.staff[person], agency.purpose, referral))

    async def _page(self, after: int, wait: int) -> list[NumberedFact]:
        answer = await self.ask("GET", "/v1/events", params={"after": after, "wait": wait})
        return [NumberedFact(agency=self.agency.id, **row) for row in answer.json()["data"]]

    def _key(self) -> str:
        return f"{self.agency.planted[1]}-{random_bytes(8).hex()}"

    async def _token(self, person: int) -> str:
        agency = self.agency
        return await self._issuer.held_token(agency=agency.id, staff=agency.staff[person], role=ROLE)


def consent_to(*recipients: AgencyAccount, feedback: bool, **more: Any) -> Json:
    """What a survivor allows: that these agencies are told how to reach her, unless she says more."""
    scope = {
        "recipients": [recipient.id for recipient in recipients],
        "groups": ["contact"],
        "purposes": sorted({recipient.purpose for recipient in recipients}),
        "expires_at": "2099-01-01T00:00:00Z",
        "feedback": feedback,
        **more,
    }
    return {"scope": scope, "form_version": "2026-1", "language": "en"}
