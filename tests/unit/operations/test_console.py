"""The operators' pages hide what would tell of people, and show nothing old or missing as if it were well."""

import base64
import json
import re
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from services.operations.console import rows
from services.operations.console.rows import Reading, hours_of
from services.operations.domain.probes import FailedRounds, ProbePair, ProbeStanding
from services.operations.domain.streams import (
    FiringRule,
    OutboxStanding,
    PartsStanding,
    PartStanding,
    StreamsStanding,
    StreamStanding,
    TopicRate,
)
from services.runtime.pages.console import Freshness
from services.runtime.pages.languages import Wording
from services.runtime.pages.tables import Seconds
from services.runtime.pages.trends import drawn
from tests.support.clock import NOON
from tests.support.console import (
    CANARY,
    LETTER,
    PEOPLE,
    STREAMS,
    ConsoleStage,
    later,
    some_letters,
    some_streams,
)

LETTERS = "/ops/dead-letters"
READ = (
    "/ops/streams", "/ops/streams/readers.csv", "/ops/streams/hours.csv", "/ops/streams/outboxes.csv",
    "/ops/streams/rates.csv", "/ops/parts", "/ops/parts/parts.csv", "/ops/parts/alarms.csv", LETTERS,
    f"{LETTERS}/letters.csv", f"{LETTERS}/police/{LETTER}",
)  # fmt: skip
"""Every outlet of the pages."""


def client(stage: ConsoleStage, person: str = "bintou-redriver") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(stage.app), base_url="http://operations", cookies={"person": person}
    )


