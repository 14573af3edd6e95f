"""Where nobody helps, the owner asks another service: by hand, or as her consent says already."""

from typing import Any

import pytest

from schemas.events.facts import FACTS, ReferralOffered
from schemas.events.referral import OfferReferral, RedirectReferral, ReofferReferral, WithdrawReferral
from schemas.topics import INBOX
from services.sector.domain.bodies import OfferRequest, body_of
from services.sector.domain.refusals import ConsentDoesNotCover, OwnerAlone, RecipientIsOwner
from services.sector.domain.views import ReferralView
from services.sector.handlers.closures import close_withdrawn, withdraw
from services.sector.handlers.facts import keep_facts
from services.sector.handlers.requests import ask_step, offer
from tests.support.builders import OWNER, RECEIVER, SCHOOL, SERVICE, STRANGER, an_event, an_id
from tests.support.scenes import a_case, a_recorded_consent, an_offer_asked, asker
from tests.support.sector import StoredSector

STATION, CLASSROOM = "22222222-0000-4000-8000-000000000002", "33333333-0000-4000-8000-000000000003"
NEXT = [{"recipient": STRANGER, "service": STATION}, {"recipient": SCHOOL, "service": CLASSROOM}]
SCOPE = {"recipients": [RECEIVER, STRANGER, SCHOOL], "statistics": True}


async def offered(sector: StoredSector, scope: Any = SCOPE, **changes: Any) -> str:
    case = await a_case(sector)
    consent = await a_recorded_consent(sector, case, **scope)
    asked = OfferRequest.model_validate(an_offer_asked(case, consent, count="first", **changes))
    return str((await offer(asked, asker(), sector.work)).body["referral"])


async def tell(sector: StoredSector, kind: str, referral: str, number: int, **content: Any) -> None:
    fact = FACTS[f"referral.{kind}"](referral=referral, to=OWNER, number=number, **content)
    await keep_facts([an_event(INBOX["social_services"], fact)], sector.work)


async def declined(sector: StoredSector, referral: str) -> None:
    await tell(sector, "offered", referral, 1, state="offered")
    await tell(sector, "declined", referral, 2, state="declined", reason="no_capacity")


async def ask(sector: StoredSector, kind: Any, referral: str, by: str = OWNER, **content: Any) -> Any:
    body = body_of(kind, frozenset()).model_validate({"duty": "intake"} | content)
    return await ask_step(kind, referral, body, asker(by), sector.work, seen=None)


async def take_back(sector: StoredSector, referral: str) -> None:
    body = body_of(WithdrawReferral, frozenset()).model_validate({"duty": "intake"})
    task = await close_withdrawn(referral, body, asker(), sector.work)
    assert task is not None
    await withdraw(task, sector.work)


async def redirections(sector: StoredSector) -> list[RedirectReferral]:
    return [step for step in await sector.sent() if isinstance(step, RedirectReferral)]


async def successor_of(sector: StoredSector, step: RedirectReferral) -> ReferralView:
    return await sector.view(OWNER, step.successor)


async def test_after_a_decline_the_next_one_that_she_agreed_to_is_asked_without_a_word(
    sector: StoredSector,
) -> None:
    referral = await offered(sector, alternatives=NEXT)

    await declined(sector, referral)
    await tell(sector, "declined", referral, 2, state="declined", reason="no_capacity")

    [step] = await redirections(sector)
    assert (step.referral, step.service, step.consent.recipient, step.count) == (
        referral, STATION, STRANGER, "first",
    )  # fmt: skip
    before, successor = await sector.view(OWNER, referral), await successor_of(sector, step)
    assert (successor.case, successor.consent, successor.role) == (before.case, before.consent, "owner")
    assert (await sector.reported())[-1].id == step.successor
    assert successor.request is not None
    assert [other.recipient for other in successor.request.alternatives] == [SCHOOL]


