"""What Prometheus wakes a person for: one alert a rule of the services' own alarms, and some over time.

`RUNBOOKS` says which page of `docs/runbooks/` tells what to do; its heading is the rule, or the alert's name.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from services.runtime.alarms import RULES
from services.runtime.database import POOL_CONNECTIONS

Severity = Literal["page", "ticket"]

RUNBOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    "parts": ("draining", "sweep_fails", "due_act_fails", "clock_leapt", "answer_unsound"),
    "database": ("database", "database_older", "writer_older", "restoring", "neighbour_awaited"),
    "outbox": ("outbox_full", "outbox_waits", "unconfirmed"),
    "dead-letters": ("dead_letters", "partition_stopped", "plan_waits"),
    "streams": (
        "group_stalled",
        "group_slow",
        "reader_waits",
        "reader_stuck",
        "probe_fails",
        "view_recovers",
    ),
    "brokers": (
        "records_unreadable",
        "topic_made_anew",
        "brokers_lost_records",
        "log_refilled",
        "retention_overtook_reader",
    ),
    "trail": (
        "signer_halted",
        "trail_closed",
        "trail_went_back",
        "head_unsigned",
        "detail_damaged",
        "reports_full",
        "report_refused",
    ),
    "vault": ("vault_closed",),
    "mail": ("desk_undeliverable", "mail_server_away"),
    "partnership": (
        "recommendation_stalled",
        "committee_incomplete",
        "mandate_ends_soon",
        "protocol_ends_soon",
    ),
}
"""Page → the rules that it is about."""
OF_STATUS_ALONE: Final = ("not_running", "not_ready_yet", "part_down", "no_answer")
"""Rules that `concert status` finds from outside; here a process that cannot be scraped tells of them."""
PAGING: Final = frozenset(
    (
        "database",
        "database_older",
        "writer_older",
        "outbox_full",
        "outbox_waits",
        "reports_full",
        "partition_stopped",
        "reader_waits",
        "reader_stuck",
        "group_stalled",
        "signer_halted",
        "trail_closed",
        "trail_went_back",
        "head_unsigned",
        "vault_closed",
    )
)
"""Rules that do not wait until morning: nothing is shown, nothing is sent, or it gets worse by itself."""
HOLDS_FOR: Final[Mapping[str, str]] = {"draining": "5m", "restoring": "15m", "view_recovers": "10m"}
"""What is no cause for alarm until it has lasted; all others have waited long enough after a minute."""


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alert: when it fires, what it says, and the page and heading that tell what to do."""

    name: str
    runbook: str
    severity: Severity
    expression: str
    holds_for: str
    says: str
    heading: str

    @property
    def annotations(self) -> Mapping[str, str]:
        """What whoever is woken reads."""
        return {"summary": self.says, "runbook": f"docs/runbooks/{self.runbook}.md#{self.heading.lower()}"}


def _over_time(
    name: str, runbook: str, severity: Severity, holds_for: str, expression: str, says: str
) -> AlertRule:
    return AlertRule(name, runbook, severity, expression, holds_for, says, name)


OVER_TIME: Final = (
    _over_time(
        "ConcertProcessDown", "parts", "page", "1m",
        'up{job="concert"} == 0',
        "A process does not answer; `concert status` says which, and why.",
    ),
    _over_time(
        "ConcertUnseen", "parts", "page", "5m",
        'absent(up{job="concert"})',
        "Prometheus knows no process of Concert: nothing runs, or it has another folder's targets.",
    ),
    _over_time(
        "ConcertRestarts", "parts", "ticket", "0s",
        'changes(process_start_time_seconds{job="concert"}[15m]) > 2',
        "A process was started again three times within 15 minutes; its log says why it ends.",
    ),
    _over_time(
        "ConcertLoopLate", "parts", "ticket", "5m",
        "histogram_quantile(0.9, sum by (process, le) (rate(concert_event_loop_lag_seconds_bucket[5m])))"
        " > 0.5",
        "What is due in a process comes more than half a second late, one time in ten.",
    ),
    _over_time(
        "ConcertPoolFull", "database", "ticket", "2m",
        f"max by (process) (concert_database_pool_in_use) >= {POOL_CONNECTIONS}",
        "All connections of a process to its database are in use; requests wait for one.",
    ),
    _over_time(
        "ConcertPartitionsUnread", "streams", "page", "2m",
        "sum by (group, topic) (concert_consumer_assigned_partitions) == 0",
        "No process of a group has any partition of a topic; nobody reads it.",
    ),
    _over_time(
        "ConcertRebalances", "streams", "ticket", "0s",
        "max by (group) (increase(concert_consumer_rebalances_total[15m])) > 10",
        "A group's partitions are given anew again and again; each time its reading stands still.",
    ),
    _over_time(
        "ConcertLetterOld", "dead-letters", "page", "5m",
        "max by (process, reason) (concert_dead_letter_oldest_seconds) > 86400",
        "Records that were set aside have waited for a day, and what comes after them waits too.",
    ),
    _over_time(
        "ConcertViewFails", "streams", "ticket", "0s",
        "sum by (process) (increase(concert_view_assignments_failed_total[15m])"
        " + increase(concert_view_send_errors_total[15m])) > 0",
        "A view could not keep its tables; what it shows may be old. The record is not touched.",
    ),
)  # fmt: skip


def alarm_alert(rule: str, runbook: str) -> AlertRule:
    """The alert for a rule of the services' own alarms."""
    return AlertRule(
        name="Concert" + "".join(word.capitalize() for word in rule.split("_")),
        runbook=runbook,
        severity="page" if rule in PAGING else "ticket",
        expression=f'max by (process) (concert_alarm{{rule="{rule}"}}) > 0',
        holds_for=HOLDS_FOR.get(rule, "1m"),
        says=RULES[rule],
        heading=rule,
    )


ALERTS: Final = (
    *(alarm_alert(rule, runbook) for runbook, rules in RUNBOOKS.items() for rule in rules),
    *OVER_TIME,
)


def _lines() -> Iterator[str]:
    yield "# Made by `python -m deploy.monitoring` of deploy/monitoring/alerts.py."
    yield "groups:"
    for runbook in RUNBOOKS:
        yield f"  - name: concert-{runbook}"
        yield "    rules:"
        for alert in (one for one in ALERTS if one.runbook == runbook):
            yield f"      - alert: {alert.name}"
            yield f"        expr: {json.dumps(alert.expression)}"
            yield f"        for: {alert.holds_for}"
            yield f"        labels: {{severity: {alert.severity}}}"
            yield "        annotations:"
            for name, text in alert.annotations.items():
                yield f"          {name}: {json.dumps(text)}"


def rules_text() -> str:
    """The alerts as Prometheus reads them; a string of JSON is one of YAML too."""
    return "\n".join(_lines()) + "\n"
