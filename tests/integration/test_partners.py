"""Governance on the partners' port: whoever has a token is heard, and nobody else."""

import asyncio
import csv
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from io import StringIO
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from pydantic_core import to_json

from services.governance.api.partners import described_app
from services.governance.domain.founding import FoundingAct
from services.governance.domain.histories import COLUMNS
from services.governance.wiring import wire
from services.runtime.clock import SystemClock
from services.runtime.openapi import document_of
from services.runtime.peers import internal_client
from services.runtime.process import running
from services.runtime.settings import PortSettings
from tests.support.described import Description
from tests.support.governance import signed
from tests.support.histories import HEADER, a_table, rows_of_years
from tests.support.partnership import ISSUER, partnership_settings
from tests.support.platform import CELL, Space
from tests.support.ports import free_port
from tests.support.stage import A_LESSON, A_RECOMMENDATION, FOUNDERS, a_founding, a_scorecard, described
from tests.support.tokens import signed_token

Ask = Callable[..., Awaitable[httpx2.Response]]
WEEK: Final = timedelta(days=7)
UN_SEAT: Final = "seat un-office"
UN: Final = "secretary un-office"
DESCRIPTION = Description(document_of(described_app()))


@pytest.fixture(scope="module")
async def address(space: Space) -> AsyncIterator[str]:
    port = free_port()
    inside = free_port()
    settings = partnership_settings(space, ports=PortSettings(api=port, internal=inside))
    async with running("governance", settings.model_copy(update={"kafka": None}), wire):
        tls, url = space.tls_settings("operator"), f"https://127.0.0.1:{inside}"
        async with internal_client(tls, "governance", base_url=url) as operator:
            act = FoundingAct.model_validate(a_founding(SystemClock().now()))
            bare = await operator.put("/v1/founding", json=act.model_dump(mode="json"))
            assert bare.json()["code"] == "unsigned"
            renewed = act.model_copy(update={"mandate": act.mandate.model_copy(update={"id": "mdt_next"})})
            for one, is_news in ((act, True), (act, False), (renewed, True), (renewed, False)):
                body = signed(one).model_dump(mode="json")
                assert (await operator.put("/v1/founding", json=body)).json()["is_news"] is is_news
        yield f"http://127.0.0.1:{port}"


def a_token(space: Space, partner: str, role: str, service: str = "governance") -> str:
    key = space.platform.secrets.issuer_key_file()
    return signed_token(key, ISSUER, CELL, agency=partner, staff="staff-1", role=role, services=[service])


async def test_areas_are_told_to_whoever_has_a_token_for_governance(space: Space, address: str) -> None:
    tokens = [a_token(space, "partner-one", "seat"), a_token(space, "partner-one", "seat", "health"), ""]
    async with httpx2.AsyncClient(base_url=address, event_hooks={"response": [DESCRIPTION.check]}) as client:
        answers = [
            await client.get("/v1/areas", headers={"authorization": f"Bearer {token}"} if token else {})
            for token in tokens
        ]

    assert [answer.status_code for answer in answers] == [200, 401, 401]
    data = answers[0].json()["data"]
    assert len(data) == 21
    assert {"code": "ZZ0104", "parent": "ZZ01", "level": 2, "name": "Tidewell"} in data


async def test_the_page_is_told_to_anybody(address: str) -> None:
    async with httpx2.AsyncClient(base_url=address) as client:
        page, table = await client.get("/partnership"), await client.get("/partnership/committees.csv")

    assert (page.status_code, table.status_code) == (200, 200)
    assert "<bdi>cmt_steering</bdi>" in page.text
    assert "cmt_steering,steering,national" in table.text


async def test_anybody_may_read_what_is_counted_and_how(address: str) -> None:
    async with httpx2.AsyncClient(base_url=address, event_hooks={"response": [DESCRIPTION.check]}) as client:
        every, one, none = [await client.get(f"/v1/indicators{path}") for path in ("", "/13b", "/99")]

    assert [every.status_code, one.status_code, none.json()["code"]] == [200, 200, "not_found"]
    assert one.json() in every.json()["data"]
    assert one.json()["sql"].startswith("-- What every count of people's referrals begins with")


