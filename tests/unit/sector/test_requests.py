"""What agencies ask: one transaction each, refused by name, and repeated without a second effect."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events.access import EventReport, SubjectKey, missing_field
from schemas.events.referral import (
    AcknowledgeReferral,
    DeclineReferral,
    GiveFeedback,
    OfferReferral,
    ProvideService,
    StepBase,
    WithdrawReferral,
)
from schemas.trail.bytes import subject_key
from services.sector.domain.bodies import CaseRequest, ConsentRequest, OfferRequest, RequestBody, body_of
from services.sector.domain.consents import CONSENTS_PER_CASE_MAX
from services.sector.domain.refusals import (
    OutsideHerConsent,
    RecipientIsOwner,
    RecipientNotAdmitted,
    TooManyConsents,
)
from services.sector.domain.requests import Asker, Reply, check_step
from services.sector.domain.views import ReferralView
from services.sector.handlers.requests import (
    DENIALS_FOLD_WITHIN,
    Once,
    answer_once,
    ask_step,
    fold_denials,
    offer,
    record_consent,
    record_denial,
)
from services.sector.handlers.work import Work
from services.social_services.profile import PROFILE
from tests.support.builders import OWNER, RECEIVER, REFERRAL, STRANGER, an_id
from tests.unit.sector.scenes import (
    CONSENT,
    SCOPE,
    a_case,
    a_recorded_consent,
    an_offer_asked,
    an_offered_referral,
    asker,
)
from tests.unit.sector.twins import MemorySector


@pytest.fixture
def sector() -> MemorySector:
    return MemorySector(PROFILE)


def step(kind: type[StepBase], referral: str, agency: str = OWNER, **own: object) -> StepBase:
    return kind.model_validate({"referral": referral, "agency": agency, "duty": "intake", **own})


async def withdraw(referral: str, by: Asker, sector: MemorySector) -> Reply:
    body = body_of(WithdrawReferral, frozenset()).model_validate({"duty": "intake"})
    return await ask_step(WithdrawReferral, referral, body, by, sector.work, seen=None)


async def test_an_offer_is_view_subject_and_step_together(sector: MemorySector) -> None:
    referral = await an_offered_referral(sector)

    view = sector.views.kept[referral, OWNER]
    assert (view.role, view.state, view.number, view.subject_number) == ("owner", None, 0, 1)
    [sent] = sector.steps.sent
    assert isinstance(sent, OfferReferral)
    assert (sent.referral, sent.agency, sent.consent.recipient) == (referral, OWNER, RECEIVER)
    registered = sector.reports.reports[-1]
    assert isinstance(registered, SubjectKey)
    assert view.case is not None
    assert registered.key == subject_key(sector.cases.kept[view.case].key, 1)
    assert registered.id == referral


async def test_each_referral_of_a_case_has_a_trail_key_of_its_own(sector: MemorySector) -> None:
    case = await a_case(sector)
    consent = await a_recorded_consent(sector, case)
    asked = OfferRequest.model_validate(an_offer_asked(case, consent))

    await offer(asked, asker(), sector.work)
    await offer(asked, asker(), sector.work)

    keys = [one.key for one in sector.reports.reports if isinstance(one, SubjectKey)]
    assert len(keys) == len(set(keys)) == 3


async def test_an_offer_never_carries_case_or_consent_id(sector: MemorySector) -> None:
    referral = await an_offered_referral(sector)

    view = sector.views.kept[referral, OWNER]
    assert view.case is not None
    assert view.consent is not None
    sent = sector.steps.sent[0].model_dump_json()
    assert view.case not in sent
    assert view.consent.id not in sent


async def test_an_agency_cannot_refer_to_itself(sector: MemorySector) -> None:
    with pytest.raises(RecipientIsOwner):
        await an_offered_referral(sector, recipient=OWNER)


async def test_a_consent_that_was_recorded_is_in_the_trail(sector: MemorySector) -> None:
    case = await a_case(sector)
    consent = await a_recorded_consent(sector, case)

    report = sector.reports.reports[-1]
    assert isinstance(report, EventReport)
    assert (report.access.act, report.access.reason, report.mode) == ("consent", "recorded", "with")
    assert report.access.consent is not None
    assert report.access.consent.id == consent
    assert report.access.subject == sector.cases.kept[case].subject
    assert missing_field(report.access, "event") is None


async def test_a_withdrawal_stops_releases_in_the_transaction_that_sends_it(sector: MemorySector) -> None:
    referral = await an_offered_referral(sector)
    view = sector.views.kept[referral, OWNER]
    assert view.case is not None
    assert view.consent is not None

    answer = await withdraw(referral, asker(), sector)

    assert answer.status == 202
    assert sector.cases.withdrawn == [(view.consent, referral)]
    assert isinstance(sector.steps.sent[-1], WithdrawReferral)
    report = sector.reports.reports[-1]
    assert (report.access.act, report.access.reason, report.access.referral) == (
        "consent",
        "withdrawn",
        referral,
    )
    assert missing_field(report.access, "event") is None
    with pytest.raises(OutsideHerConsent):
        await offer(
            OfferRequest.model_validate(an_offer_asked(view.case, view.consent.id)), asker(), sector.work
        )


async def test_a_withdrawal_that_comes_again_is_no_second_entry_of_the_trail(sector: MemorySector) -> None:
    referral = await an_offered_referral(sector)

    for _ in range(3):
        await withdraw(referral, asker(), sector)

    events = [one for one in sector.reports.reports if isinstance(one, EventReport)]
    assert [one.access.reason for one in events] == ["recorded", "withdrawn"]


async def test_a_case_has_no_more_consents_than_its_page_can_show(sector: MemorySector) -> None:
    case, other = await a_case(sector), await a_case(sector)
    for _ in range(CONSENTS_PER_CASE_MAX):
        await a_recorded_consent(sector, case)
    reports = len(sector.reports.reports)

    with pytest.raises(TooManyConsents):
        await a_recorded_consent(sector, case)

    assert (len(sector.reports.reports), len(await sector.cases.consents(case))) == (reports, 100)
    assert await a_recorded_consent(sector, other)


async def test_a_receiver_cannot_take_her_consent_back(sector: MemorySector) -> None:
    receiver = MemorySector(PROFILE)
    receiver.views.kept[REFERRAL, RECEIVER] = ReferralView(REFERRAL, RECEIVER, "receiver", number=1)

    await withdraw(REFERRAL, asker(RECEIVER), receiver)

    assert receiver.cases.withdrawn == []
    assert receiver.reports.reports == []
    assert len(receiver.steps.sent) == 1


RECEIVED = ReferralView(
    REFERRAL, RECEIVER, "receiver", state="provided", number=4, offer={"feedback_allowed": False}
)


def test_feedback_that_her_consent_excludes_is_refused_at_the_receiver() -> None:
    check_step(GiveFeedback, replace(RECEIVED, offer={"feedback_allowed": True}), seen=None)

    with pytest.raises(OutsideHerConsent):
        check_step(GiveFeedback, RECEIVED, seen=None)


async def test_an_offer_beyond_her_consent_is_refused_and_nothing_is_sent(sector: MemorySector) -> None:
    with pytest.raises(OutsideHerConsent):
        await an_offered_referral(sector, recipient=STRANGER)

    assert sector.steps.sent == []


CASE, CNS = an_id("case"), an_id("consent")
DECLINE = body_of(DeclineReferral, PROFILE.decline_reasons)
PROVIDE = body_of(ProvideService, PROFILE.decline_reasons)
DOORS: dict[str, tuple[type[RequestBody], dict[str, Any], str]] = {
    "need": (OfferRequest, an_offer_asked(CASE, CNS, needs=["zqxmark_need"]), "unknown_code"),
    "access": (OfferRequest, an_offer_asked(CASE, CNS, access_needs=["zqxmark_acc"]), "unknown_code"),
    "purpose": (OfferRequest, an_offer_asked(CASE, CNS, purpose="zqxmark"), "unknown_code"),
    "purposes": (ConsentRequest, CONSENT | {"scope": SCOPE | {"purposes": ["zqxmark"]}}, "unknown_code"),
    "another sector's reason": (DECLINE, {"duty": "desk", "reason": "outside_mandate"}, "unknown_code"),
    "outcome": (PROVIDE, {"duty": "desk", "outcome": "zqxmark"}, "unknown_code"),
    "needs twice": (OfferRequest, an_offer_asked(CASE, CNS, needs=["medical_care"] * 8), "repeated"),
    "groups twice": (OfferRequest, an_offer_asked(CASE, CNS, groups=["contact"] * 6), "repeated"),
    "recipients": (ConsentRequest, CONSENT | {"scope": SCOPE | {"recipients": [RECEIVER] * 20}}, "repeated"),
    **{
        f"reference {text!a}": (CaseRequest, {"reference": text}, "hidden_character")
        for text in ("\u202e abc", "\ufeff", "\u2028", " ", "\u00a0")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DOORS)
def test_the_door_takes_codes_of_its_lists_each_once_and_text_that_shows_itself(name: str) -> None:
    body, content, kind = DOORS[name]

    with pytest.raises(ValidationError) as refused:
        body.model_validate_json(json.dumps(content))

    [error] = refused.value.errors()
    assert error["type"] == kind
    assert "zqxmark" not in error["msg"]


def test_a_reference_may_be_written_in_any_script() -> None:
    for text in ("A-1", "é\u0301" * 50, "حالة ۷", "😀" * 100):
        assert CaseRequest(reference=text).reference == text


async def test_she_consents_to_agencies_that_governance_has_admitted(sector: MemorySector) -> None:
    case = await a_case(sector)
    scope = SCOPE | {"recipients": [RECEIVER, "zqxmark-recipient"]}

    with pytest.raises(RecipientNotAdmitted):
        await record_consent(
            case, ConsentRequest.model_validate(CONSENT | {"scope": scope}), asker(), sector.work
        )

    assert sector.cases.versions == {}


async def acted(work: Work) -> Reply:
    await work.steps.send(step(AcknowledgeReferral, REFERRAL), at=work.clock.now())
    return Reply(202, {}, {})


async def test_keys_of_two_agencies_do_not_meet(sector: MemorySector) -> None:
    sector.register.sectors["quay-social"] = "social_services"
    await answer_once(Once(asker(), b"key", b"digest"), sector.work, acted)

    await answer_once(Once(asker("quay-social"), b"key", b"another"), sector.work, acted)

    assert len(sector.steps.sent) == 2


async def test_a_denial_names_who_and_what_was_typed(sector: MemorySector) -> None:
    await record_denial(asker(STRANGER), REFERRAL, sector.work)

    [report] = sector.reports.reports
    assert missing_field(report.access, "event") is None
    assert (report.access.act, report.access.agency, report.access.referral) == ("denial", STRANGER, REFERRAL)


async def test_denials_of_one_actor_within_a_minute_are_the_first_and_one_that_counts_the_others(
    sector: MemorySector,
) -> None:
    """Two minutes of 350 denials a second, which were 42,000 entries."""
    for second in range(120):
        for _ in range(350):
            await record_denial(asker(STRANGER), REFERRAL, sector.work)
        await fold_denials(sector.work)
        sector.clock.forward(timedelta(seconds=1))
        if second == 30:
            await record_denial(asker(RECEIVER), None, sector.work)
    sector.clock.forward(DENIALS_FOLD_WITHIN)
    await fold_denials(sector.work)

    mine = [one for one in sector.reports.reports if one.access.agency == STRANGER]
    others = [one for one in sector.reports.reports if one.access.agency == RECEIVER]
    assert sum(one.access.times or 1 for one in mine) == 120 * 350
    assert len(mine) == 4
    assert len(others) == 1
    assert (mine[1].happened, mine[1].until) == ("2026-03-02T12:00:00.000Z", "2026-03-02T12:01:00.000Z")
    assert (mine[0].access.referral, mine[1].access.referral) == (REFERRAL, None)
    assert sector.reports.denials == {}


async def test_no_report_and_no_step_carries_the_agencys_own_words(sector: MemorySector) -> None:
    await an_offered_referral(sector)

    said = "".join(one.model_dump_json() for one in [*sector.reports.reports, *sector.steps.sent])
    assert "Amina" not in said
    assert "Amina" not in repr(sector.cases.kept)
