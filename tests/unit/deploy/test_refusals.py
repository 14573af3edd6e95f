"""Why a part ended, read from its own output."""

from pathlib import Path

import pytest

from deploy.local.refusals import TRACES, CannotRun, last_lines, part_died


@pytest.mark.parametrize(("words", "code", "sentence"), TRACES)
def test_a_cause_that_a_part_tells_is_named(tmp_path: Path, words: str, code: str, sentence: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"starting\nFATAL: something: {words}\nbye\n")
    refusal = part_died("PostgreSQL", log)
    assert refusal.code == code
    assert refusal.sentence.endswith(sentence)


def test_any_other_end_shows_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    refusal = part_died("Kafka", log)
    assert (refusal.code, refusal.exit_code) == ("part_died", 1)
    assert refusal.last_lines[-1] == "line 99"
    assert len(refusal.last_lines) == 12


def test_a_part_without_output_has_no_last_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none") == ()


@pytest.mark.parametrize(("code", "status"), [("no_network", 6), ("directory_in_use", 5), ("wrong_hash", 1)])
def test_exit_codes_are_those_of_the_command(code: str, status: int) -> None:
    assert CannotRun(code, "").exit_code == status
