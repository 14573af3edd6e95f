"""`concert status`: asks every part at that moment, and says which rule fired, where, and since when."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import asyncpg
import httpx2
import typer
from pydantic import TypeAdapter

from deploy.local import control
from deploy.local.configuration import Configuration, load
from deploy.local.installation import Installation
from deploy.local.ports import HOST
from deploy.local.processes import KAFKA, MAIL_SINK, POSTGRES
from deploy.local.service_part import greets, listens
from schemas.topics import VIEWS
from services.cli.installed import READY, DataDirectory, streams_seen
from services.cli.talk import FAILED, AsJson, command, show
from services.runtime import administration
from services.runtime.alarms import RULES, Alarm
from services.runtime.clock import SystemClock

app = typer.Typer()

ANSWERED_WITHIN_SECONDS: Final = 2.5
"""A part answers within milliseconds; one that looks in vain for its database says so after a second."""

ALARMS: Final = TypeAdapter(list[Alarm])
UNANSWERED: Final = (OSError, ValueError, KeyError, httpx2.HTTPError, asyncpg.PostgresError)


@app.command("status")
def status(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert status`, `concert status --json`.

    Asks every part as it stands now; says which rule fired, where and since when, and exits 1 while one does.
    """
    configuration = load(data)
    state = control.read_state(configuration.run) or {"state": "stopped", "parts": {}}
    alarms, views, streams = asyncio.run(look(configuration, state))
    means = {**RULES, "not_running": f"Nothing runs here; start it with {command('up', data)}."}
    shown = [
        {"rule": one.rule, "where": one.where, "since": f"{one.since:%Y-%m-%dT%H:%M:%SZ}"}
        | {"means": means.get(one.rule, "")}
        for one in alarms
    ]
    lines = [f"{configuration.data}: {state['state']}"]
    for name, part in state["parts"].items():
        died = f"died {part['deaths']} times in a row" if part["deaths"] else ""
        lines.append(f"  {name:<22} {part['state']:<10} {part['pid'] or '':<8} {died}".rstrip())
    lines += [line for shown_by in views.values() for line in figures_told(shown_by)]
    lines += streams_told(streams) if "ports" in state else ()
    lines += ["{rule}: {where}, since {since}. {means}".format_map(one) for one in shown]
    show(
        {"is_well": not alarms, "alarms": shown, "views": views, "streams": streams, **state},
        lines,
        as_json=as_json,
    )
    if alarms:
        raise typer.Exit(FAILED)


async def look(
    configuration: Configuration, state: Mapping[str, Any]
) -> tuple[list[Alarm], dict[str, Mapping[str, Any]], Mapping[str, Any] | None]:
    """What fires now, what each view shows that answers, and what operations found of streams."""
    alarms = await standing_alarms(configuration, state)
    shown: dict[str, Mapping[str, Any]] = {}
    async with httpx2.AsyncClient(timeout=ANSWERED_WITHIN_SECONDS, trust_env=False) as client:
        for view in VIEWS if "ports" in state else ():
            with suppress(*UNANSWERED):  # an alarm says why
                port = state["ports"][f"{view.user}_health"]
                answer = await client.get(f"http://{HOST}:{port}/v1/views/{view.service}")
                if answer.is_success:
                    shown[view.service] = answer.json()
    seen = None
    if "ports" in state:
        seen = await streams_seen(Installation(configuration, state["ports"]), ANSWERED_WITHIN_SECONDS)
    return alarms, shown, seen


def streams_told(seen: Mapping[str, Any] | None) -> Iterator[str]:
    """How many streams do how, and each that does not do well, with the rule in words."""
    if seen is None:
        yield "  streams: unknown, operations does not answer or has not looked yet"
        return
    counts = Counter(one["verdict"] for one in seen["groups"])
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    yield f"  streams, as of {seen['as_of']:.19}Z: {told}"
    for one in seen["groups"]:
        if one["verdict"] != "ok":
            yield f"  {one['service']} reads {one['topic']}: {one['verdict']}. {one['words']}"


def figures_told(shown: Mapping[str, Any]) -> Iterator[str]:
    """A view's figures in lines: offers that nobody has answered, and the facts of its minutes together."""
    for urgency, ages in shown["unanswered"].items():
        bands = ", ".join(f"{count} {band.replace('_', ' ')}" for band, count in ages.items())
        yield f"  unanswered, {urgency}: {bands}"
    counts: Counter[str] = Counter()
    for minute in shown["facts_a_minute"]:
        counts.update(minute["counts"])
    if counts:
        told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        yield f"  facts of the last {len(shown['facts_a_minute'])} minutes that had any: {told}"


async def standing_alarms(configuration: Configuration, state: Mapping[str, Any]) -> list[Alarm]:
    """What fires now where a supervisor last told `state`: every part is asked, all at once."""
    now = SystemClock().now()
    if state["state"] == "stopped":
        return [Alarm("not_running", str(configuration.data), now)]
    parts = state["parts"]
    down = {name for name, part in parts.items() if part["state"] != READY}
    alarms = [Alarm("part_down", name, now) for name in down]
    if state["state"] != READY:
        alarms.append(Alarm("not_ready_yet", state["state"], now))
    for key in ("supervisor", "fork_server"):
        if state.get(key) and control.is_frozen(state[key]):
            alarms.append(Alarm("no_answer", key.replace("_", " "), now))
    if "ports" in state:
        installation = Installation(configuration, state["ports"])
        # Broker and database are asked also where the supervisor does not run them.
        asked = list(dict.fromkeys((KAFKA, POSTGRES, *parts)))
        async with httpx2.AsyncClient(timeout=ANSWERED_WITHIN_SECONDS, trust_env=False) as client:
            answers = await asyncio.gather(*(_told_in_time(client, installation, name) for name in asked))
        for name, told in zip(asked, answers, strict=True):
            if told is not None:
                alarms += told  # also of a part that does not get ready: it says why
            elif name not in down:
                alarms.append(Alarm("no_answer", name, now))
    return sorted(alarms, key=lambda one: (one.since, one.rule, one.where))


async def _told_in_time(
    client: httpx2.AsyncClient, installation: Installation, name: str
) -> list[Alarm] | None:
    """The alarms that a part tells of; None if it gives no answer, or none that can be read."""
    try:
        async with asyncio.timeout(ANSWERED_WITHIN_SECONDS):
            if name == KAFKA:
                is_in = await asyncio.to_thread(administration.answers, *installation.kafka_admin)
                return [] if is_in else None
            if name == POSTGRES:
                async with installation.server.connection():
                    return []
            if name == MAIL_SINK:
                return [] if await greets(installation.ports["mail_sink_smtp"]) else None
            if name.endswith("_vault"):  # its sector tells whether it is closed, and why
                return [] if await listens(installation.vault_socket(name)) else None
            answer = await client.get(f"http://{HOST}:{installation.ports[f'{name}_health']}/readyz")
            alarms = ALARMS.validate_python(answer.json()["alarms"])
            return [replace(one, where=f"{name}: {one.where}" if one.where else name) for one in alarms]
    except UNANSWERED:
        return None