@pytest.fixture(scope="module")
async def ask(space: Space, address: str) -> AsyncIterator[Ask]:
    """`role partner` asks for a path, after the founding act was handed in."""
    hooks = {"response": [DESCRIPTION.check]}
    async with httpx2.AsyncClient(base_url=address, timeout=60, event_hooks=hooks) as client:

        async def asked(who: str, path: str, body: Any = None) -> httpx2.Response:
            role, _, partner = who.partition(" ")
            method = "GET" if body is None else "POST" if path.count("/") > 1 else "PUT"
            headers = {"authorization": f"Bearer {a_token(space, partner, role)}"}
            content = body if body is None or isinstance(body, str) else to_json(body)
            headers["content-type"] = "text/csv" if isinstance(body, str) else "application/json"
            return await client.request(method, f"/v1/{path}", content=content, headers=headers)

        yield asked


async def met(ask: Ask, name: str) -> None:
    """A meeting of the steering committee is open, and every founder is there."""
    now = SystemClock().now()
    call = {"committee": "cmt_steering", "begins_at": now, "ends_at": now + timedelta(hours=2)}
    await ask(UN, f"meetings/mtg_{name}", call)
    await ask(UN, f"meetings/mtg_{name}/open", {})
    for partner in FOUNDERS:
        assert (await ask(f"seat {partner}", f"meetings/mtg_{name}/attend", {})).is_success


async def test_past_recommendations_come_in_as_one_file_and_go_out_the_same(space: Space, ask: Ask) -> None:
    today = SystemClock().now().date()
    rows = rows_of_years(today)
    path, approver = "histories/his_years", "approver dawn-movement"
    spoilt = [dict.fromkeys(HEADER[9:], "")] * 10_000  # no step but the agreement: time for one bad row
    spoilt[7_000] = spoilt[0] | {"text": "Ask Ada Lin about it."}

    refused = await ask(UN_SEAT, path, a_table(*spoilt))
    checked = await ask(UN_SEAT, path, a_table(*rows, header=COLUMNS))
    lone = await ask("approver un-office", f"{path}/confirm", {})
    shown = await ask("monitor ministry", f"{path}/table")
    none_yet = (await ask("monitor ministry", "recommendations.csv")).text
    confirmed = [await ask(approver, f"{path}/confirm", {}) for _ in range(2)]

    assert refused.status_code == 422, refused.text
    assert (refused.json()["rows"], refused.json()["refused"]) == (10_000, 1)
    (one,) = refused.json()["errors"]
    assert one["pointer"] == "#/lines/7002"
    assert one["detail"].startswith("title_names_somebody: ")
    assert "Ada" not in refused.text
    assert (checked.json()["state"], "under item" in none_yet) == ("checked", False)
    assert lone.json()["code"] == "same_constituency"
    assert shown.text == a_table(*rows, header=COLUMNS)
    assert [one.json()["is_news"] for one in confirmed] == [True, False]
    sent = await ask("monitor ministry", "recommendations.csv")
    loaded = [one for one in csv.DictReader(StringIO(sent.text)) if "under item" in one["text"]]
    place = itemgetter("level", "state", "changes")
    assert sent.headers["content-type"] == "text/csv; charset=utf-8"
    assert Counter((one["agreed_on"][:4], *place(one)) for one in loaded) == Counter(
        (one["agreed_on"][:4], *place(one)) for one in rows
    )
    async with space.transaction("governance") as transaction:
        kept = await transaction.rows(
            "SELECT extract(year FROM at)::int AS year, count(*)::int AS number FROM act"
            " WHERE kind = 'recommendation' AND name = 'propose' AND role = 'decision' GROUP BY 1"
        )
    assert dict(map(tuple, kept)) == Counter(int(one["agreed_on"][:4]) for one in rows)


async def facts_about(space: Space, kind: str, name: str) -> list[str]:
    """Every fact that the kept acts on something say was told, in order."""
    async with space.transaction("governance") as transaction:
        rows = await transaction.rows(
            "SELECT facts FROM act WHERE kind = :kind AND id = :id ORDER BY number", kind=kind, id=name
        )
    return [fact for row in rows for fact in row.facts]


