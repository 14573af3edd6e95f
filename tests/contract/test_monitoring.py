"""Each alert has a rule test and a page whose commands exist; each figure is drawn or told of as it is."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from prometheus_client import REGISTRY

from deploy.monitoring.__main__ import FOLDER, texts
from deploy.monitoring.alerts import ALERTS, HOLDS_FOR, OF_STATUS_ALONE, PAGING, RUNBOOKS, AlertRule
from deploy.monitoring.boards import BOARDS
from services.audit import wiring as _audit
from services.cli.__main__ import application
from services.operations import measurements as _measurements
from services.operations import probe as _probe
from services.runtime import view_figures as _views
from services.runtime.alarms import RULES
from services.sector import releases as _releases
from tests.support.commands import commands_in, parse, words_of

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = ROOT / "docs" / "runbooks"
OURS: Final = ("concert_", "messaging_")
DEFINED_IN: Final = (_audit, _measurements, _probe, _releases, _views)
"""What defines figures besides the runtime's own table: importing it registers them."""
BY_OTHERS: Final = {
    "up",
    *(f"process_{name}" for name in ("start_time_seconds", "cpu_seconds_total", "resident_memory_bytes")),
}
"""Prometheus' own, and its client's."""

Series = Mapping[str, str]
ALWAYS: Final = "1x400"


def of(metric: str, values: str, **labels: str) -> Series:
    """One series as promtool reads it, a sample every 15 s."""
    told = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {"series": f"{metric}{{{told}}}", "values": values}


HERE: Final = {"group": "g", "topic": "t"}
CASES: Final[Mapping[str, tuple[list[Series], list[Series], Mapping[str, str]]]] = {
    "ConcertProcessDown": (
        [of("up", "1x4 0x400", job="concert", process="health")],
        [of("up", "1x400", job="concert", process="health")],
        {"job": "concert", "process": "health"},
    ),
    "ConcertUnseen": ([], [of("up", ALWAYS, job="concert")], {"job": "concert"}),
    "ConcertRestarts": (
        [of("process_start_time_seconds", "1x46 2x3 3x3 4x400", job="concert", process="health")],
        [of("process_start_time_seconds", "1x46 2x3 3x400", job="concert", process="health")],
        {"job": "concert", "process": "health"},
    ),
    "ConcertLoopLate": (
        [
            of("concert_event_loop_lag_seconds_bucket", "0+8x400", process="health", le="0.5"),
            of("concert_event_loop_lag_seconds_bucket", "0+15x400", process="health", le="1.0"),
            of("concert_event_loop_lag_seconds_bucket", "0+15x400", process="health", le="+Inf"),
        ],
        [
            of("concert_event_loop_lag_seconds_bucket", "0+14x400", process="health", le="0.5"),
            of("concert_event_loop_lag_seconds_bucket", "0+15x400", process="health", le="1.0"),
            of("concert_event_loop_lag_seconds_bucket", "0+15x400", process="health", le="+Inf"),
        ],
        {"process": "health"},
    ),
    "ConcertPoolFull": (
        [of("concert_database_pool_in_use", "8x400", process="health")],
        [of("concert_database_pool_in_use", "7x400", process="health")],
        {"process": "health"},
    ),
    "ConcertPartitionsUnread": (
        [of("concert_consumer_assigned_partitions", "0x400", process=name, **HERE) for name in ("a", "a-2")],
        [
            of("concert_consumer_assigned_partitions", "0x400", process="a", **HERE),
            of("concert_consumer_assigned_partitions", "4x400", process="a-2", **HERE),
        ],
        HERE,
    ),
    "ConcertRebalances": (
        [of("concert_consumer_rebalances_total", "0+1x400", group="g", process="a")],
        [of("concert_consumer_rebalances_total", "0+1x5 5x400", group="g", process="a")],
        {"group": "g"},
    ),
    "ConcertLetterOld": (
        [of("concert_dead_letter_oldest_seconds", "86000+15x400", process="a", reason="handler")],
        [of("concert_dead_letter_oldest_seconds", "0+15x400", process="a", reason="handler")],
        {"process": "a", "reason": "handler"},
    ),
    "ConcertViewFails": (
        [
            of("concert_view_assignments_failed_total", "0x400", process="v"),
            of("concert_view_send_errors_total", "0x60 1x400", process="v"),
        ],
        [
            of("concert_view_assignments_failed_total", "0x400", process="v"),
            of("concert_view_send_errors_total", "1x400", process="v"),
        ],
        {"process": "v"},
    ),
}
"""Alert over time → series on which it fires after 20 minutes, series on which it does not, its labels."""


