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
from services.runtime.admission import AgencyNotAdmitted, WrongSector
from services.sector.domain.bodies import Asked, CaseAsked, ConsentAsked, OfferAsked, body_of
from services.sector.domain.consents import CONSENTS_PER_CASE_MAX
from services.sector.domain.refusals import (
    ConsentDoesNotCover,
    IdempotencyMismatch,
    NotFound,
    RecipientIsOwner,
    RecipientNotAdmitted,
    StaleView,
    TooManyConsents,
)
from services.sector.domain.requests import Answer, check_step
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
from tests.support.builders import OWNER, RECEIVER, REFERRAL, SCHOOL, STRANGER, an_id
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


async def test_an_offer_is_view_subject_and_step_together(sector: MemorySector) -> None:
    referral = await an_offered_referral(sector)

    view = sector.views.kept[referral, OWNER]
    assert (view.role, view.state, view.number, view.subject_number) == ("owner", None, 0, 1)
    [sent] = sector.steps.sent
    assert isinstance(sent, OfferReferral)
    assert (sent.referral, sent.agency, sent.consent.recipient) == (referral, OWNER, RECEIVER)
    registered = sector.trail.reports[-1]
    assert isinstance(registered, SubjectKey)
    assert view.case is not None
    assert registered.key == subject_key(sector.cases.kept[view.case].key, 1)
    assert registered.id == referral


async def test_each_referral_of_a_case_has_a_trail_key_of_its_own(sector: MemorySector) -> None:
    case = await a_case(sector)
    consent = await a_recorded_consent(sector, case)
    asked = OfferAsked.model_validate(an_offer_asked(case, consent))

    await offer(asked, asker(), sector.work)
    await offer(asked, asker(), sector.work)

    keys = [one.key for one in sector.trail.reports if isinstance(one, SubjectKey)]
    assert len(keys) == len(set(keys)) == 3


async def test_an_offer_never_carries_case_or_consent_id(sector: MemorySector) -> None:
    referral = await an_offered_referral(sector)

    view = sector.views.kept[referral, OWNER]
    assert view.case is not None
    assert view.consent is not None
    sent = sector.steps.sent[0].model_dump_json()
    assert view.case not in sent
    assert view.consent.id not in sent


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": STRANGER},
        {"groups": ["legal"]},
        {"purpose": "investigation"},
        {"consent": {"id": an_id("consent", "x"), "version": 1}},
    ],
)
async def test_an_offer_beyond_her_consent_is_refused_and_nothing_is_sent(
    sector: MemorySector, changes: dict[str, Any]
) -> None:
    with pytest.raises(ConsentDoesNotCover):
        await an_offered_referral(sector, **changes)

    assert sector.steps.sent == []


async def test_an_offer_on_a_foreign_case_is_as_unknown(sector: MemorySector) -> None:
    case = await a_case(sector)
    consent = await a_recorded_consent(sector, case)

    with pytest.raises(NotFound):
        await offer(OfferAsked.model_validate(an_offer_asked(case, consent)), asker(STRANGER), sector.work)


async def test_an_agency_cannot_refer_to_itself(sector: MemorySector) -> None:
    with pytest.raises(RecipientIsOwner):
        await an_offered_referral(sector, recipient=OWNER)


async def test_an_offer_after_the_consents_end_is_refused(sector: MemorySector) -> None:
    case = await a_case(sector)
    consent = await a_recorded_consent(sector, case)
    sector.clock.forward(timedelta(days=60))

    with pytest.raises(ConsentDoesNotCover):
        await offer(OfferAsked.model_validate(an_offer_asked(case, consent)), asker(), sector.work)


async def test_a_consent_that_was_recorded_is_in_the_trail(sector: MemorySector) -> None:
    case = await a_case(sector)
    consent = await a_recorded_consent(sector, case)

    report = sector.trail.reports[-1]
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

    answer = await ask_step(step(WithdrawReferral, referral), asker(), sector.work, seen=None)

    assert answer.status == 202
    assert sector.cases.withdrawn == [(view.consent, referral)]
    assert isinstance(sector.steps.sent[-1], WithdrawReferral)
    report = sector.trail.reports[-1]
    assert (report.access.act, report.access.reason, report.access.referral) == (
        "consent",
        "withdrawn",
        referral,
    )
    assert missing_field(report.access, "event") is None
    with pytest.raises(ConsentDoesNotCover):
        await offer(
            OfferAsked.model_validate(an_offer_asked(view.case, view.consent.id)), asker(), sector.work
        )


