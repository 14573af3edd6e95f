"""A sector's doors on its real stores, for a sector that nobody has coded for: what is taken and shown."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from schemas.events.access import Access, EventReport
from schemas.events.break_glass import BreakGlassApproval, check_approval
from schemas.events.directory import ServiceRegistered
from schemas.events.facts import FactBase, ReferralOffered, ReferralWithdrawn
from schemas.events.governance import ProtocolCurrent
from schemas.events.pulls import PacketPull
from schemas.events.referral import OfferReferral, OrderErasure
from schemas.roles import ROLES, Act
from schemas.topics import inbox_of
from schemas.wire.hpke import new_pair
from schemas.wire.key_records import sign_key_record
from schemas.wire.topic import source_of
from services.education.profile import PROFILE as EDUCATION
from services.health.profile import PROFILE as HEALTH
from services.police.profile import PROFILE as POLICE
from services.runtime.openapi import document_of
from services.runtime.tokens import token_reader
from services.sector.api import Engine, FeedNotifier, described_app, sector_app
from services.sector.domain.bodies import OWN_WORDS
from services.sector.domain.directory import MISSES
from services.sector.domain.profile import Profile
from services.sector.domain.refusals import PacketEmpty
from services.sector.domain.requests import RESOURCES
from services.sector.handlers.work import ReleaseRecord
from services.sector.permits import Permits
from services.sector.subscriptions import subscriptions
from services.sector.wiring import keyed_digest
from services.social_services.profile import PROFILE as SOCIAL_SERVICES
from tests.support.builders import RECEIVER, a_protocol_current, agency_key, an_entry, an_event, an_id
from tests.support.clock import NOON
from tests.support.described import Description
from tests.support.scenes import CONSENT, PERSONAL, an_offer_asked
from tests.support.sector import SIGNING_KEY, StoredSector
from tests.support.trail import TrailTwin

INVENTED = Profile(
    "justice",
    "Courts and legal aid",
    frozenset({"care", "legal_aid"}),
    frozenset({"no_capacity", "outside_area"}),
)
WRITTEN = (HEALTH, POLICE, SOCIAL_SERVICES, EDUCATION)
ISSUER = "urn:concert:test-local:local-issuer"
KEY = ECKey.generate_key("P-384")
NOTHING: Any = None
OWN, OTHER = "quay-agency", "hill-agency"

DESCRIPTIONS: dict[str, Description] = {}


def described(sector: str, app: FastAPI) -> Description:
    """The document of a sector, made once."""
    if sector not in DESCRIPTIONS:
        DESCRIPTIONS[sector] = Description(document_of(app))
    return DESCRIPTIONS[sector]


class Scene:
    """One sector over HTTP, with an agency of its own."""

    def __init__(self, sector: StoredSector) -> None:
        self.sector = sector
        self.profile = profile = sector.profile
        self.source = source_of("test-local", profile.name)
        self.trail = TrailTwin(self.source)
        shows = Permits(
            self.trail.client(), audience=self.source, trust=self.trail.trust, open_work=self.sector.open
        )
        caller = token_reader(KeySet([KEY]), issuer=ISSUER, audience=self.source, clock=self.sector.clock)
        opened = self.sector.open
        self.forwarded: list[tuple[PacketPull, str]] = []
        self.has_room = True
        app = sector_app(
            Engine(
                profile,
                caller,
                opened,
                opened,
                shows,
                keyed_digest(bytes(32)),
                NOTHING,
                self.forward,
                FeedNotifier(),
                lambda: self.has_room,
            )
        )
        self.client = httpx2.AsyncClient(
            base_url="http://sector.example",
            transport=httpx2.ASGITransport(app=app),
            event_hooks={"response": [described(profile.name, app).check]},
        )
        self._sequence = 0

    async def forward(self, pull: PacketPull, sector: str) -> bytes:
        """The owner's sector, where nothing was written yet."""
        self.forwarded.append((pull, sector))
        raise PacketEmpty

    async def pull(self, referral: str, idem: str = "", **changes: Any) -> httpx2.Response:
        body = {"purpose": "care", "groups": ["clinical"]} | changes
        return await self.post(f"/v1/referrals/{referral}/packet-pulls", body, idem)

    async def put(self, path: str, body: Any) -> httpx2.Response:
        self._sequence += 1
        headers = {"Authorization": f"Bearer {self.token()}", "Idempotency-Key": f"k-{self._sequence}"}
        return await self.client.put(path, json=body, headers=headers)

    def token(self, agency: str = OWN, **changes: Any) -> str:
        at = int(self.sector.clock.now().timestamp())
        claims = {
            "iss": ISSUER, "aud": self.source, "iat": at, "exp": at + 300, "jti": "j", "sub": "staff-7",
            "act": {"client_id": "desk-system"}, "agency": agency, "role": "caseworker",
        } | changes  # fmt: skip
        return jwt.encode({"alg": "ES384", "typ": "at+jwt"}, claims, KEY, algorithms=["ES384"])

    async def post(
        self, path: str, body: Any, key: str = "", agency: str = OWN, role: str = "caseworker", **headers: str
    ) -> httpx2.Response:
        self._sequence += 1
        named = {
            "Authorization": f"Bearer {self.token(agency, role=role)}",
            "Idempotency-Key": key or f"k-{self._sequence}",
        }
        return await self.client.post(path, json=body, headers=named | headers)

    async def get(
        self, path: str, agency: str = OWN, purpose: str | None = "care", role: str = "caseworker"
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token(agency, role=role)}"}
        return await self.client.get(
            path, headers=headers | ({"Concert-Purpose": purpose} if purpose else {})
        )

    async def tell(self, *facts: FactBase) -> None:
        self._sequence += len(facts)
        topic = inbox_of(self.profile.name)
        [reader] = [one for one in subscriptions(self.profile) if topic in one.topics]
        await reader.handler([an_event(topic, fact) for fact in facts], self.sector.work)

    async def case(self) -> str:
        return str((await self.post("/v1/cases", {"reference": PERSONAL})).json()["id"])

    async def offer(self, **changes: Any) -> httpx2.Response:
        case = await self.case()
        consent = (await self.post(f"/v1/cases/{case}/consents", CONSENT)).json()["id"]
        return await self.post("/v1/referrals", an_offer_asked(case, consent, **changes))

    async def received(self, **changes: Any) -> str:
        referral = an_id("referral")
        content: dict[str, Any] = {
            "referral": referral, "to": OWN, "number": 1, "state": "offered", "owner": "far-agency",
            "receiver": OWN, "feedback_allowed": True, "needs": ["medical_care"],
        }  # fmt: skip
        await self.tell(ReferralOffered.model_validate(content | changes))
        return referral

    async def denials(self) -> list[Access]:
        """What the trail is told was denied, in order."""
        told = [one.access for one in await self.sector.reported() if isinstance(one, EventReport)]
        return [access for access in told if access.act == "denial"]

    async def registered(self) -> None:
        """Let the trail know the subjects' keys, as the sweeper would."""
        self.trail.keys |= {one.id: one.key for one in await self.sector.reported() if hasattr(one, "key")}


