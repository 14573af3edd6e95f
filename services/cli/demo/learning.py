"""Partners learn: a dialogue, what they recommend, and a lesson that closes a cell of the protocol."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from deploy.local.places import make_directory, write_private
from services.cli.agency_client import ACCEPT, AgencyClient, Json
from services.cli.demo.canaries import new_packet
from services.cli.demo.checks import Evidence, PlayedReferral
from services.cli.demo.collect import looking
from services.cli.demo.learning_checks import (
    BY_CLOCK,
    STALLED,
    STATES,
    ClosedCell,
    Course,
    DialogueCount,
    RecommendationCourse,
    ServedRelease,
    counts_of,
)
from services.cli.demo.packet_checks import ACCEPTED, NOT_SHARED, TriedPull
from services.cli.demo.partners import DISTRICT, MINISTRY, MOVEMENT, OFFICE, Partnership, partnership
from services.cli.demo.play import COUNTED, NEXT_STEPS, Play, all_told, take
from services.cli.demo.trial import protocol
from services.cli.demo.versions import in_force_everywhere
from services.cli.partnership import read_report
from services.governance.domain.histories import COLUMNS
from services.runtime.clock import SystemClock
from services.runtime.pages.languages import ENGLISH
from services.runtime.tables_csv import csv_text

DIALOGUE: Final = "dlg_night-desk"
BY_CONSTITUENCY: Final = {"womens_movement": 23, "civil_society": 14, "sector_agency": 6, "government": 3}
BY_GROUP: Final = {"women_with_disabilities": 9, "displaced_women": 4, "rural_women": 11}
"""How many came; three and four are so few that somebody could be told."""
CELL: Final = ("police", "legal")
"""A sector, and the group that its agencies need not see."""
ROW_OF_CELL: Final = "legal_wish"
FIELD_OF_CELL: Final = "legal.wish"
"""The only field of that group which the police had, where she names it, and its row in the matrix."""
LESSON: Final = "lsn_night-desk"
LEARNED: Final = "Who feared that the police read what legal help she wants stayed away from their desk."
REFERRED: Final = "referred to the police, served and closed"
WITHIN: Final = timedelta(days=90)
FILE: Final = "his_past"
PAST: Final = "rec_past"
AGREED_AGO: Final = timedelta(days=400)
DUE_AGO: Final = timedelta(days=60)
"""When a recommendation of the past was agreed on, and when it was due; nothing moved since."""
DECIDED: Final = "decision"
PAST_COURSE: Final = (("proposed", DECIDED), ("agreed", DECIDED), ("assigned", DECIDED), (STALLED, BY_CLOCK))
"""What a file says that partners did, and what time makes of it."""


class RecommendedThing(NamedTuple):
    """What partners recommend, and what it is about."""

    text: str
    phase: str
    pillar: str
    cause: str
    changes: str


THINGS: Final = (
    RecommendedThing(
        "Let the buses to the clinic go at night too.", "assessment", "services", "lack_of_services", "budget"
    ),
    RecommendedThing(
        "Ask women who left a shelter what was missing there.", "analysis", "data", "lack_of_data", "nothing"
    ),
    RecommendedThing(
        "Plan interpreters for each desk at which somebody is heard.",
        "planning", "services", "lack_of_services", "budget",
    ),
    RecommendedThing(
        "Train all who answer the telephone to ask for a safe hour first.",
        "implementation", "institutions", "weak_institutions", "service",
    ),
    RecommendedThing(
        "Publish each quarter how long survivors waited for a bed.",
        "monitoring", "data", "lack_of_data", "nothing",
    ),
    RecommendedThing(
        "Let no police desk read what legal help somebody wants; a lawyer brings it.",
        "evaluation", "laws", "impunity", "rule",
    ),
)  # fmt: skip
"""Each goes one state further than the one before it: the first is proposed, the last is verified."""
OLD_THING: Final = RecommendedThing(
    "Open a shelter that women with disabilities can enter.",
    "planning",
    "services",
    "lack_of_services",
    "budget",
)


async def learn(play: Play, out: Path) -> Evidence:
    """All that partners learn after the referrals, and the evidence of it; their report is written out."""
    trial = play.trial
    async with partnership(trial.installation, trial.issuer, trial.agencies) as partners:
        dialogues = {DIALOGUE: await _speak(partners)}
        courses = await asyncio.gather(*(_recommend(partners, place) for place in range(len(THINGS))))
        closed_cells = await _close_cell(play, partners)
        past = await _load(partners)
        releases = await _release(partners)
        report = await _report(partners, out)
        await _resume(partners)
    return {
        "dialogues": dialogues,
        "courses": dict([*courses, past]),
        "closed_cells": closed_cells,
        "releases": releases,
        "report": report,
    }


async def _speak(partners: Partnership) -> DialogueCount:
    """A dialogue is announced and held, and its counts are looked for wherever they stand."""
    seat, path = f"seat {MOVEMENT}", f"dialogues/{DIALOGUE}"
    announced = {
        "title": "What a desk at night should be", "level": "district", "area": DISTRICT,
        "phase": "planning", "pillar": "services", "begins_at": SystemClock().now(),
    }  # fmt: skip
    came = {"by_constituency": BY_CONSTITUENCY, "by_group": BY_GROUP}
    await partners.client.act(seat, path, announced)
    await partners.client.act(seat, f"{path}/hold", came)
    shown = (await partners.client.read(f"monitor {OFFICE}", path))["content"]["participants"]
    places = {"it is shown": shown, **await _kept(partners.installation)}
    counts = {place: counts_of(found) for place, found in places.items()}
    return DialogueCount({**BY_CONSTITUENCY, **BY_GROUP}, counts)


async def _kept(installation: Installation) -> Mapping[str, Json]:
    """The counts as governance's database holds them: in the act, and in the record."""
    async with installation.server.connection(DATABASES["governance"].name) as connection:
        act = await connection.fetchval("SELECT body FROM act WHERE id = $1 AND name = 'hold'", DIALOGUE)
        record = await connection.fetchval("SELECT content FROM record WHERE id = $1", DIALOGUE)
    return {"the act is kept": json.loads(act), "it is kept": json.loads(record)["participants"]}