async def test_a_withdrawal_that_comes_again_is_no_second_entry_of_the_trail(sector: MemorySector) -> None:
    referral = await an_offered_referral(sector)

    for _ in range(3):
        await ask_step(step(WithdrawReferral, referral), asker(), sector.work, seen=None)

    events = [one for one in sector.trail.reports if isinstance(one, EventReport)]
    assert [one.access.reason for one in events] == ["recorded", "withdrawn"]


async def test_a_case_has_no_more_consents_than_its_page_can_show(sector: MemorySector) -> None:
    case, other = await a_case(sector), await a_case(sector)
    for _ in range(CONSENTS_PER_CASE_MAX):
        await a_recorded_consent(sector, case)
    reports = len(sector.trail.reports)

    with pytest.raises(TooManyConsents):
        await a_recorded_consent(sector, case)

    assert (len(sector.trail.reports), len(await sector.cases.consents(case))) == (reports, 100)
    assert await a_recorded_consent(sector, other)


async def test_a_receiver_cannot_take_her_consent_back(sector: MemorySector) -> None:
    receiver = MemorySector(PROFILE)
    receiver.views.kept[REFERRAL, RECEIVER] = ReferralView(REFERRAL, RECEIVER, "receiver", number=1)

    await ask_step(step(WithdrawReferral, REFERRAL, RECEIVER), asker(RECEIVER), receiver.work, seen=None)

    assert receiver.cases.withdrawn == []
    assert receiver.trail.reports == []
    assert len(receiver.steps.sent) == 1


async def test_a_step_on_a_foreign_referral_is_as_unknown(sector: MemorySector) -> None:
    referral = await an_offered_referral(sector)

    with pytest.raises(NotFound):
        await ask_step(
            step(AcknowledgeReferral, referral, STRANGER), asker(STRANGER), sector.work, seen=frozenset({0})
        )


async def test_a_step_on_an_old_view_is_refused(sector: MemorySector) -> None:
    referral = await an_offered_referral(sector)

    with pytest.raises(StaleView):
        await ask_step(step(AcknowledgeReferral, referral), asker(), sector.work, seen=frozenset({1}))

    assert len(sector.steps.sent) == 1


RECEIVED = ReferralView(
    REFERRAL, RECEIVER, "receiver", state="provided", number=4, offer={"feedback_allowed": False}
)
FEEDBACK = step(GiveFeedback, REFERRAL, RECEIVER, outcome="helped")


def test_feedback_that_her_consent_excludes_is_refused_at_the_receiver() -> None:
    with pytest.raises(ConsentDoesNotCover):
        check_step(FEEDBACK, RECEIVED, seen=frozenset({4}))


def test_feedback_that_her_consent_allows_passes() -> None:
    check_step(FEEDBACK, replace(RECEIVED, offer={"feedback_allowed": True}), seen=frozenset({4}))