def text_of(page: str) -> str:
    """A page without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


async def read(stage: ConsoleStage, path: str) -> str:
    async with client(stage) as browser:
        answer = await browser.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_counts_under_five_are_not_told_where_they_would_tell_of_people() -> None:
    stage = ConsoleStage(letters_told=some_letters(0, 1, 2, 3, 4, 5))

    told = (await read(stage, f"{LETTERS}/letters.csv")).splitlines()

    assert [line.split(",")[4] for line in told] == ["count", "3", "0", "<5", "<5", "<5", "<5", "5"]
    outboxes = await read(stage, "/ops/streams/outboxes.csv")
    assert outboxes.splitlines()[1:] == ["governance,3,", "police,<5,7"]
    rates = (await read(stage, "/ops/streams/rates.csv")).splitlines()
    assert {"governance.state,2", "sector.police.steps,<5"} <= set(rates)
    behind = (await read(stage, "/ops/streams/readers.csv")).splitlines()
    assert "police,sector.police.inbox,stalled,Nothing was read for 94 s.,94,<5" in behind[1]


def forms_of(text: str) -> list[str]:
    raw = text.encode()
    return [text, base64.b64encode(raw).decode(), raw.hex(), raw.decode("latin-1"), json.dumps(text)[1:-1]]


@pytest.mark.parametrize("form", range(5))
async def test_no_field_that_pages_must_not_show_is_in_any_of_them(form: int) -> None:
    planted = forms_of(CANARY)[form]
    stage = ConsoleStage()
    plan = await stage.propose()
    for told in (stage.streams_told, stage.parts_told, stage.letters_told, stage.letter_told):
        spread(told, CANARY, planted)

    seen = {path: await read(stage, path) for path in (*READ, plan)}

    assert [path for path, text in seen.items() if any(one in text for one in forms_of(CANARY))] == []


async def test_what_is_no_name_of_ours_is_not_shown_where_a_name_belongs() -> None:
    stage = ConsoleStage()
    stage.letter_told |= {"code": CANARY, "path": f"/data/{CANARY}", "type": CANARY}
    stage.letters_told[0] |= {"code": CANARY, "topic": CANARY, "type": CANARY}
    stage.streams_told["groups"][0]["words"] = CANARY  # a sentence of ours is shown as it is

    assert CANARY not in await read(stage, LETTERS) + await read(stage, f"{LETTERS}/police/{LETTER}")
    assert CANARY in await read(stage, "/ops/streams")


def spread(told: Any, canary: str, planted: str) -> None:
    """Put the planted form in the place of every canary."""
    for name, one in list(told.items() if isinstance(told, dict) else enumerate(told)):
        if one == canary:
            told[name] = planted
        elif isinstance(one, (dict, list)):
            spread(one, canary, planted)


async def test_each_way_of_having_nothing_to_show_is_told_apart() -> None:
    said = {
        "good": await read(ConsoleStage(letters_told=[]), LETTERS),
        "filtered": await read(ConsoleStage(), f"{LETTERS}?code=nothing_like_it"),
        "streams filtered": await read(ConsoleStage(), "/ops/streams?verdict=slow&service=police"),
        "silent": await read(ConsoleStage(letters_told=[], silent=["police"]), LETTERS),
        "never": await read(ConsoleStage(streams_told={}), "/ops/streams"),
    }
    words = {
        "good": "No dead letters: none waits as of 2 Mar 2026, 12:00:04 UTC .",
        "filtered": "Nothing matches; clear the filters to see all.",
        "silent": "These readers did not say what they have: police",
        "never": "start it with ./concert up",
    }

    found = {
        name: [one for one, text in words.items() if text in text_of(page)] for name, page in said.items()
    }
    assert found == {name: [name] for name in words} | {"streams filtered": ["filtered"]}
    assert "Clear filters" in said["filtered"]
    assert '<option value="nothing_like_it" selected>' in said["filtered"]


@pytest.mark.parametrize(("seconds", "is_stale"), [(30, False), (31, True)])
async def test_what_is_old_is_said_to_be_and_nothing_of_it_is_green(seconds: int, is_stale: bool) -> None:
    stage = ConsoleStage()
    later(stage, seconds - 4)

    pages = [await read(stage, path) for path in ("/ops/streams", "/ops/parts")]

    for page in pages:
        assert ('class="stale"' in page, "signal good" not in page) == (is_stale, is_stale)
        assert ("ago. What stands here is the last that was known." in text_of(page)) == is_stale
    assert ("Unknown now; was stalled" in pages[0]) == is_stale


async def test_a_csv_is_what_the_filter_leaves_and_no_cell_of_it_is_a_formula() -> None:
    stage = ConsoleStage()
    first, *others = stage.streams_told["groups"]
    formulas = [{**first, "verdict": "ok", "words": f"{sign}1+1"} for sign in "=+-@\t\r"]
    stage.streams_told["groups"] = [*formulas, *others]

    told = await read(stage, "/ops/streams/readers.csv?verdict=ok")
    async with client(stage) as browser:
        page = await browser.get("/ops/streams?verdict=ok")

    assert "readers.csv?verdict=ok" in page.text
    assert "stalled" not in told
    assert len(re.findall(r"'[=+\-@\t\r]1\+1", told)) == 6
    assert not re.search(r"(,|\")[=+\-@\t\r]", told)


async def test_whoever_may_only_look_gets_no_button_and_whoever_is_not_signed_in_nothing() -> None:
    stage = ConsoleStage()
    async with client(stage, "ada-onlooker") as browser:
        page = (await browser.get(f"{LETTERS}/police/{LETTER}")).text
    async with client(stage, "nobody") as browser:
        statuses = {(await browser.get(path)).status_code for path in READ}

    assert "You may look and not act" in text_of(page)
    assert LETTERS + "/plans" not in page
    assert statuses == {403}


def test_the_table_beside_the_drawings_has_the_longest_lag_of_each_hour() -> None:
    history = [
        [(NOON - timedelta(minutes=m)).isoformat(), v] for m, v in ((95, 7), (70, 3), (65, None), (5, 1))
    ]
    told = some_streams()
    told["groups"] = [{**told["groups"][0], "history": history}]
    figures = STREAMS.validate_python(told)

    [row] = rows.hours(Reading(figures, Freshness(NOON, NOON)))

    assert [one.hour for one in hours_of(figures)][:3] == [12, 11, 10]
    assert row[2:5] == (rows.UNKNOWN, Seconds(1), Seconds(7))


def test_a_drawing_is_broken_where_nothing_is_known_and_says_what_it_shows() -> None:
    points = [
        (NOON + timedelta(minutes=10 * place), value) for place, value in enumerate((4.0, None, 8.0, 0.0))
    ]

    drawing = str(drawn(points, Wording("en", [])))

    assert drawing.count("<polyline") == 2
    assert "at most 8 secs, on 2 Mar 2026, 12:20 UTC; at the end 0 secs." in drawing
    assert "Nothing is known" in str(drawn([(NOON, None)], Wording("en", [])))


async def test_what_sampler_and_probe_found_is_what_the_pages_show() -> None:
    inbox = "ns.concert.sector.police.inbox.v1"
    group = StreamStanding(
        "ns.police",
        "police",
        inbox,
        "slow",
        "late",
        "It reads on.",
        NOON,
        45,
        2,
        3,
        1,
        ((NOON, 45), (NOON, None)),
    )
    pair, failed = ProbePair("health", "police", NOON, 1.4, None, 0), FailedRounds("no_answer", 2)
    probe = ProbeStanding(NOON, [pair], [failed], NOON)
    part = PartStanding(
        "police-2", "answers", NOON, "0.1.0", NOON, 1, NOON, [FiringRule("draining", "", NOON)]
    )
    stage = ConsoleStage(
        streams_told=StreamsStanding(
            NOON, [group], [OutboxStanding("police", 2, 9)], [TopicRate(inbox, 7)], probe
        ),
        parts_told=PartsStanding(NOON, [part], 100, 40, 5, 61, NOON),
    )

    streams, shown = text_of(await read(stage, "/ops/streams")), text_of(await read(stage, "/ops/parts"))

    assert "police sector.police.inbox Slow It reads on. 45 secs &lt;5" in streams
    assert (
        "Last seen in the arbiter’s facts 2 Mar 2026, 12:00 UTC Rounds that failed in a day no_answer 2"
        in streams
    )
    assert "health police Went all the way 1 sec 2 Mar 2026, 12:00 UTC" in streams
    assert "police-2 Answers 2 Mar 2026, 12:00 UTC 0.1.0" in shown
    assert "Disk free 40%" in shown
    assert "ends soon" in shown


async def test_the_first_page_names_the_parts_that_something_is_the_matter_with() -> None:
    stage = ConsoleStage()
    well = ConsoleStage()
    well.parts_told["parts"] = [one for one in well.parts_told["parts"] if one["name"] == "audit"]

    words = "Something is the matter with these parts: notifications, police ."
    assert words in text_of(await read(stage, "/ops/streams"))
    assert "Something is the matter" not in await read(well, "/ops/streams")


async def test_an_alarm_does_not_tell_how_few_letters_it_is_about() -> None:
    stage = ConsoleStage()
    [alarm] = stage.parts_told["parts"][0]["alarms"]
    told = [f"code ({count})" for count in (1, 4, 5, 14)]
    stage.parts_told["parts"][0]["alarms"] = [{**alarm, "where": where} for where in told]

    shown = (await read(stage, "/ops/parts/alarms.csv")).splitlines()[1:]

    assert [line.split(",")[2] for line in shown] == ["code (<5)", "code (<5)", "code (5)", "code (14)"]


async def test_a_plan_says_who_made_it_and_who_agreed() -> None:
    stage = ConsoleStage()
    plan = await stage.propose("discard")
    name = plan.rpartition("/")[2]
    first, second = PEOPLE["bintou-redriver"], PEOPLE["carmen-redriver"]
    await stage.source.say(first, name, "confirmation", {"reason": "seen", "count": "3"})
    waits = text_of(await read(stage, plan))
    await stage.source.say(second, name, "approval", {})

    assert "Planned by bintou-redriver Why seen" in waits
    assert "Approved by carmen-redriver" in text_of(await read(stage, plan))
    assert "Approved by" not in waits


async def test_pages_of_samples_are_loaded_again_twice_a_sample_and_what_is_read_aloud_once() -> None:
    stage = ConsoleStage()

    found = {path: await read(stage, path) for path in ("/ops/streams", "/ops/parts", LETTERS)}

    assert [re.findall(r'hx-trigger="every (\d+)s"', page) for page in found.values()] == [
        ["5"],
        ["5"],
        ["10"],
    ]
