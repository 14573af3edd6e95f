from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from services.notifications.domain.notice import RETRY_AFTER_SECONDS, Attempt, Desk, outcome_of

AT = datetime(2026, 3, 1, tzinfo=UTC)


LAST = len(RETRY_AFTER_SECONDS) + 1


@pytest.mark.parametrize(
    ("number", "result", "state"),
    [
        *((number, "taken", "sent") for number in (1, LAST)),
        (LAST, "not_now", "given_up"),
        *((number, "refused", "waiting") for number in (1, 2)),  # for good, so it is tried few times
        *((number, "refused", "given_up") for number in (3, 20)),
    ],
)
def test_what_became_of_an_attempt_says_how_its_notice_stands(number: int, result: Any, state: str) -> None:
    assert outcome_of(number, result, at=AT)[0] == state


def test_each_failed_attempt_waits_as_the_table_says() -> None:
    waits = [outcome_of(number + 1, "not_now", at=AT) for number in range(len(RETRY_AFTER_SECONDS))]

    assert {wait[0] for wait in waits} == {"waiting"}
    assert [wait[1] - AT for wait in waits] == [timedelta(seconds=wait) for wait in RETRY_AFTER_SECONDS]


def test_waits_grow_and_end_after_about_a_day() -> None:
    assert list(RETRY_AFTER_SECONDS) == sorted(RETRY_AFTER_SECONDS)
    assert 22 * 3_600 < sum(RETRY_AFTER_SECONDS) < 26 * 3_600


def test_an_address_is_masked_wherever_a_desk_or_an_attempt_is_printed() -> None:
    address = SecretStr("night@desk.example")

    shown = [
        repr(Desk("agency-a", "night", address, "en")),
        repr(Attempt(Desk("agency-a", "night", address, "en"), {"evt_a": 1}, AT, AT, b"key")),
    ]

    assert not [text for text in shown if "desk.example" in text]