@pytest.fixture
async def scene(sector: StoredSector) -> AsyncIterator[Scene]:
    sector.profile = INVENTED
    await sector.admit(OWN, OTHER, sector=INVENTED.name)
    scene = Scene(sector)
    async with scene.client:
        yield scene


async def test_a_referral_is_offered_and_seen_by_its_owner(scene: Scene) -> None:
    answer = await scene.offer(recipient="harbour-clinic")

    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/referrals/{answer.json()['referral']}"
    assert [type(step) for step in await scene.sector.sent()] == [OfferReferral]
    assert scene.trail.asked == []  # sending asks for no permit
    await scene.registered()
    shown = await scene.get(answer.headers["location"])
    assert shown.status_code == 200
    assert (shown.json()["role"], shown.json()["state"], shown.headers["etag"]) == ("owner", None, '"0"')


async def test_a_referral_is_received_awaited_and_answered(scene: Scene) -> None:
    referral = await scene.received()

    worklist = await scene.get("/v1/worklist")
    assert [row["referral"] for row in worklist.json()["data"]] == [referral]
    [asked] = scene.trail.asked
    assert [item.referral for item in asked.items] == [referral]
    shown = await scene.get(f"/v1/referrals/{referral}")
    assert shown.json()["offer"]["needs"] == ["medical_care"]
    answer = await scene.post(
        f"/v1/referrals/{referral}/acceptances",
        {"duty": "front-desk", "appointment": "today"},
        **{"If-Match": shown.headers["etag"]},
    )
    assert answer.status_code == 202
    assert answer.json().keys() == {"referral", "step", "received_at"}
    assert (await scene.sector.sent())[0].type == "referral.accept"


async def test_each_answer_says_what_the_asker_may_do_next(scene: Scene) -> None:
    asked = await scene.received()
    own = (await scene.offer(recipient="harbour-clinic")).json()["referral"]
    await scene.registered()

    [row] = (await scene.get("/v1/worklist")).json()["data"]
    shown = (await scene.get(f"/v1/referrals/{own}")).json()

    assert (row["referral"], row["allowed_steps"]) == (asked, ["acknowledge", "accept", "decline"])
    assert shown["allowed_steps"] == ["withdraw"], "the arbiter has not answered yet"


async def test_lists_show_what_is_owned_and_what_was_asked_and_each_row_is_an_item_of_an_entry(
    scene: Scene,
) -> None:
    asked = await scene.received()
    own = [(await scene.offer(recipient="harbour-clinic")).json()["referral"] for _ in range(3)]
    await scene.tell(
        ReferralOffered(referral=own[0], to=OWN, number=1, state="offered", owner=OWN, receiver="far-agency")
    )
    await scene.registered()

    owned = (await scene.get("/v1/referrals")).json()
    offered = (await scene.get("/v1/referrals?state=offered")).json()
    incoming = (await scene.get("/v1/referrals?role=receiver")).json()
    foreign = (await scene.get("/v1/referrals?role=owner", OTHER)).json()

    rows = [row["referral"] for row in owned["data"]]
    assert sorted(rows) == sorted(own)
    assert [row["referral"] for row in offered["data"]] == [own[0]]
    assert [row["referral"] for row in incoming["data"]] == [asked]
    assert foreign == {"data": [], "next": None}
    shown = [[item.referral for item in one.items] for one in scene.trail.asked]
    assert shown == [rows, [own[0]], [asked], []]
    assert {one.access.act for one in scene.trail.asked} == {"list"}
    assert (await scene.get("/v1/referrals?state=lost")).status_code == 422


@pytest.mark.parametrize(
    ("path", "make"),
    [
        ("/v1/worklist", Scene.received),
        ("/v1/referrals?role=receiver", Scene.received),
        ("/v1/cases", Scene.case),
    ],
)
async def test_a_list_comes_in_pages_without_gap_or_repeat(
    scene: Scene, path: str, make: Callable[[Scene], Awaitable[str]]
) -> None:
    all_of_them = [await make(scene) for _ in range(5)]
    await scene.registered()

    found, after, sign = [], "", "&" if "?" in path else "?"
    for _ in range(3):
        answer = (await scene.get(f"{path}{sign}limit=2{after}")).json()
        found += [row.get("referral") or row["id"] for row in answer["data"]]
        after = f"&after={answer['next']}"

    assert sorted(found) == sorted(all_of_them)
    assert answer["next"] is None
    assert (await scene.get(f"{path}{sign}after=bm9uc2Vuc2U=")).json()["code"] == "cursor_unreadable"