async def test_sixty_four_takings_at_once_are_one_decision(space: Space, ask: Ask) -> None:
    await met(ask, "race")
    item = {"committee": "cmt_steering", "meeting": "mtg_race", "title": "Open at night", "area": "ZZ"}
    await ask("seat ministry", "decisions/dec_race", item | {"subject": "recommendation"})
    votes = [
        ask("seat ministry", "decisions/dec_race/vote", {"seat": "ministry", "choice": choice})
        for choice in ("for", "against") * 8
    ]
    voted = [answer.json() for answer in await asyncio.gather(*votes)]
    for partner in set(FOUNDERS) - {"ministry"}:
        await ask(f"seat {partner}", "decisions/dec_race/vote", {"seat": partner, "choice": "for"})

    taken = await asyncio.gather(*(ask(UN, "decisions/dec_race/take", {"method": "vote"}) for _ in range(64)))

    assert sum(one.get("is_news", False) for one in voted) == 1
    assert {one["code"] for one in voted if "code" in one} == {"voted_already"}
    assert [answer.status_code for answer in taken] == [200] * 64
    assert sum(answer.json()["is_news"] for answer in taken) == 1
    told = await facts_about(space, "decision", "dec_race")
    assert told == ["governance.decision_tabled", "governance.decision_taken"]
    history = (await ask("monitor ministry", "decisions/dec_race/acts")).json()["data"]
    assert [row["act"] for row in history] == ["table", *["vote"] * len(FOUNDERS), "take"]
    assert "staff-1" not in str(history)
    assert "votes" not in (await ask("monitor ministry", "decisions/dec_race")).json()["content"]
    assert (await ask(UN, "meetings/mtg_race/close", {})).is_success


async def test_a_repeat_is_told_from_a_second_time(space: Space, ask: Ask) -> None:
    seat = {"partner": "open-hand-fund", "until": SystemClock().now() + timedelta(days=99)}
    answers = [
        await ask(who, f"committees/cmt_steering/{act}", body)
        for who, act, body in (
            ("seat open-hand-fund", "resign", {}),
            ("seat open-hand-fund", "resign", {}),
            (UN, "fill", seat),
            (UN, "fill", seat),
            ("seat open-hand-fund", "resign", {}),
            (UN, "fill", seat),
        )
    ]

    assert [answer.json().get("is_news") for answer in answers] == [True, False, True, False, True, True]
    told = await facts_about(space, "committee", "cmt_steering")
    assert told.count("governance.seat_lost") == told.count("governance.seat_filled") == 2


async def test_of_sixty_four_scorecards_at_once_one_counts_and_a_lesson_names_what_it_changed(
    space: Space, ask: Ask
) -> None:
    now = SystemClock().now()
    quarter = f"{now.year - 1}-Q4"
    clinic = described("sector_agency", sector="health")
    for who, path, body in (
        ("seat ministry", "partners/clinic", clinic),
        ("approver river-alliance", "partners/clinic/confirm", {}),
        ("seat river-alliance", "recommendations/rec_done", A_RECOMMENDATION),
        ("seat ministry", "recommendations/rec_done/agree", {}),
        ("seat ministry", "recommendations/rec_done/assign", {"owner": "clinic", "due_at": now + WEEK}),
        ("seat clinic", "recommendations/rec_done/implement", {"evidence": "rule_changed"}),
        ("seat river-alliance", "lessons/lsn_desks", A_LESSON),
        ("seat ministry", "lessons/lsn_desks/share", {}),
    ):
        assert (await ask(who, path, body)).is_success, path

    said = a_scorecard(quarter=quarter)
    answers = await asyncio.gather(
        *(ask("seat dawn-movement", f"scorecards/scd_{number}", said) for number in range(64))
    )
    own = await ask("seat clinic", "scorecards/scd_own", said)

    codes = [answer.json().get("code") for answer in answers]
    assert (codes.count(None), codes.count("scored_already")) == (1, 63)
    assert own.json()["code"] == "not_reference_group"
    (kept,) = (await ask("monitor ministry", "scorecards")).json()["data"]
    assert kept["content"] == {**said, "people": "12"}
    assert await facts_about(space, "scorecard", kept["id"]) == ["governance.service_scored"]
    assert await facts_about(space, "lesson", "lsn_desks") == ["governance.lesson_shared"]
    bad = await ask("seat ministry", "lessons/lsn_bad", {**A_LESSON, "causes": ["ada_planted"]})
    assert (bad.json()["code"], "planted" in bad.text) == ("code_not_listed", False)


_OFFERS = """
INSERT INTO referral_fact (event, type, at, referral, mark, need, urgency, area, agency)
SELECT 'evt_' || n, 'offered', :at, 'ref_' || n, CASE n % 3 WHEN 0 THEN 'again' ELSE 'first' END, 'legal_aid',
  'urgent', 'ZZ0101', 'agency-' || n % 3 FROM generate_series(1, 42) AS n
"""