async def test_who_the_arbiter_refuses_is_passed_over_for_the_one_behind(sector: StoredSector) -> None:
    referral = await offered(sector, alternatives=NEXT)
    await declined(sector, referral)

    for number in (3, 4):
        await tell(
            sector, "step_refused", referral, number,
            state="declined", step=an_id("event"), asked="redirect", code="agency_inactive",
        )  # fmt: skip

    assert [step.consent.recipient for step in await redirections(sector)] == [STRANGER, SCHOOL]
    assert (await sector.view(OWNER, referral)).is_awaited


async def test_an_expiry_asks_the_next_one_too_and_other_ends_do_not(sector: StoredSector) -> None:
    expired, unreached = await offered(sector, alternatives=NEXT), await offered(sector, alternatives=NEXT)

    await tell(sector, "expired", expired, 1, state="expired", timer="answer")
    await tell(sector, "unreachable", unreached, 1, state="unable_to_reach", attempts=3, rules_kept=True)

    assert [step.referral for step in await redirections(sector)] == [expired]


async def test_what_she_took_back_is_asked_of_nobody_and_her_owner_must_act(sector: StoredSector) -> None:
    referral = await offered(sector, alternatives=NEXT)
    await take_back(sector, referral)

    await declined(sector, referral)

    assert await redirections(sector) == []
    view = await sector.view(OWNER, referral)
    assert view.is_awaited
    assert {"redirect", "close_unmet", "withdraw"} <= set(view.allowed_steps)


async def test_an_alternative_that_her_consent_does_not_name_is_refused_with_the_offer(
    sector: StoredSector,
) -> None:
    with pytest.raises(ConsentDoesNotCover):
        await offered(sector, {"recipients": [RECEIVER]}, alternatives=NEXT)


async def test_the_owner_asks_another_service_by_hand_and_learns_its_id(sector: StoredSector) -> None:
    referral = await offered(sector, alternatives=NEXT)
    await tell(sector, "offered", referral, 1, state="offered")

    answer = await ask(sector, RedirectReferral, referral, recipient=SCHOOL, service=CLASSROOM, groups=[])

    [step] = await redirections(sector)
    assert (step.consent.groups, step.needs, step.area) == ((), ("medical_care",), "HB01")
    assert answer.body["successor"] == step.successor
    await tell(sector, "declined", referral, 2, state="declined", reason="no_capacity")
    assert len(await redirections(sector)) == 1, "who asked by hand decides from here on"


async def test_a_reoffer_says_what_her_consent_covers_now(sector: StoredSector) -> None:
    referral = await offered(sector)

    await ask(sector, ReofferReferral, referral, reason="capacity_again")

    step = (await sector.sent())[-1]
    assert isinstance(step, ReofferReferral)
    assert (step.referral, step.consent.recipient, step.consent.groups) == (referral, RECEIVER, ("clinical",))
    await take_back(sector, referral)
    with pytest.raises(ConsentDoesNotCover):
        await ask(sector, ReofferReferral, referral, reason="capacity_again")


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ({"recipient": "far-agency"}, ConsentDoesNotCover),
        ({"recipient": OWNER}, RecipientIsOwner),
        ({"groups": ["narrative"]}, ConsentDoesNotCover),
    ],
)
async def test_what_her_consent_does_not_cover_is_not_asked(
    sector: StoredSector, content: dict[str, Any], refusal: type[Exception]
) -> None:
    referral = await offered(sector)

    with pytest.raises(refusal):
        await ask(sector, RedirectReferral, referral, **{"recipient": STRANGER, "service": STATION} | content)

    assert [type(step) for step in await sector.sent()] == [OfferReferral]


async def test_a_receiver_redirects_nothing(sector: StoredSector) -> None:
    fact = ReferralOffered(
        referral=an_id("referral", "in"), to=OWNER, number=1, state="offered", owner=STRANGER, receiver=OWNER
    )
    await keep_facts([an_event(INBOX["social_services"], fact)], sector.work)

    with pytest.raises(OwnerAlone):
        await ask(sector, RedirectReferral, fact.referral, recipient=STRANGER, service=SERVICE)


async def test_without_her_leave_for_statistics_nobody_counts_her(sector: StoredSector) -> None:
    await offered(sector, {"recipients": [RECEIVER], "statistics": False})

    assert [step.count for step in await sector.sent()] == ["none"]
