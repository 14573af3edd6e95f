"""What agencies ask: one transaction each, refused by name, and repeated without a second effect."""

from datetime import timedelta

import pytest

from schemas.events.access import Access, Actor, EventReport, missing_field
from schemas.events.consent import Closure
from schemas.events.referral import OfferReferral, WithdrawReferral
from services.sector.domain.bodies import OfferRequest, body_of
from services.sector.domain.consents import CONSENTS_PER_CASE_MAX
from services.sector.domain.packets import NumberedSubject
from services.sector.domain.refusals import (
    ConsentDoesNotCover,
    RecipientIsOwner,
    RecipientNotAdmitted,
    TooManyConsents,
)
from services.sector.domain.requests import Asker, Reply
from services.sector.domain.views import ReferralView
from services.sector.handlers import closures
from services.sector.handlers.requests import (
    DENIALS_FOLD_WITHIN,
    KeyedRequest,
    answer_once,
    ask_step,
    fold_denials,
    offer,
    record_denial,
)
from services.sector.handlers.work import Case
from services.sector.store.reports import DENIED_ACTORS_MAX
from tests.support.builders import OWNER, RECEIVER, REFERRAL, STRANGER
from tests.support.clock import NOON
from tests.support.scenes import (
    PERSONAL,
    a_case,
    a_recorded_consent,
    an_offer_asked,
    an_offered_referral,
    asker,
)
from tests.support.sector import StoredSector


async def withdraw(referral: str, by: Asker, sector: StoredSector) -> Reply:
    body = body_of(WithdrawReferral, frozenset()).model_validate({"duty": "intake"})
    task = await closures.close_withdrawn(referral, body, by, sector.work)
    if task is None:
        return await ask_step(WithdrawReferral, referral, body, by, sector.work, seen=None)
    return await closures.withdraw(task, sector.work)


async def case_of(sector: StoredSector, case: str) -> Case:
    return await sector.work.cases.find(case, OWNER)


async def test_an_offer_is_view_subject_and_step_together_and_carries_neither_case_nor_consent(
    sector: StoredSector,
) -> None:
    referral = await an_offered_referral(sector)

    view = await sector.view(OWNER, referral)
    assert (view.role, view.state, view.number, view.subject_number) == ("owner", None, 0, 1)
    [sent] = await sector.sent()
    assert isinstance(sent, OfferReferral)
    assert (sent.referral, sent.agency, sent.consent.recipient) == (referral, OWNER, RECEIVER)
    registered = (await sector.reported())[-1]
    case = await case_of(sector, view.case or "")
    assert (registered.id, registered.keyset, registered.number) == (referral, case.keyset, 1)
    assert view.consent is not None
    assert not [own for own in (case.id, view.consent.id) if own in sent.model_dump_json()]


async def test_each_referral_of_a_case_has_a_number_of_its_own_in_the_trail(sector: StoredSector) -> None:
    case = await a_case(sector)
    asked = OfferRequest.model_validate(an_offer_asked(case, await a_recorded_consent(sector, case)))

    for _ in range(2):
        await offer(asked, asker(), sector.work)

    numbers = [one.number for one in await sector.reported() if isinstance(one, NumberedSubject)]
    assert numbers == [1, 2]


async def test_an_offer_to_oneself_or_beyond_her_consent_is_refused_and_nothing_is_sent(
    sector: StoredSector,
) -> None:
    with pytest.raises(RecipientIsOwner):
        await an_offered_referral(sector, recipient=OWNER)
    with pytest.raises(ConsentDoesNotCover):
        await an_offered_referral(sector, recipient=STRANGER)

    assert await sector.sent() == []


async def test_a_consent_that_was_recorded_is_in_the_trail(sector: StoredSector) -> None:
    case = await a_case(sector)
    consent = await a_recorded_consent(sector, case)

    report = (await sector.reported())[-1]
    assert (report.access.act, report.access.reason, report.mode) == ("consent", "recorded", "with")
    assert report.access.consent.id == consent
    assert report.access.subject == (await case_of(sector, case)).subject
    assert missing_field(report.access, "event") is None


async def test_a_withdrawal_closes_the_consent_once_and_is_one_entry(
    sector: StoredSector,
) -> None:
    referral = await an_offered_referral(sector)
    view = await sector.view(OWNER, referral)
    assert view.case is not None
    assert view.consent is not None

    answers = [await withdraw(referral, asker(), sector) for _ in range(3)]

    assert [answer.status for answer in answers] == [202] * 3
    withdrawn = await sector.rows("SELECT id, version, referral FROM consent_withdrawal")
    assert [tuple(row) for row in withdrawn] == [(view.consent.id, 1, referral)]
    assert [type(step) for step in await sector.sent()] == [OfferReferral] + [WithdrawReferral] * 3
    reports = [one for one in await sector.reported() if isinstance(one, EventReport)]
    recorded, closure, event = reports
    assert closure.access.closure == Closure(n=1, kind="consent", id=f"{view.consent.id}/1")
    assert (closure.access.subject, missing_field(closure.access, "event")) == (None, None)
    assert (recorded.access.reason, event.access.reason) == ("recorded", "withdrawn")
    assert (event.access.act, event.access.referral) == ("consent", referral)
    assert missing_field(event.access, "event") is None
    again = OfferRequest.model_validate(an_offer_asked(view.case, view.consent.id))
    with pytest.raises(ConsentDoesNotCover):
        await offer(again, asker(), sector.work)