def case_of(alert: AlertRule) -> tuple[list[Series], list[Series], Mapping[str, str]]:
    """Of an alarm's alert: it stands on one process, and stood on it for a moment that has passed."""
    if alert.name in CASES:
        return CASES[alert.name]
    labels = {"rule": alert.heading, "process": "health"}
    passed = of("concert_alarm", "1x2 0x400", **labels)
    return [of("concert_alarm", ALWAYS, **labels)], [passed], {"process": "health"}


def rule_test(series: list[Series], expected: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, Any]:
    asked = [
        {"eval_time": "20m", "alertname": name, "exp_alerts": alerts} for name, alerts in expected.items()
    ]
    return {"interval": "15s", "input_series": series, "alert_rule_test": asked}


def rule_tests() -> Iterator[dict[str, Any]]:
    """All that may fire together does; then all rest; one fires only where there is nothing at all."""
    firing: dict[str, list[Mapping[str, Any]]] = {}
    for alert in ALERTS:
        labels = {**case_of(alert)[2], "severity": alert.severity}
        firing[alert.name] = [{"exp_labels": labels, "exp_annotations": dict(alert.annotations)}]
    unseen = firing.pop("ConcertUnseen")
    yield rule_test([one for alert in ALERTS for one in case_of(alert)[0]], firing)
    yield rule_test([one for alert in ALERTS for one in case_of(alert)[1]], {one.name: [] for one in ALERTS})
    yield rule_test([], {"ConcertUnseen": unseen})


def test_each_alert_fires_where_it_should_and_nowhere_else(tmp_path: Path) -> None:
    if not (promtool := shutil.which("promtool")):
        pytest.skip("the machine has no promtool; Debian's package prometheus has it")
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": list(rule_tests())}
    (tmp_path / "tests.yml").write_text(json.dumps(document))
    (tmp_path / "targets.json").write_text("[]")
    for name in ("rules.yml", "prometheus.yml"):
        shutil.copy(FOLDER / name, tmp_path)

    for words in (("test", "rules", "tests.yml"), ("check", "config", "prometheus.yml")):
        done = subprocess.run([promtool, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_has_an_alert_and_each_alert_a_name_of_its_own() -> None:
    found = [rule for rules in RUNBOOKS.values() for rule in rules]

    assert sorted([*found, *OF_STATUS_ALONE]) == sorted(RULES)
    assert PAGING | HOLDS_FOR.keys() <= {*found}
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_runbook_has_each_alert_that_leads_to_it_and_names_commands_that_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    sections = re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    wanted = [alert.heading for alert in ALERTS if alert.runbook == page.stem]

    assert sorted(heading for heading, _ in sections) == sorted(wanted)
    assert all(len(section.split()) > 15 for _, section in sections)
    for line in commands_in([text]):
        words = words_of(line)
        parse(typer.main.get_command(application(words)), words)
    assert list(commands_in([text]))


def test_each_alert_leads_to_a_runbook() -> None:
    assert {alert.runbook for alert in ALERTS} == {page.stem for page in PAGES.glob("*.md")}


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.name)
def test_what_is_made_of_a_table_is_as_the_table_says(path: Path) -> None:
    assert path.read_text("utf-8") == texts()[path], "run `concert dev schemas`"


def test_every_board_is_there_and_no_other() -> None:
    assert {path for path in texts() if path.suffix == ".json"} == {*(FOLDER / "boards").iterdir()}


def figures() -> Mapping[str, tuple[str, ...]]:
    """Each figure of ours as a row of the reference: name at a scrape, kind, labels, meaning."""
    found = {}
    for collector in set(REGISTRY._collector_to_names):
        labels: Sequence[str] = getattr(collector, "_labelnames", getattr(collector, "_labels", ()))
        for family in collector.collect():
            if family.name.startswith(OURS):
                name = family.name + ("_total" if family.type == "counter" else "")
                found[name] = (name, family.type, ", ".join(labels), family.documentation)
    return found


def test_the_reference_has_each_figure_as_it_is() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)

    assert sorted(rows) == sorted(figures().values())


def test_boards_and_alerts_ask_for_figures_that_are_there() -> None:
    expressions = [line for board in BOARDS.values() for panel in board for line in panel.lines.values()]
    expressions += [alert.expression for alert in ALERTS]
    bare = [re.sub(r'"[^"]*"|by \([^)]*\)', "", one) for one in expressions]
    found = {name for one in bare for name in re.findall(r"\b(?:concert|messaging|process)_\w+|\bup\b", one)}
    asked = {name.removesuffix("_bucket") for name in found}

    assert asked - BY_OTHERS <= figures().keys()
    assert asked >= BY_OTHERS


def test_no_figure_is_told_by_pair_by_referral_or_by_person() -> None:
    allowed = {
        "group", "topic", "reason", "rule", "version", "decision", "table", "operation",
        "messaging_destination_name", "messaging_consumer_group_name", "messaging_operation_name",
    }  # fmt: skip

    assert {label for row in figures().values() for label in row[2].split(", ") if label} == allowed
