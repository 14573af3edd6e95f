"""When a partition has made too many letters: by bugs sooner, by waits hardly, by share from a sample on."""

from itertools import cycle, islice

import pytest

from services.runtime.limits import IN_A_ROW_MAX, NO_LETTERS, SAMPLE_RECORDS, counted

APPLIED = None


@pytest.mark.parametrize(
    ("reason", "most"), [("handler", 50), ("key_mismatch", IN_A_ROW_MAX), ("sequence_gap", 10_000)]
)
def test_letters_in_a_row_stop_a_partition_and_one_applied_record_begins_anew(reason: str, most: int) -> None:
    assert counted(NO_LETTERS, [reason] * most)[1] is None
    assert counted(NO_LETTERS, [reason] * (most + 1))[1] == reason
    assert counted(NO_LETTERS, [*[reason] * most, APPLIED, reason])[1] is None


def test_what_the_sender_did_wrong_is_not_counted_as_a_bug_of_ours() -> None:
    assert counted(NO_LETTERS, ["key_mismatch"] * 52)[1] is None
    assert counted(NO_LETTERS, [*["key_mismatch"] * 52, *["handler"] * 50])[1] is None


def test_the_tally_goes_on_from_batch_to_batch() -> None:
    tally, over = counted(NO_LETTERS, ["handler"] * 30)

    assert over is None
    assert counted(tally, ["handler"] * 21)[1] == "handler"


@pytest.mark.parametrize(("pattern", "stops"), [("bbg", True), ("bgg", False), ("wwg", False)])
def test_more_than_half_unusable_stops_a_partition_once_there_is_a_sample(
    pattern: str, *, stops: bool
) -> None:
    meant = {"b": "malformed_json", "g": APPLIED, "w": "sequence_gap"}
    reasons = [meant[letter] for letter in islice(cycle(pattern), 5 * SAMPLE_RECORDS)]

    assert counted(NO_LETTERS, reasons[: SAMPLE_RECORDS - 1])[1] is None
    assert (counted(NO_LETTERS, reasons)[1] is not None) == stops


def test_long_ago_weighs_less_than_lately() -> None:
    tally, _ = counted(NO_LETTERS, [APPLIED] * 100 * SAMPLE_RECORDS)
    lately = [
        letter for _ in range(SAMPLE_RECORDS) for letter in ("no_value", "no_value", "no_value", APPLIED)
    ]

    assert counted(tally, lately)[1] == "no_value"