CASE, CNS = an_id("case"), an_id("consent")
DECLINE = body_of(DeclineReferral, PROFILE.decline_reasons)
PROVIDE = body_of(ProvideService, PROFILE.decline_reasons)
DOORS: dict[str, tuple[type[Asked], dict[str, Any], str]] = {
    "need": (OfferAsked, an_offer_asked(CASE, CNS, needs=["zqxmark_need"]), "unknown_code"),
    "access": (OfferAsked, an_offer_asked(CASE, CNS, access_needs=["zqxmark_acc"]), "unknown_code"),
    "purpose": (OfferAsked, an_offer_asked(CASE, CNS, purpose="zqxmark"), "unknown_code"),
    "purposes": (ConsentAsked, CONSENT | {"scope": SCOPE | {"purposes": ["zqxmark"]}}, "unknown_code"),
    "another sector's reason": (DECLINE, {"duty": "desk", "reason": "outside_mandate"}, "unknown_code"),
    "outcome": (PROVIDE, {"duty": "desk", "outcome": "zqxmark"}, "unknown_code"),
    "needs twice": (OfferAsked, an_offer_asked(CASE, CNS, needs=["medical_care"] * 8), "repeated"),
    "groups twice": (OfferAsked, an_offer_asked(CASE, CNS, groups=["contact"] * 6), "repeated"),
    "recipients": (ConsentAsked, CONSENT | {"scope": SCOPE | {"recipients": [RECEIVER] * 20}}, "repeated"),
    **{
        f"reference {text!a}": (CaseAsked, {"reference": text}, "hidden_character")
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
        assert CaseAsked(reference=text).reference == text


async def test_she_consents_to_agencies_that_governance_has_admitted(sector: MemorySector) -> None:
    case = await a_case(sector)
    scope = SCOPE | {"recipients": [RECEIVER, "zqxmark-recipient"]}

    with pytest.raises(RecipientNotAdmitted):
        await record_consent(
            case, ConsentAsked.model_validate(CONSENT | {"scope": scope}), asker(), sector.work
        )

    assert sector.cases.versions == {}


async def acted(work: Work) -> Answer:
    await work.steps.send(FEEDBACK, at=work.clock.now())
    return Answer(202, {"Location": "/v1/x"}, {"step": len(work.steps.sent)})  # type: ignore[attr-defined]


async def test_a_repeated_request_is_answered_as_the_first_time_and_acts_once(sector: MemorySector) -> None:
    once = Once(asker(), "key-1", b"digest")

    first = await answer_once(once, sector.work, acted)
    again = await answer_once(once, sector.work, acted)

    assert again == Answer(202, {"Location": "/v1/x", "Idempotent-Replayed": "true"}, first.body)
    assert len(sector.steps.sent) == 1


async def test_another_request_under_the_same_key_is_refused(sector: MemorySector) -> None:
    await answer_once(Once(asker(), "key-1", b"digest"), sector.work, acted)

    with pytest.raises(IdempotencyMismatch):
        await answer_once(Once(asker(), "key-1", b"another"), sector.work, acted)


async def test_keys_of_two_agencies_do_not_meet(sector: MemorySector) -> None:
    sector.state.sectors["quay-social"] = "social_services"
    await answer_once(Once(asker(), "key-1", b"digest"), sector.work, acted)

    await answer_once(Once(asker("quay-social"), "key-1", b"another"), sector.work, acted)

    assert len(sector.steps.sent) == 2


@pytest.mark.parametrize(
    ("agency", "refusal"),
    [(RECEIVER, WrongSector), (SCHOOL, WrongSector), ("unheard-of", AgencyNotAdmitted)],
)
async def test_an_agency_of_another_sector_may_ask_for_nothing(
    sector: MemorySector, agency: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await answer_once(Once(asker(agency), "key-1", b"digest"), sector.work, acted)


async def test_a_denial_names_who_and_what_was_typed(sector: MemorySector) -> None:
    await record_denial(asker(STRANGER), REFERRAL, sector.work)

    [report] = sector.trail.reports
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

    mine = [one for one in sector.trail.reports if one.access.agency == STRANGER]
    others = [one for one in sector.trail.reports if one.access.agency == RECEIVER]
    assert sum(one.access.times or 1 for one in mine) == 120 * 350
    assert len(mine) == 4
    assert len(others) == 1
    assert (mine[1].happened, mine[1].until) == ("2026-03-02T12:00:00.000Z", "2026-03-02T12:01:00.000Z")
    assert (mine[0].access.referral, mine[1].access.referral) == (REFERRAL, None)
    assert sector.trail.denials == {}


async def test_no_report_and_no_step_carries_the_agencys_own_words(sector: MemorySector) -> None:
    await an_offered_referral(sector)

    said = "".join(one.model_dump_json() for one in [*sector.trail.reports, *sector.steps.sent])
    assert "Amina" not in said
    assert "Amina" not in repr(sector.cases.kept)
