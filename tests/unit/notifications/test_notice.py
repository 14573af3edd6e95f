from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from services.notifications.domain.notice import RETRY_AFTER_SECONDS, Attempt, Desk, outcome_of

AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_mail_that_was_taken_is_sent() -> None:
    assert outcome_of(1, "taken", at=AT)[0] == "sent"
    assert outcome_of(len(RETRY_AFTER_SECONDS) + 1, "taken", at=AT)[0] == "sent"


def test_each_failed_attempt_waits_as_the_table_says() -> None:
    waits = [outcome_of(number + 1, "not_now", at=AT) for number in range(len(RETRY_AFTER_SECONDS))]

    assert {wait[0] for wait in waits} == {"waiting"}
    assert [wait[1] - AT for wait in waits] == [timedelta(seconds=wait) for wait in RETRY_AFTER_SECONDS]


def test_waits_grow_and_end_after_about_a_day() -> None:
    assert list(RETRY_AFTER_SECONDS) == sorted(RETRY_AFTER_SECONDS)
    assert 22 * 3_600 < sum(RETRY_AFTER_SECONDS) < 26 * 3_600


def test_after_the_last_attempt_the_notice_is_given_up() -> None:
    assert outcome_of(len(RETRY_AFTER_SECONDS) + 1, "not_now", at=AT)[0] == "given_up"


def test_an_address_that_refuses_mail_for_good_is_tried_few_times() -> None:
    states = [outcome_of(number, "refused", at=AT)[0] for number in (1, 2, 3, 20)]

    assert states == ["waiting", "waiting", "given_up", "given_up"]


def test_an_address_is_masked_wherever_a_desk_or_an_attempt_is_printed() -> None:
    address = SecretStr("night@desk.example")

    shown = [
        repr(Desk("agency-a", "night", address, "en")),
        repr(Attempt(Desk("agency-a", "night", address, "en"), {"evt_a": 1}, AT, AT, b"key")),
    ]

    assert not [text for text in shown if "desk.example" in text]
