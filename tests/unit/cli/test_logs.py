"""`concert logs`: an age or an instant, all processes of a service, nothing that steers a terminal."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.cli.__main__ import application
from services.cli.logs import since_of

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "hour", "minute"),
    [
        ("10m", 13, 50),
        ("90s", 13, 58),
        ("2h", 12, 0),
        ("2026-11-22T13:01:00Z", 13, 1),
        ("2026-11-22T15:01:00+02:00", 13, 1),
        ("2026-11-22 13:01", 13, 1),
    ],
)
def test_since_is_an_age_or_an_instant(text: str, hour: int, minute: int) -> None:
    assert since_of(text, NOW).replace(second=0) == datetime(2026, 11, 22, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "10", "ten", "-10m", "1\u0661m", "9999999d", "0001-01-01T00:00+14:00"])
def test_any_other_since_is_refused_with_what_it_may_be(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="an age such as"):
        since_of(text, NOW)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "health.log.1").write_text('{"event": "a", "timestamp": "2026-11-22T14:00:01.000000Z"}\n')
    (logs / "health.log").write_text('{"event": "c", "timestamp": "2026-11-22T14:00:03.000Z"}\n  at once\n')
    (logs / "health-2.log").write_text('{"event": "b", "timestamp": "2026-11-22T14:00:02.000000Z"}\n')
    (logs / "kafka.log").write_text("[2026-11-22 14:00:02,500] WARN client\x1b[2J\u202e gone\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["health"], ['{"event": "a"', '{"event": "b"', '{"event": "c"', "  at once"]),
        (["health-2"], ['{"event": "b"']),
        (["health", "--since", "2026-11-22T14:00:02.500Z"], ['{"event": "c"', "  at once"]),
        (["kafka"], [r"[2026-11-22 14:00:02,500] WARN client\x1b[2J\u202e gone"]),
    ],
)
def test_lines_come_in_the_order_of_time(data: Path, words: list[str], begins: list[str]) -> None:
    shown = CliRunner().invoke(application(["logs"]), ["logs", *words, "--data", str(data)])

    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert [line.startswith(each) for line, each in zip(lines, begins, strict=True)] == [True] * len(begins)


def test_a_part_that_is_not_there_is_refused_with_those_that_are(data: Path) -> None:
    shown = CliRunner().invoke(application(["logs"]), ["logs", "../run/state", "--data", str(data)])

    assert shown.exit_code == 2
    assert "health, health-2, kafka" in shown.stderr
