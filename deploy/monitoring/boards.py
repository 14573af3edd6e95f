"""Grafana's boards as data: a panel is a title, a unit and its lines; figures of parts, never of people."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

WIDTH: Final = 12
HEIGHT: Final = 8
"""Two panels beside each other on Grafana's grid of 24."""
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: what it shows, in which unit of Grafana's, and the lines by what names them."""

    title: str
    unit: str
    lines: Mapping[str, str]
    """The legend of a line → its expression."""


def rate(metric: str, *by: str) -> str:
    """How much a counter grows a second, over the last minutes."""
    return f"sum by ({', '.join(by)}) (rate({metric}[5m]))"


def slow(metric: str, *by: str) -> str:
    """The 99th percentile of a histogram."""
    return f"histogram_quantile(0.99, {rate(f'{metric}_bucket', *by, 'le')})"


BOARDS: Final[Mapping[str, tuple[Panel, ...]]] = {
    "Streams": (
        Panel(
            "Behind, in seconds",
            "s",
            {"{{group}} {{topic}}": "max by (group, topic) (concert_consumer_lag_seconds)"},
        ),
        Panel(
            "Behind, in records",
            "short",
            {"{{group}} {{topic}}": "max by (group, topic) (concert_consumer_lag_messages)"},
        ),
        Panel("Applied a second", "cps", {"{{group}}": rate("concert_consumer_applied_total", "group")}),
        Panel(
            "Since the last commit",
            "s",
            {"{{group}} {{topic}}": "min by (group, topic) (concert_consumer_last_commit_age_seconds)"},
        ),
        Panel(
            "Taken a second",
            "cps",
            {
                "{{messaging_destination_name}}": rate(
                    "messaging_client_consumed_messages_total", "messaging_destination_name"
                )
            },
        ),
        Panel(
            "Sent a second",
            "cps",
            {
                "{{messaging_destination_name}}": rate(
                    "messaging_client_sent_messages_total", "messaging_destination_name"
                )
            },
        ),
        Panel("Probe: the last round", "s", {"{{process}}": "concert_probe_roundtrip_seconds"}),
        Panel("Outbox: events that wait", "short", {"{{process}}": "concert_outbox_pending"}),
        Panel("Outbox: the oldest waits", "s", {"{{process}}": "concert_outbox_oldest_seconds"}),
        Panel(
            "Dead letters that wait",
            "short",
            {"{{service}} {{reason}}": "max by (service, reason) (concert_dead_letter_depth)"},
        ),
        Panel(
            "Dead letters: the oldest waits",
            "s",
            {"{{service}} {{reason}}": "max by (service, reason) (concert_dead_letter_oldest_seconds)"},
        ),
        Panel(
            "Set aside a second",
            "cps",
            {"{{group}} {{reason}}": rate("concert_dead_letters_total", "group", "reason")},
        ),
        Panel(
            "Seen before, a second",
            "cps",
            {"{{group}} {{topic}}": rate("concert_consumer_duplicates_total", "group", "topic")},
        ),
        Panel(
            "Partitions by process",
            "short",
            {"{{process}}": "sum by (process) (concert_consumer_assigned_partitions)"},
        ),
        Panel(
            "Partitions given anew",
            "short",
            {"{{group}}": rate("concert_consumer_rebalances_total", "group")},
        ),
    ),
    "Processes": (
        Panel("Answers", "bool_yes_no", {"{{process}}": 'up{job="concert"}'}),
        Panel("Alarms", "short", {"{{rule}}": "sum by (rule) (concert_alarm) > 0"}),
        Panel("Version", "short", {"{{version}}": "count by (version) (concert_build_info)"}),
        Panel("Runs since", "dateTimeFromNow", {"{{process}}": "process_start_time_seconds * 1000"}),
        Panel(
            "Event loop: p99 late", "s", {"{{process}}": slow("concert_event_loop_lag_seconds", "process")}
        ),
        Panel("Connections in use", "short", {"{{process}}": "concert_database_pool_in_use"}),
        Panel("Transaction: p99", "s", {"{{group}}": slow("concert_consumer_transaction_seconds", "group")}),
        Panel(
            "Batch: p99, waits too",
            "s",
            {
                "{{messaging_consumer_group_name}}": slow(
                    "messaging_process_duration_seconds", "messaging_consumer_group_name"
                )
            },
        ),
        Panel(
            "Records in a batch: p99", "short", {"{{group}}": slow("concert_consumer_batch_events", "group")}
        ),
        Panel(
            "Sending: p99",
            "s",
            {"{{process}}": slow("messaging_client_operation_duration_seconds", "process")},
        ),
        Panel("Processor", "percentunit", {"{{process}}": rate("process_cpu_seconds_total", "process")}),
        Panel("Memory", "bytes", {"{{process}}": "process_resident_memory_bytes"}),
    ),
    "Trail and views": (
        Panel("Since the last checkpoint", "s", {"{{process}}": "concert_audit_checkpoint_age_seconds"}),
        Panel(
            "Pulls a second, by decision",
            "cps",
            {"{{decision}}": rate("concert_consent_decisions_total", "decision")},
        ),
        Panel(
            "Views: applied a second", "cps", {"{{process}}": rate("concert_view_applied_total", "process")}
        ),
        Panel(
            "Views: could not use, a second",
            "cps",
            {"{{reason}}": rate("concert_view_skipped_total", "reason")},
        ),
        Panel("Views: an event takes", "s", {"{{process}}": "concert_view_event_seconds"}),
        Panel("Views: a commit takes", "s", {"{{process}}": "concert_view_commit_seconds"}),
        Panel(
            "Views: keys a second",
            "cps",
            {"{{table}} {{operation}}": rate("concert_view_table_operations_total", "table", "operation")},
        ),
        Panel("Views: events in hand", "short", {"{{process}}": "concert_view_active_events"}),
    ),
}


def board(title: str) -> dict[str, Any]:
    """A board as Grafana imports it."""
    return {
        "uid": "concert-" + title.lower().replace(" ", "-"),
        "title": f"Concert: {title}",
        "tags": ["concert"],
        "schemaVersion": 39,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
        "panels": list(_panels(BOARDS[title])),
    }


def _panels(panels: tuple[Panel, ...]) -> Iterator[dict[str, Any]]:
    for place, panel in enumerate(panels):
        row, column = divmod(place, 24 // WIDTH)
        yield {
            "id": place + 1,
            "type": "timeseries",
            "title": panel.title,
            "datasource": SOURCE,
            "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "targets": [
                {
                    "refId": chr(ord("A") + number),
                    "datasource": SOURCE,
                    "expr": expression,
                    "legendFormat": legend,
                }
                for number, (legend, expression) in enumerate(panel.lines.items())
            ],
        }


def board_texts() -> Mapping[str, str]:
    """Each board's file name and text."""
    boards = [board(title) for title in BOARDS]
    return {f"{one['uid']}.json": json.dumps(one, indent=1) + "\n" for one in boards}