async def test_an_agency_lists_its_own_cases_and_no_others(scene: Scene) -> None:
    case = await scene.case()
    await scene.registered()

    own = (await scene.get("/v1/cases")).json()
    foreign = (await scene.get("/v1/cases", OTHER)).json()

    assert [(row["id"], row["reference"]) for row in own["data"]] == [(case, PERSONAL)]
    assert foreign == {"data": [], "next": None}
    [kept] = await scene.sector.rows("SELECT subject FROM case_file")
    shown = [[item.subject for item in one.items] for one in scene.trail.asked]
    assert shown == [[kept.subject], []]
    scene.trail.statuses = [503] * 9
    assert (await scene.get("/v1/cases")).status_code == 503


async def test_the_feed_tells_what_a_webhook_would_and_no_more(scene: Scene) -> None:
    referral = await scene.received()

    events = (await scene.get("/v1/events?after=0", purpose=None)).json()

    assert events == {
        "data": [
            {
                "position": 1, "type": "referral.offered", "referral": referral, "number": 1,
                "state": "offered", "at": "2026-03-02T12:00:00.000Z",
            }
        ],
        "next": 1,
    }  # fmt: skip
    assert (await scene.get("/v1/events?after=1", purpose=None)).json() == {"data": [], "next": 1}
    assert scene.trail.asked == []


async def test_she_can_always_withdraw(scene: Scene) -> None:
    referral = (await scene.offer(recipient="harbour-clinic")).json()["referral"]
    scene.has_room = False  # brokers have been away for long

    refused = await scene.post("/v1/cases", {"reference": "A-2"})
    answer = await scene.post(f"/v1/referrals/{referral}/withdrawals", {"duty": "intake"})

    assert (refused.status_code, refused.json()["code"]) == (503, "outbox_full")
    assert refused.headers["retry-after"]
    assert answer.status_code == 202
    withdrawn = await scene.sector.rows("SELECT referral FROM consent_withdrawal")
    assert [row.referral for row in withdrawn] == [referral]


async def test_after_a_withdrawal_the_receiver_sees_that_it_was_and_nothing_else(scene: Scene) -> None:
    referral = await scene.received()
    await scene.tell(
        ReferralWithdrawn(
            referral=referral, to=OWN, number=2, state="withdrawn", stop_contact=True, seal_by_at=NOON
        )
    )

    shown = (await scene.get(f"/v1/referrals/{referral}")).json()

    assert (shown["state"], shown["offer"], shown["awaits_you"]) == ("withdrawn", None, True)


async def test_a_case_is_seen_by_its_agency_alone(scene: Scene) -> None:
    case = await scene.case()
    await scene.registered()
    [kept] = await scene.sector.rows("SELECT subject FROM case_file WHERE id = :id", id=case)

    own, other = await scene.get(f"/v1/cases/{case}"), await scene.get(f"/v1/cases/{case}", OTHER)

    assert own.json()["reference"] == PERSONAL
    assert [asked.access.subject for asked in scene.trail.asked] == [kept.subject]
    assert other.status_code == 404
    assert (await scene.sector.reported())[-1].access.act == "denial"


async def test_a_case_names_its_consents_and_its_newest_hundred_referrals(scene: Scene) -> None:
    referral = (await scene.offer(recipient="harbour-clinic")).json()["referral"]
    await scene.registered()
    case = (await scene.get(f"/v1/referrals/{referral}")).json()["case"]
    before = (await scene.get(f"/v1/cases/{case}")).json()
    view = await scene.sector.view(OWN, referral)
    later = [
        replace(view, referral=an_id("referral", f"{number}"), subject_number=number)
        for number in range(2, 103)
    ]
    await scene.sector.work.views.save(later)

    after = (await scene.get(f"/v1/cases/{case}")).json()

    assert ([one["withdrawn"] for one in before["consents"]], before["referrals"]) == ([False], [referral])
    assert after["referrals"] == [view.referral for view in reversed(later)][:100]


def same(answer: httpx2.Response) -> Mapping[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "instance"}


async def test_foreign_unknown_and_misspelt_referrals_get_the_same_answer(scene: Scene) -> None:
    referral = await scene.received()
    paths = [f"/v1/referrals/{name}" for name in (referral, an_id("referral"), "ref_x", "..%20")]
    step = {"duty": "desk"}

    reads = [await scene.get(path, OTHER) for path in paths]
    posts = [
        await scene.post(f"{path}/acknowledgements", step, agency=OTHER, **{"If-Match": '"1"'})
        for path in paths[:3]
    ]

    assert {answer.status_code for answer in (*reads, *posts)} == {404}
    assert all(same(answer) == same(reads[0]) for answer in (*reads, *posts))
    typed = [one.access.referral for one in await scene.sector.reported()]
    assert typed == [referral]
    assert [row.times for row in await scene.sector.rows("SELECT times FROM denial")] == [6]
    assert scene.trail.asked == []


async def test_without_the_trail_nothing_is_shown_and_everything_is_taken(scene: Scene) -> None:
    referral = await scene.received()
    scene.trail.statuses = [503] * 9

    reads = [await scene.get("/v1/worklist"), await scene.get(f"/v1/referrals/{referral}")]
    sent = await scene.offer(recipient="harbour-clinic")

    assert [(answer.status_code, answer.json()["code"]) for answer in reads] == [
        (503, "trail_unavailable")
    ] * 2
    assert all("retry-after" in answer.headers for answer in reads)
    assert all(referral not in answer.text for answer in reads)
    assert sent.status_code == 202


