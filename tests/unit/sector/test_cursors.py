"""A cursor is a place in a list as opaque text; what no list gave is refused."""

from base64 import urlsafe_b64encode

import pytest

from services.sector.api.reading import cursor_of, place_of
from services.sector.domain.refusals import CursorUnreadable
from tests.support.builders import an_id
from tests.support.clock import NOON

REFERRAL = an_id("referral")
GOOD = cursor_of((NOON, REFERRAL))
NEVER_GIVEN = {
    name: urlsafe_b64encode(instant + b" " + REFERRAL.encode()).decode()
    for name, instant in {
        "an hour before all time": b"0001-01-01T00:00:00+14:00",
        "an hour after all time": b"9999-12-31T23:59:59-14:00",
        "the year 10000": b"10000-01-01T00:00:00+00:00",
        "a year below zero": b"-0001-01-01T00:00:00+00:00",
        "an offset that no zone has": b"2026-01-01T00:00:00+99:00",
        "no zone": b"2026-01-01T00:00:00",
        "no text": b"\xff\xfe",
    }.items()
} | {
    "letters that are no base64": GOOD[:8] + "!*" + GOOD[8:],
    "letters that are no ASCII": GOOD + "é",
    "an id of another kind": cursor_of((NOON, an_id("case"))),
}


@pytest.mark.parametrize("what", NEVER_GIVEN)
def test_a_cursor_that_was_never_given_is_refused(what: str) -> None:
    assert place_of(GOOD) == (NOON, REFERRAL)

    with pytest.raises(CursorUnreadable):
        place_of(NEVER_GIVEN[what])