async def _recommend(partners: Partnership, place: int) -> tuple[str, RecommendationCourse]:
    """One is proposed, agreed … as far as its turn is, and then read as it stands."""
    name = f"rec_night-{place + 1}"
    path, client = f"recommendations/{name}", partners.client
    for act, by, body in _acts(partners, THINGS[place])[: place + 1]:
        await client.act(f"seat {by}", f"{path}/{act}" if act else path, body)
    return await _course(partners, name, tuple((state, "seat") for state in STATES[: place + 1]))


async def _load(partners: Partnership) -> tuple[str, RecommendationCourse]:
    """One of the past comes in as CSV, and another constituency vouches for it."""
    today = SystemClock().now().date()
    row = {
        **OLD_THING._asdict(), "id": PAST, "level": "district", "area": DISTRICT, "causes": OLD_THING.cause,
        "agreed_by": f"{MOVEMENT};{MINISTRY}", "agreed_on": today - AGREED_AGO,
        "owner": MINISTRY, "due_on": today - DUE_AGO,
    }  # fmt: skip
    table = csv_text(COLUMNS, [[row.get(name, "") for name in COLUMNS]])
    await partners.client.act(f"seat {OFFICE}", f"histories/{FILE}", table)
    await partners.client.act(f"approver {MOVEMENT}", f"histories/{FILE}/confirm")
    return await _course(partners, PAST, PAST_COURSE)


async def _resume(partners: Partnership) -> None:
    """Its owner moves what was seen to stall: an installation that goes on has no alarm of it."""
    await partners.client.act(f"seat {MINISTRY}", f"recommendations/{PAST}/progress", {"per_cent": 20})


async def _course(partners: Partnership, name: str, acted: Course) -> tuple[str, RecommendationCourse]:
    """What became of a recommendation, as it is shown."""
    reader, path = f"monitor {OFFICE}", f"recommendations/{name}"
    history = (await partners.client.read(reader, f"{path}/acts"))["data"]
    stands = (await partners.client.read(reader, path))["state"]
    return name, RecommendationCourse(acted, tuple((row["state"], row["role"]) for row in history), stands)


def _acts(partners: Partnership, thing: RecommendedThing) -> Sequence[tuple[str, str, Mapping[str, Any]]]:
    """Each act by which a recommendation goes on: its name, whose it is, and what it says."""
    owner = partners.seated["social_services"]
    said = {name: value for name, value in thing._asdict().items() if name != "cause"}
    said |= {"level": "district", "area": DISTRICT, "causes": [thing.cause], "dialogue": DIALOGUE}
    return (
        ("", MOVEMENT, said),
        ("agree", MINISTRY, {}),
        ("assign", MOVEMENT, {"owner": owner, "due_at": SystemClock().now() + WITHIN}),
        ("progress", owner, {"per_cent": 60}),
        ("implement", owner, {"evidence": "rule_changed"}),
        ("verify", MOVEMENT, {}),
    )