@pytest.mark.parametrize(("purpose", "status"), [(None, 400), ("curiosity", 422)])
@pytest.mark.parametrize(
    "path", ["/v1/worklist", "/v1/referrals", "/v1/cases", "/v1/referrals/x", "/v1/cases/x"]
)
async def test_every_look_says_what_for(scene: Scene, path: str, purpose: str | None, status: int) -> None:
    assert (await scene.get(path, purpose=purpose)).status_code == status
    assert scene.trail.asked == []


async def test_a_repeat_is_answered_as_the_first_time_even_when_the_referral_has_moved_on(
    scene: Scene,
) -> None:
    referral = await scene.received()
    path, body = f"/v1/referrals/{referral}/acknowledgements", {"duty": "desk"}
    first = await scene.post(path, body, "same", **{"If-Match": '"1"'})
    await scene.tell(
        ReferralWithdrawn(
            referral=referral, to=OWN, number=2, state="withdrawn", stop_contact=True, seal_by_at=NOON
        )
    )

    again = await scene.post(path, body, "same", **{"If-Match": '"1"'})
    other = await scene.post(path, {"duty": "another"}, "same", **{"If-Match": '"2"'})

    assert (again.status_code, again.json()) == (202, first.json())
    assert (again.headers.get("idempotent-replayed"), first.headers.get("idempotent-replayed")) == (
        "true",
        None,
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert len(await scene.sector.sent()) == 1


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (None, 428), ('"0"', 412), ('"2"', 412), ('"other"', 412), ('W/"2", "3"', 412),
        ("1", 400), ("'1'", 400), ('"1" "2"', 400), ('"1', 400),
        ('"1"', 202), ('W/"1"', 202), ('"0", W/"1"', 202), ("*", 202),
    ],
)  # fmt: skip
async def test_a_step_needs_the_number_of_the_last_fact(scene: Scene, seen: str | None, status: int) -> None:
    referral = await scene.received()
    headers = {"If-Match": seen} if seen else {}

    answer = await scene.post(f"/v1/referrals/{referral}/acknowledgements", {"duty": "desk"}, **headers)

    assert answer.status_code == status
    assert answer.json().get("code") == {
        428: "if_match_missing", 412: "stale_view", 400: "tag_malformed", 202: None
    }[status]  # fmt: skip
    assert len(await scene.sector.sent()) == (status == 202)


@pytest.mark.parametrize(
    ("known", "status"),
    [('"0"', 200), ('"1"', 304), ('W/"1"', 304), ('"0","1"', 304), ("*", 304), ("1", 400)],
)
async def test_a_referral_that_the_asker_knows_is_not_shown_again(
    scene: Scene, known: str, status: int
) -> None:
    referral = await scene.received()
    headers = {"Authorization": f"Bearer {scene.token()}", "Concert-Purpose": "care", "If-None-Match": known}

    answer = await scene.client.get(f"/v1/referrals/{referral}", headers=headers)

    assert answer.status_code == status
    assert bool(answer.content) == (status != 304)


STEP_BODIES: dict[str, dict[str, Any]] = {
    "acknowledgements": {},
    "acceptances": {"appointment": "today"},
    "declines": {"reason": "no_capacity"},
    "starts": {},
    "provisions": {"outcome": "completed"},
    "feedback": {"outcome": "helped"},
    "closures": {"reason": "needs_met"},
    "cancellations": {"reason": "no_longer_needed"},
    "withdrawals": {},
    "seal-confirmations": {"method": "nothing_held"},
    "non-provisions": {"reason": "did_not_come"},
    "unreachable-reports": {"attempts": 3, "rules_kept": True},
    "redirections": {"recipient": "harbour-clinic", "service": "33333333-0000-4000-8000-000000000003"},
    "reoffers": {"reason": "capacity_again"},
    "unmet-closures": {"unmet": "no_capacity"},
    "narrowing-confirmations": {"version": 2, "method": "deleted"},
    "erasure-confirmations": {"method": "deleted"},
}


def test_every_step_of_the_table_has_a_body_here() -> None:
    assert set(STEP_BODIES) == set(RESOURCES)


@pytest.mark.parametrize("resource", RESOURCES)
async def test_every_step_goes_to_the_arbiter_and_takes_no_unknown_field(scene: Scene, resource: str) -> None:
    own, referral = (await scene.offer()).json()["referral"], await scene.received()
    if RESOURCES[resource] in OWN_WORDS:  # these rest on her consent: the owner's alone
        referral = own
    path, body = f"/v1/referrals/{referral}/{resource}", {"duty": "desk"} | STEP_BODIES[resource]

    wrong = await scene.post(path, body | {"note": PERSONAL}, **{"If-Match": "*"})
    taken = await scene.post(path, body, **{"If-Match": "*"})

    assert (wrong.status_code, taken.status_code) == (422, 202)
    assert "Amina" not in wrong.text
    assert [type(step) for step in await scene.sector.sent()] == [OfferReferral, RESOURCES[resource]]


async def test_every_route_asks_who_you_are(scene: Scene) -> None:
    bad = (None, "Bearer nonsense", f"Bearer {scene.token(aud='urn:concert:test-local:referrals')}",
           f"Bearer {scene.token(exp=1)}")  # fmt: skip
    posts = [
        "/v1/cases",
        "/v1/cases/x/consents",
        "/v1/referrals",
        "/v1/service-searches",
        *(f"/v1/referrals/x/{one}" for one in RESOURCES),
    ]
    gets = ["/v1/cases/x", "/v1/referrals/x", "/v1/worklist", "/v1/events", "/v1/services"]

    for authorization in bad:
        headers = {"Authorization": authorization} if authorization else {}
        answers = [await scene.client.post(path, json={}, headers=headers) for path in posts]
        answers += [await scene.client.get(path, headers=headers) for path in gets]
        assert {answer.status_code for answer in answers} == {401}