async def test_a_release_is_asked_for_once_signed_once_and_served_as_it_is_stored(
    space: Space, ask: Ask
) -> None:
    before = (SystemClock().now() - timedelta(days=70)).replace(day=15)
    async with space.transaction("governance") as transaction:
        await transaction.run(_OFFERS, at=before)
    month, open_month = {"period": f"{before:%Y-%m}"}, {"period": f"{SystemClock().now():%Y-%m}"}
    asked = await asyncio.gather(
        *(ask("seat ministry", f"releases/rls_{name}", month) for name in ("one", "other"))
    )
    (name,) = (answer.json()["id"] for answer in asked if answer.is_success)
    refused = [
        next(answer for answer in asked if not answer.is_success),
        await ask("approver un-office", f"releases/{name}/sign", {}),
        await ask("seat ministry", "releases/rls_open", open_month),
    ]
    signed = await asyncio.gather(
        *(ask("approver dawn-movement", f"releases/{name}/sign", {}) for _ in range(64))
    )

    assert [answer.json()["code"] for answer in refused] == [
        "released_already", "civil_signature", "period_open",
    ]  # fmt: skip
    assert [answer.status_code for answer in signed] == [200] * 64
    assert sum(answer.json()["is_news"] for answer in signed) == 1
    assert await facts_about(space, "release", name) == ["governance.release_published"]
    served = (await ask("monitor ministry", f"releases/{name}")).json()
    tables = {one["part"]: one["cells"] for one in served["content"]["tables"]}
    assert tables["referrals_by_need"] == [["legal_aid", "ZZ0101", "40"]]
    assert tables["survivors_by_need"] == [["legal_aid", "ZZ0101", "30"]]
    assert tables["offers_by_agency"] == [[f"agency-{one}", "15"] for one in range(3)]

    async with space.transaction("governance") as transaction:  # told late
        await transaction.run(_OFFERS.replace("_' ||", "_late' ||"), at=before)
    again = await ask("seat ministry", "releases/rls_again", {**month, "corrects": name})
    assert again.is_success
    assert (await ask("monitor ministry", f"releases/{name}")).json() == served
    moved = (await ask("monitor ministry", "releases/rls_again")).json()["content"]["tables"][0]["cells"]
    assert moved == [["legal_aid", "ZZ0101", "85"]]


@pytest.mark.parametrize(("who", "path", "status", "code"), [
    ("monitor ministry", "meetings/mtg_race/attend", 403, "role_may_not"),
    ("caseworker ministry", "partners/new", 403, "role_may_not"),
    ("seat stranger", "meetings/mtg_race/attend", 403, "not_a_partner"),
    ("seat ministry", "meetings/mtg_unknown/attend", 404, "not_found"),
    ("seat ministry", "meetings/cmt_steering/attend", 422, "invalid"),
    ("seat ministry", "founding", 404, "no_such_route"),
])  # fmt: skip
async def test_the_wrong_party_changes_nothing(ask: Ask, who: str, path: str, status: int, code: str) -> None:
    answer = await ask(who, path, described("academia") if path == "partners/new" else {})

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("title", ["Ask Planted Name", "Call 0700 123 456", "Planted\u2028line", "P" * 121])
async def test_a_bad_item_is_refused_without_an_echo(ask: Ask, title: str) -> None:
    item = {"committee": "cmt_steering", "title": title, "subject": "recommendation", "area": "ZZ"}
    answers = [
        await ask("seat ministry", "decisions/dec_bad", item),
        await ask("seat ministry", "decisions/dec_bad", item | {"title": "Open", "Planted": "Planted"}),
    ]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert not any("Planted" in answer.text or "0700 123" in answer.text for answer in answers)
    assert (await ask("seat ministry", "decisions/dec_bad")).status_code == 404


async def test_a_file_of_areas_that_is_no_tree_ends_the_start_with_a_sentence(
    space: Space, tmp_path: Path
) -> None:
    file = tmp_path / "areas.csv"
    file.write_text("Planted")
    settings = partnership_settings(space).model_copy(update={"kafka": None, "areas_file": file})

    with pytest.raises(SystemExit, match="AREAS_FILE: line 1: name just these columns") as ended:
        async with running("governance", settings, wire):
            pass

    assert "Planted" not in str(ended.value)