async def _close_cell(play: Play, partners: Partnership) -> Mapping[str, ClosedCell]:
    """The same pull at two referrals: before the next version of the protocol, and under it."""
    sector, group = CELL
    before = await _referred(play, ACCEPTED)
    adopted = await partners.adopt(_without_cell(play))
    name = f"{adopted.id}.{adopted.version}"
    in_force = await in_force_everywhere(play.trial.installation, adopted.id, adopted.version)
    lesson = {"text": LEARNED, "causes": ["weak_institutions", "impunity"], "protocol": name}
    await partners.client.act(f"seat {MOVEMENT}", f"lessons/{LESSON}", lesson)
    await partners.client.act(f"seat {MINISTRY}", f"lessons/{LESSON}/share")
    stands = await partners.client.read(f"monitor {OFFICE}", f"lessons/{LESSON}")
    shared = stands["content"]["protocol"] if stands["state"] == "shared" else None
    after = await _referred(play, NOT_SHARED)
    return {name: ClosedCell(sector, group, shared, before, after, in_force)}


def _without_cell(play: Play) -> Json:
    """The protocol of the demo, in which one sector sees one group no longer."""
    sector, group = CELL
    document = protocol([agency.id for agency in play.trial.agencies])
    document["matrix"][ROW_OF_CELL][sector] = "N"
    closed = {"recipient": sector, "group": group, "basis": "consent"}
    return {**document, "pulls": [row for row in document["pulls"] if not closed.items() <= row.items()]}


async def _release(partners: Partnership) -> Mapping[str, ServedRelease]:
    """The running month is drawn once all is counted, signed by the women's movement, and read again."""
    async with looking(partners.installation) as onlooker:
        await onlooker.quiet()
    month = f"{SystemClock().now():%Y-%m}"
    path = f"releases/rls_{month}"
    await partners.client.act(f"seat {MINISTRY}", path, {"period": month})
    drafted = {row["id"]: _tables(row) for row in await _releases(partners)}
    await partners.client.act(f"approver {MOVEMENT}", f"{path}/sign")
    return {row["id"]: _served(partners, row, drafted) for row in await _releases(partners)}


async def _releases(partners: Partnership) -> list[Json]:
    rows: list[Json] = (await partners.client.read(f"monitor {OFFICE}", "releases"))["data"]
    return rows


def _served(partners: Partnership, row: Json, drafted: Mapping[str, str]) -> ServedRelease:
    by = row["content"]["signed_by"]
    whose = partners.constituencies.get(by)
    return ServedRelease(row["state"], by, whose, drafted.get(row["id"], ""), _tables(row))


def _tables(row: Json) -> str:
    return json.dumps(row["content"]["tables"])


async def _report(partners: Partnership, out: Path) -> Mapping[str, str]:
    """The page that anybody may read and its tables, as `concert partnership report` writes them."""
    files = await read_report(partners.client.http, out, ENGLISH)
    make_directory(out.parent)
    for file, text in files.items():
        write_private(file, text, durably=False)
    return {file.name: file.read_text("utf-8") for file in files}


async def _referred(play: Play, moment: str) -> TriedPull:
    """A referral to the sector, with all that she agreed to; its agency asks for the group, and helps her."""
    sector, group = CELL
    owner, holder = _first("social_services", play), _first(sector, play)
    fields = {holder.agency.id: [FIELD_OF_CELL]}
    agreed = {"groups": ("contact", group), "fields": fields, "statistics": True}
    body = await owner.prepare(holder.agency, agreed=agreed, count=COUNTED)
    await owner.write_packet(body["case"], {name: new_packet()[name] for name in ("contact", group)})
    referral = (await owner.offer(body)).referral
    play.played.append(PlayedReferral(referral, REFERRED, owner.agency.id, holder.agency.id, "closed"))
    told = partial(all_told, (owner, holder), referral)
    await told("referral.offered")
    for step in NEXT_STEPS:
        await take(step, owner if step.by == "owner" else holder, referral)
        await told(step.fact)
        if step is ACCEPT:
            pull = await play.trial.pulls.pull(holder, referral, [group], moment, owner=owner.agency.sector)
    return pull


def _first(sector: str, play: Play) -> AgencyClient:
    clients: Iterator[AgencyClient] = iter(play.trial.clients.values())
    return next(client for client in clients if client.agency.sector == sector)