@pytest.mark.parametrize("key", ["", "k" * 256, "with space"])
async def test_every_post_needs_a_key_of_its_own(scene: Scene, key: str) -> None:
    headers = {"Authorization": f"Bearer {scene.token()}"} | ({"Idempotency-Key": key} if key else {})

    answer = await scene.client.post("/v1/cases", json={"reference": "1"}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


Ask = Callable[[Scene, str, str], Awaitable[httpx2.Response]]
"""Scene, agency and the person's role → what such a request is answered."""


def a_look(path: str) -> Ask:
    return lambda scene, agency, role: scene.get(path, agency, role=role)


def a_post(path: str, body: Mapping[str, Any]) -> Ask:
    return lambda scene, agency, role: scene.post(path, body, agency=agency, role=role, **{"If-Match": '"1"'})


SEARCH = {"need": "medical_care", "area": "KE047", "access_needs": ["interpreter"]}
PROTECTIVE = (
    "withdrawals", "cancellations", "seal-confirmations", "narrowing-confirmations", "erasure-confirmations",
)  # fmt: skip
CASE, REFERRAL = f"/v1/cases/{an_id('case')}", f"/v1/referrals/{an_id('referral')}"


def a_step(resource: str) -> Ask:
    return a_post(f"{REFERRAL}/{resource}", {"duty": "desk"} | STEP_BODIES[resource])


ERASE = {"duty": "intake"}
VERSION: dict[str, Any] = CONSENT | ERASE
REQUESTS: Mapping[str, tuple[Ask, ...]] = {
    "look": tuple(
        map(
            a_look,
            (
                "/v1/worklist",
                "/v1/referrals",
                "/v1/cases",
                REFERRAL,
                "/v1/referrals/x",
                CASE,
                f"{CASE}/holders",
            ),
        )
    ),
    "keys": (a_look("/v1/keys"),),
    "erase": (a_post(f"{CASE}/erasures", ERASE),),
    "directory": (a_look("/v1/services"), a_post("/v1/service-searches", SEARCH)),
    "events": (a_look("/v1/events"),),
    "ask": (
        a_post("/v1/cases", {"reference": "1"}),
        a_post(f"{CASE}/consents", CONSENT),
        a_post(f"{CASE}/consents/{an_id('consent')}/versions", VERSION),
        a_post("/v1/referrals", an_offer_asked(an_id("case"), an_id("consent"))),
        *(a_step(resource) for resource in STEP_BODIES if resource not in PROTECTIVE),
    ),
    "protect": tuple(map(a_step, PROTECTIVE)),
}
REFUSED: Mapping[str, Mapping[str, str]] = {
    "of this sector": {},
    "of another sector": dict.fromkeys(REQUESTS, "wrong_sector"),
    "suspended": dict.fromkeys(("look", "keys", "erase", "directory", "ask"), "agency_inactive"),
    "never admitted": dict.fromkeys(REQUESTS, "agency_not_admitted"),
}
"""Kind of agency → kind of request → the code with which it is refused."""


@pytest.mark.parametrize("kind", REFUSED)
async def test_an_agency_is_let_in_as_governance_says_and_each_refusal_is_counted(
    scene: Scene, kind: str
) -> None:
    await scene.sector.admit("of-this-sector", sector=scene.profile.name)
    await scene.sector.admit("of-another-sector", sector="another")
    await scene.sector.suspend("suspended")
    agency, refused = kind.replace(" ", "-"), 0

    for request, asks in REQUESTS.items():
        for ask in asks:
            answer = await ask(scene, agency, "caseworker")
            code = answer.json()["code"] if answer.status_code == 403 else None
            assert code == REFUSED[kind].get(request), request
            refused += code is not None
    counted = "SELECT access::json->>'reason' AS code, times FROM denial"
    denied = {row.code: 1 + row.times for row in await scene.sector.rows(counted)}
    assert sum(denied.get(code, 0) for code in {*REFUSED[kind].values()}) == refused
    if kind != "of this sector":
        assert scene.trail.asked == await scene.sector.sent() == []


@pytest.mark.parametrize("role", ["caseworker", "intake", "coordinator", "system", "cleaner"])
async def test_a_role_may_do_what_its_row_says_and_the_trail_learns_of_the_rest(
    scene: Scene, role: str
) -> None:
    acts: dict[str, Act] = {
        "look": "look",
        "keys": "arrange",
        "erase": "erase",
        "directory": "listen",
        "events": "listen",
        "ask": "ask",
        "protect": "ask",
    }

    for request, asks in REQUESTS.items():
        for ask in asks:
            answer = await ask(scene, OWN, role)
            may = role in ROLES and acts[request] in ROLES[role].acts
            assert (answer.status_code != 403) == may
            if not may:
                assert answer.json()["code"] == ("role_forbids" if role in ROLES else "unknown_role")
                assert "cleaner" not in answer.text
            if role not in ROLES:
                assert all(known in answer.json()["detail"] for known in ROLES)
    denials = {access.reason for access in await scene.denials()}
    assert ({"unknown_role", "role_forbids"} & denials) == {
        "caseworker": set(), "intake": {"role_forbids"}, "coordinator": {"role_forbids"},
        "system": {"role_forbids"}, "cleaner": {"unknown_role"},
    }[role]  # fmt: skip


async def test_a_purpose_that_nobody_there_serves_shows_nothing_and_stands_in_the_trail(scene: Scene) -> None:
    referral = await scene.received(purpose="care")
    path, other = f"/v1/referrals/{referral}", "consent_does_not_cover"
    asked = (
        (path, "investigation", "caseworker", "purpose_not_served"),  # her sector here does not
        ("/v1/worklist", "care", "lawyer", "purpose_not_served"),  # that role does not
        (path, "legal_aid", "lawyer", other),  # she did not agree to that
    )

    for place, purpose, role, code in asked:
        answer = await scene.get(place, purpose=purpose, role=role)
        assert (answer.status_code, answer.json()["code"]) == (403, code)

    assert [access.reason for access in await scene.denials()] == [code for *_, code in asked]
    assert scene.trail.asked == []
    assert (await scene.get(path, role="nurse")).status_code == 200


async def test_a_consent_gets_a_next_version_holders_are_named_and_the_case_is_erased_by_its_agency_alone(
    scene: Scene,
) -> None:
    referral = (await scene.offer()).json()["referral"]
    await scene.registered()
    view = await scene.sector.view(OWN, referral)
    consent = view.consent.id if view.consent else ""
    given = ReleaseRecord(an_id("release"), str(view.case), referral, RECEIVER, {"clinical": 2}, NOON)
    await scene.sector.work.packets.record_release(given)

    async def ask(case: str, agency: str = OWN) -> list[httpx2.Response]:
        versions, erasures = f"/v1/cases/{case}/consents/{consent}/versions", f"/v1/cases/{case}/erasures"
        return [
            await scene.post(versions, VERSION, agency=agency),
            await scene.get(f"/v1/cases/{case}/holders", agency),
            await scene.post(erasures, ERASE, agency=agency),
        ]

    scene.has_room = False  # nor does that keep her from agreeing to less
    foreign, unknown = await ask(str(view.case), OTHER), await ask(an_id("case"))
    version, holders, erased = await ask(str(view.case))

    assert [answer.status_code for answer in (*foreign, *unknown)] == [404] * 6
    assert [same(answer) for answer in foreign] == [same(answer) for answer in unknown]
    assert (version.status_code, version.json()["version"]) == (201, 2)
    assert holders.json()["data"] == [
        {
            "referral": referral, "agency": RECEIVER, "group": "clinical", "version": 2,
            "released_at": "2026-03-02T12:00:00.000Z", "sealed": False,
        }
    ]  # fmt: skip
    assert (erased.status_code, erased.json()["id"]) == (202, view.case)
    assert [type(step) for step in await scene.sector.sent()] == [OfferReferral, OrderErasure]


OTHER_BODIES: Mapping[str, Any] = {
    "consents": CONSENT, "versions": VERSION, "erasures": ERASE,
    "packet-pulls": {"purpose": "care", "groups": ["clinical"]},
}  # fmt: skip


async def test_an_erased_case_is_gone_at_every_route_that_names_it_or_a_referral_of_it(scene: Scene) -> None:
    referral = (await scene.offer()).json()["referral"]
    view = await scene.sector.view(OWN, referral)
    names = {"case": view.case, "consent": view.consent and view.consent.id, "referral": referral}
    await scene.post(f"/v1/cases/{view.case}/erasures", ERASE)
    headers = {"Authorization": f"Bearer {scene.token()}", "Concert-Purpose": "care", "If-Match": "*"}

    answered = {}
    for path, methods in document_of(described_app(INVENTED))["paths"].items():
        if "{case}" in path or "{referral}" in path:
            last = path.rpartition("/")[2]
            body = OTHER_BODIES.get(last, {"duty": "desk"} | STEP_BODIES.get(last, {}))
            for method in methods:
                asked = {} if "/packet/" in path else body
                answer = await scene.client.request(
                    method.upper(), path.format(**names), headers=headers | {"Idempotency-Key": path},
                    json=None if method == "get" else asked,
                )  # fmt: skip
                answered[method, path] = answer.status_code, answer.json()["code"]
    offered = await scene.post("/v1/referrals", an_offer_asked(str(view.case), str(names["consent"])))

    assert answered == dict.fromkeys(answered, (410, "case_erased"))
    assert len(answered) > len(RESOURCES) + 10
    assert (offered.status_code, offered.json()["code"]) == (410, "case_erased")


async def step_of(scene: Scene, referral: str, resource: str, key: str = "") -> httpx2.Response:
    body = {"duty": "desk"} | STEP_BODIES[resource]
    return await scene.post(f"/v1/referrals/{referral}/{resource}", body, key, **{"If-Match": '"1"'})


@pytest.mark.parametrize("resource", PROTECTIVE)
async def test_what_protects_her_stays_open_to_a_suspended_agency(scene: Scene, resource: str) -> None:
    referral = await scene.received()
    await scene.sector.suspend(OWN)

    events = await scene.get("/v1/events", purpose=None)
    answer = await step_of(scene, referral, resource)

    assert [row["number"] for row in events.json()["data"]] == [1]
    assert answer.status_code == 202
    assert [type(step) for step in await scene.sector.sent()] == [RESOURCES[resource]]


async def test_an_answer_given_before_is_not_given_again_to_a_suspended_agency(scene: Scene) -> None:
    referral = await scene.received()
    first = await step_of(scene, referral, "acknowledgements", "same")
    await scene.sector.suspend(OWN)

    again = await step_of(scene, referral, "acknowledgements", "same")

    assert (first.status_code, again.status_code) == (202, 403)


@pytest.mark.parametrize("state", ["cancelled", "closed", "withdrawn"])
async def test_a_copy_to_be_sealed_is_in_the_receivers_worklist(scene: Scene, state: str) -> None:
    referral = await scene.received(state=state)

    rows = (await scene.get("/v1/worklist")).json()["data"]

    assert [(row["referral"], row["awaits_you"]) for row in rows] == [(referral, True)]


@pytest.mark.parametrize("unknown", [{1}, {0, 2}, {0, 1, 2, 3}])
async def test_referrals_that_the_trail_does_not_know_yet_hold_up_no_other(
    scene: Scene, unknown: set[int]
) -> None:
    referrals = [await scene.received() for _ in range(4)]
    scene.trail.unknown = {referrals[at] for at in unknown}

    rows = (await scene.get("/v1/worklist")).json()["data"]

    assert {row["referral"] for row in rows} == {*referrals} - scene.trail.unknown
    assert len(scene.trail.asked) == 2


async def test_a_key_is_used_up_for_one_path(scene: Scene) -> None:
    first, second = await scene.received(), await scene.received()
    seen = {"If-Match": '"1"'}

    await scene.post(f"/v1/referrals/{first}/starts", {"duty": "desk"}, "same", **seen)
    answer = await scene.post(f"/v1/referrals/{second}/starts", {"duty": "desk"}, "same", **seen)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")


async def test_what_was_settled_while_the_trail_was_asked_is_not_shown(scene: Scene) -> None:
    referral = await scene.received()
    settled = replace(await scene.sector.view(OWN, referral), is_awaited=False)
    scene.trail.meanwhile = lambda: scene.sector.work.views.save([settled])

    assert (await scene.get("/v1/worklist")).json() == {"data": [], "next": None}


async def test_the_directory_comes_in_pages(scene: Scene) -> None:
    services = [f"11111111-0000-4000-8000-00000000000{number}" for number in range(3)]
    await scene.sector.work.register.keep(ServiceRegistered, [an_entry(service) for service in services])

    first = (await scene.get("/v1/services?limit=2", purpose=None)).json()
    rest = (await scene.get(f"/v1/services?limit=2&after={first['next']}", purpose=None)).json()

    assert [row["service"] for row in first["data"] + rest["data"]] == services
    assert rest["next"] is None
    assert (await scene.get("/v1/services?after=%00", purpose=None)).status_code == 422


async def a_directory(scene: Scene, *services: Mapping[str, Any]) -> None:
    """Another agency's services, and the protocol that joins it with this one."""
    await scene.sector.admit(RECEIVER)
    protocol = a_protocol_current(parties=(OWN, RECEIVER))
    await scene.sector.work.register.keep(ProtocolCurrent, [protocol])
    entries = [an_entry(f"11111111-0000-4000-8000-00000000000{n}", **one) for n, one in enumerate(services)]
    await scene.sector.work.register.keep(ServiceRegistered, entries)


async def test_a_search_ranks_what_could_be_offered_and_says_what_does_not_fit(scene: Scene) -> None:
    await a_directory(
        scene,
        {"access_needs": ["interpreter"], "areas": ["KE"]},
        {"areas": ["KE047"], "languages": ["en"]},
        {"areas": ["UG"], "access_needs": ["interpreter"]},
        {"needs": ["legal_aid"], "access_needs": ["interpreter"]},
        {"confirmed_at": NOON - timedelta(days=2_000), "access_needs": ["interpreter"]},
    )

    found = (await scene.post("/v1/service-searches", SEARCH)).json()
    elsewhere = (await scene.post("/v1/service-searches", SEARCH | {"sector": "police"})).json()

    assert [row["misses"] for row in found["data"]] == [
        [], [{"code": "interpreter_unsaid", "sentence": MISSES["interpreter_unsaid"]}]
    ]  # fmt: skip
    assert {row["agency"] for row in found["data"]} == {RECEIVER}
    assert found["unmet_need"] is None
    assert elsewhere["data"] == []


async def test_a_search_that_finds_no_help_is_counted_once_and_names_nobody(scene: Scene) -> None:
    await a_directory(scene, {"areas": ["KE047"], "access_needs": ["interpreter"]})

    unmet = [
        (await scene.post("/v1/service-searches", content, key=key)).json()["unmet_need"]
        for key, content in (
            *[("one", SEARCH | {"access_needs": ["wheelchair"]})] * 2,
            ("two", SEARCH | {"no_help": True}), ("three", SEARCH),
        )
    ]  # fmt: skip

    assert unmet[0] == unmet[1] != unmet[2]
    assert unmet[3] is None
    sent = [step.model_dump(mode="json") for step in await scene.sector.sent()]
    place = {"need": "medical_care", "area": "KE047"}
    assert sent == [
        {"unmet": unmet[0], "access_needs": ["wheelchair"], **place},
        {"unmet": unmet[2], "access_needs": ["interpreter"], **place},
    ]


@pytest.mark.parametrize(
    ("status", "parties"), [("suspended", (OWN, RECEIVER)), ("active", (OTHER, RECEIVER))]
)
async def test_a_suspended_agency_or_one_without_a_protocol_is_not_found(
    scene: Scene, status: str, parties: tuple[str, ...]
) -> None:
    await a_directory(scene, {"areas": ["KE047"]})
    later = a_protocol_current(parties=parties, version=2)
    await scene.sector.work.register.keep(ProtocolCurrent, [later])
    await scene.sector.admit(RECEIVER, status=status, version=2)

    assert (await scene.post("/v1/service-searches", SEARCH)).json()["data"] == []


async def test_nobody_records_a_consent_or_offers_on_anothers_case(scene: Scene) -> None:
    case = await scene.case()
    consent = (await scene.post(f"/v1/cases/{case}/consents", CONSENT)).json()["id"]

    answers = [
        await scene.post(f"/v1/cases/{case}/consents", CONSENT, agency=OTHER),
        await scene.post("/v1/referrals", an_offer_asked(case, consent), agency=OTHER),
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert len(await scene.sector.rows("SELECT 1 FROM consent_version")) == 1
    assert await scene.sector.sent() == []


APPROVAL: dict[str, Any] = {"requester": "hill-police", "groups": ["contact"], "reason": "threat_to_life"}


async def test_a_supervisor_approves_a_look_of_another_agency_and_signs_it(scene: Scene) -> None:
    await scene.sector.admit("hill-police", sector="police")
    asked = APPROVAL | {"referral": an_id("referral")}

    scene.has_room = False  # she is in danger, and an approval sends nothing
    answer = await scene.post("/v1/break-glass-approvals", asked, role="supervisor")

    assert answer.status_code == 201
    approval = BreakGlassApproval.model_validate_json(answer.text)
    public = SIGNING_KEY.public_key().public_bytes_raw()
    named: dict[str, Any] = {"referral": asked["referral"], "requester": "hill-police", "groups": ["contact"]}
    check_approval(approval, public, at=scene.sector.clock.now(), **named)
    [told] = [one.access for one in await scene.sector.reported() if isinstance(one, EventReport)]
    assert (told.act, told.agency, told.referral, told.reason) == (
        "approval", OWN, asked["referral"], "threat_to_life",
    )  # fmt: skip


APPROVALS: list[tuple[dict[str, Any], str, int, str]] = [
    ({"requester": OWN}, "supervisor", 422, "approver_is_requester"),
    ({"requester": "never-admitted"}, "supervisor", 422, "requester_not_admitted"),
    ({"requester": "suspended"}, "supervisor", 422, "requester_not_admitted"),
    ({"reason": "curiosity"}, "supervisor", 422, "invalid"),
    ({}, "caseworker", 403, "role_forbids"),
]


@pytest.mark.parametrize(("changes", "role", "status", "code"), APPROVALS)
async def test_an_approval_that_would_open_nothing_is_not_given(
    scene: Scene, changes: dict[str, Any], role: str, status: int, code: str
) -> None:
    await scene.sector.admit("hill-police", sector="police")
    await scene.sector.suspend("suspended")
    asked = APPROVAL | {"referral": an_id("referral")} | changes

    answer = await scene.post("/v1/break-glass-approvals", asked, role=role)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_only_a_role_that_may_calls_a_danger(scene: Scene) -> None:
    referral, asked = await scene.received(), APPROVAL | {"requester": OWN}
    approval = {
        "v": "xbtg/1", **asked, "referral": referral, "approver": "hill-police", "approved_by": "s-1",
        "approved_at": "2026-03-02T12:00:00Z", "sig": {"kid": "0" * 16, "value": "A" * 86 + "=="},
    }  # fmt: skip
    body = {"purpose": "legal_aid", "groups": ["contact"], "approval": approval}

    answer = await scene.post(f"/v1/referrals/{referral}/packet-pulls", body, role="lawyer")

    assert (answer.status_code, answer.json()["code"]) == (403, "role_forbids")
    assert [access.reason for access in await scene.denials()] == ["role_forbids"]


async def acceptable(scene: Scene) -> str:
    """A referral from afar that this agency has accepted, with a key to seal to."""
    referral = await scene.received()
    [view] = await scene.sector.work.views.find([referral], OWN)
    await scene.sector.work.views.save([replace(view, state="accepted")])
    await scene.sector.admit("far-agency", sector="health")
    record = sign_key_record(
        agency_key(OWN),
        holder=OWN,
        suite=1,
        public=new_pair(1)[1],
        not_before=NOON - timedelta(days=1),
        not_after=NOON + timedelta(days=30),
    )
    await scene.sector.work.key_records.add(record)
    return referral


async def test_a_pull_goes_on_to_the_owners_sector_and_its_repeat_too(scene: Scene) -> None:
    referral = await acceptable(scene)

    answers = [await scene.pull(referral, "one-key") for _ in range(2)]
    other = await scene.pull(referral, "one-key", groups=["contact"])

    assert [answer.json()["code"] for answer in answers] == ["packet_empty"] * 2
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert [sector for _, sector in scene.forwarded] == ["health"] * 2
    [pull, _] = [pull for pull, _ in scene.forwarded]
    assert (pull.referral, pull.recipient, pull.groups) == (referral, OWN, ("clinical",))
    assert pull.actor.id == "staff-7"


async def test_a_pull_that_is_wrong_goes_nowhere(scene: Scene) -> None:
    referral = await acceptable(scene)

    gossip = await scene.pull(referral, groups=["gossip"])
    keyless = await scene.pull(referral, key=f"rk_{'a' * 26}")

    answers = [(answer.status_code, answer.json()["code"]) for answer in (gossip, keyless)]
    assert answers == [(422, "invalid"), (409, "key_record_missing")]
    assert scene.forwarded == []


async def test_a_referral_that_was_not_accepted_has_nothing_to_pull(scene: Scene) -> None:
    await acceptable(scene)
    offered = await scene.pull(await scene.received())
    unknown = await scene.pull(an_id("referral"))

    assert [answer.status_code for answer in (offered, unknown)] == [404, 404]
    assert offered.json() | {"instance": ""} == unknown.json() | {"instance": ""}
    assert scene.forwarded == []
    denied = [one.access for one in await scene.sector.reported() if getattr(one, "access", None)]
    assert [one.reason for one in denied if one.act == "denial"] == ["not_found"]


@pytest.mark.parametrize(
    ("group", "content", "status", "code", "detail"),
    [
        ("contact", {"phone": "+000 000 000"}, 422, "invalid", "number_without_rules"),
        ("clinical", {"injuries": "x" * 2_001}, 422, "invalid", "string_too_long"),
        ("clinical", {"diary": "canary"}, 422, "invalid", "extra_forbidden"),
        ("narrative", {"account": "x" * 262_144}, 413, "too_large", None),
        ("gossip", {}, 404, "no_such_route", None),
    ],
)
async def test_what_is_no_field_group_is_not_sealed(
    scene: Scene, group: str, content: Any, status: int, code: str, detail: str | None
) -> None:
    answer = await scene.put(f"/v1/cases/{await scene.case()}/packet/{group}", content)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [one["detail"] for one in answer.json().get("errors", ())] == ([detail] if detail else [])
    assert "canary" not in answer.text
    assert await scene.sector.rows("SELECT 1 FROM packet_group") == []