async def test_a_case_has_no_more_consents_than_its_page_can_show(sector: StoredSector) -> None:
    case, other = await a_case(sector), await a_case(sector)
    for _ in range(CONSENTS_PER_CASE_MAX):
        await a_recorded_consent(sector, case)
    reports = len(await sector.reported())

    with pytest.raises(TooManyConsents):
        await a_recorded_consent(sector, case)

    assert (len(await sector.reported()), len(await sector.work.cases.consents(case))) == (reports, 100)
    assert await a_recorded_consent(sector, other)


async def test_a_receiver_cannot_take_her_consent_back(sector: StoredSector) -> None:
    await sector.work.views.save([ReferralView(REFERRAL, OWNER, "receiver", number=1, updated_at=NOON)])

    await withdraw(REFERRAL, asker(), sector)

    assert await sector.rows("SELECT 1 FROM consent_withdrawal") == []
    assert await sector.reported() == []
    assert len(await sector.sent()) == 1


async def test_she_consents_to_agencies_that_governance_has_admitted(sector: StoredSector) -> None:
    case = await a_case(sector)

    with pytest.raises(RecipientNotAdmitted):
        await a_recorded_consent(sector, case, recipients=[RECEIVER, "zqxmark-recipient"])

    assert await sector.work.cases.consents(case) == []


async def test_keys_of_two_agencies_do_not_meet(sector: StoredSector) -> None:
    await sector.admit("quay-social", sector="social_services")

    async def act(work: object) -> Reply:
        return Reply(202, {}, {})

    answers = [
        await answer_once(KeyedRequest(asker(agency), b"key", digest), sector.work, act)
        for agency, digest in ((OWNER, b"digest"), ("quay-social", b"another"))
    ]

    assert answers == [Reply(202, {}, {})] * 2


async def test_denials_of_one_actor_within_a_minute_are_the_first_and_one_that_counts_the_others(
    sector: StoredSector,
) -> None:
    """Two minutes of denials, which were an entry each."""
    for second in range(120):
        for _ in range(3):
            await record_denial(asker(STRANGER), "not_found", REFERRAL, sector.work)
        await fold_denials(sector.work)
        sector.clock.forward(timedelta(seconds=1))
        if second == 30:
            await record_denial(asker(RECEIVER), "not_found", None, sector.work)
    sector.clock.forward(DENIALS_FOLD_WITHIN)
    await fold_denials(sector.work)

    reported = await sector.reported()
    mine = [one for one in reported if one.access.agency == STRANGER]
    assert [one.access.agency for one in reported if one not in mine] == [RECEIVER]
    assert sum(one.access.times or 1 for one in mine) == 120 * 3
    assert len(mine) == 4
    assert (mine[1].happened, mine[1].until) == ("2026-03-02T12:00:00.000Z", "2026-03-02T12:01:00.000Z")
    assert (mine[0].access.referral, mine[1].access.referral) == (REFERRAL, None)
    assert {missing_field(one.access, "event") for one in reported} == {None}
    assert await sector.rows("SELECT 1 FROM denial") == []


async def test_names_that_are_made_up_cannot_fill_the_count_of_denials(sector: StoredSector) -> None:
    told = Access(act="denial", agency="prober", reason="not_found")
    actors = [Actor(id=f"st-{number}", client="cl-1") for number in range(2 * DENIED_ACTORS_MAX)]
    reports = sector.work.reports

    first = [await reports.is_first_denial(told.model_copy(update={"actor": one}), NOON) for one in actors]
    kept = [access.times or 0 for access, _, _ in await reports.end_denials(NOON)]

    assert sum(first) == len(kept) == DENIED_ACTORS_MAX + 1
    assert max(kept) == DENIED_ACTORS_MAX - 1


async def test_denials_counted_out_of_their_order_end_no_earlier_than_they_began(
    sector: StoredSector,
) -> None:
    """Of two at once the later may be counted first; the trail refuses what ends before it begins."""
    told, reports = Access(act="denial", agency="prober", reason="not_found"), sector.work.reports
    for at in (NOON, NOON - timedelta(milliseconds=1), NOON - timedelta(milliseconds=2)):
        await reports.is_first_denial(told, at)

    [(_, since, until)] = await reports.end_denials(NOON)

    assert (since, until) == (NOON, NOON)


async def test_reports_that_the_trail_refused_are_an_alarm_by_code_until_they_are_gone(
    sector: StoredSector,
) -> None:
    await a_case(sector)
    [(place, _)] = (await sector.work.reports.waiting({"subjects": 0}))["subjects"]

    await sector.work.reports.settle([], {place: "not_yours"})
    standing = await sector.work.reports.alarms()
    await sector.work.reports.settle([place], {})

    assert [(one.rule, one.where) for one in standing] == [("report_refused", "not_yours (1)")]
    assert await sector.work.reports.alarms() == []


async def test_no_report_and_no_step_carries_the_agencys_own_words(sector: StoredSector) -> None:
    referral = await an_offered_referral(sector)

    said = "".join(one.model_dump_json() for one in [*await sector.reported(), *await sector.sent()])
    case = await case_of(sector, (await sector.view(OWNER, referral)).case or "")
    assert case.reference == PERSONAL
    assert PERSONAL not in said + repr(case)
