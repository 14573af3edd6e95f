"""The demo's pure parts: agencies, stories, the book, races, and the search for planted names."""

import base64
import json
import re
from collections import Counter

import pytest

from schemas.events.consent import PURPOSES
from schemas.events.packet import GROUP_MODELS
from schemas.ids import KINDS
from schemas.topics import SECTORS
from services.cli.demo.agencies import fictional_agencies, listed_only, slug
from services.cli.demo.canaries import CODES, MARKERS, new_packet
from services.cli.demo.checks import (
    CANARY,
    DATABASE,
    ESCAPED,
    FORMS,
    HEX,
    LOGS,
    NOBODY,
    RAW,
    SEGMENTS,
    UTF_16,
    VAULTS,
    NameTrace,
)
from services.cli.demo.partner_checks import (
    HalfSigned,
    ToldDecision,
    UndecidedVersion,
    lines_of_partners,
)
from services.cli.demo.play import STORIES, dealt
from services.cli.demo.search import CONTROL, content_of, forms_of, found_in, in_content, with_fields

NAME = "Ysolde Brannigåle"


def test_two_or_three_agencies_of_each_sector_have_a_service_and_a_name_of_their_own() -> None:
    found = fictional_agencies()

    assert Counter(agency.sector for agency in found) == dict.fromkeys(SECTORS, 3) | {
        "social_services": 2, "civil_society": 2,
    }  # fmt: skip
    assert len({agency.id for agency in found}) == len({agency.planted for agency in found}) == 13
    assert all(agency.services for agency in found)
    assert {agency.language for agency in found} == {"en", "fr", "es", "ar", "sw"}
    assert all(agency.mail.endswith(".example") for agency in found)
    assert {agency.purpose for agency in found} <= set(PURPOSES)


def test_the_directory_lists_organisations_that_take_no_part() -> None:
    taking_part = {agency.organization for agency in fictional_agencies()}

    assert len(set(listed_only()) - taking_part) == len(listed_only()) == 2


def test_agency_ids_are_of_the_kind_that_governance_admits() -> None:
    assert all(re.fullmatch(KINDS["agency"].pattern, agency.id) for agency in fictional_agencies())
    assert slug("Tidewell Women's Clinic") == "tidewell-womens-clinic"
    assert len(slug("x" * 80)) == 31


def test_planted_keys_are_visible_ascii() -> None:
    keys = [agency.planted[1] for agency in fictional_agencies()]

    assert all(key.isascii() and " " not in key for key in keys)


def test_small_runs_tell_every_story_and_large_ones_keep_the_shares() -> None:
    round_size = sum(story.share for story in STORIES)

    assert {story.name for story in dealt(24)} == {story.name for story in STORIES}
    assert Counter(story.name for story in dealt(round_size * 10)) == {
        story.name: story.share * 10 for story in STORIES
    }


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", range(3))
def test_a_name_is_found_in_base64_wherever_it_stands(before: int, after: int) -> None:
    content = base64.b64encode(b"?" * before + NAME.encode() + b"!" * after)

    assert list(found_in(content, forms_of(NAME))) == [f"base64 at {before % 3}"]


def test_a_name_is_found_in_url_safe_base64() -> None:
    name = "ÿþÿ Ñandú ÿÿÿ"
    content = base64.urlsafe_b64encode(name.encode())

    assert b"-" in content or b"_" in content
    assert list(found_in(content, forms_of(name))) == ["base64 at 0"]


@pytest.mark.parametrize(
    "written", [NAME.encode("utf-16-be"), NAME.encode().hex().upper().encode()], ids=["UTF-16", "hex"]
)
def test_a_name_is_found_in_the_other_order_or_case(written: bytes) -> None:
    assert len(list(found_in(written, forms_of(NAME)))) == 1


def test_every_form_of_the_control_fits_into_a_line_of_a_log() -> None:
    assert b"\0" not in b"".join(each for form in forms_of(CONTROL).values() for each in form)


def test_a_name_is_found_raw_and_escaped_and_another_one_is_not() -> None:
    forms = forms_of(NAME)

    assert list(found_in(f"x{NAME}x".encode(), forms)) == [RAW]
    assert list(found_in(json.dumps({"a": NAME}).encode(), forms)) == [ESCAPED]
    assert list(found_in(b"Ysolde Brannigale", forms)) == []


FORMS_IN_BYTES: dict[str, bytes] = {
    RAW: b"\x00\x17" + NAME.encode() + b"\xff",
    ESCAPED: b'{"event":"asked","key":"Ysolde Brannig\\u00e5le"}\n',
    HEX: b"\\x00" + NAME.encode().hex().encode() + b"00",
    UTF_16: b"\x00" + NAME.encode("utf-16-le") + b"\x00",
    **{f"base64 at {shift}": base64.b64encode(b"\x00" * shift + NAME.encode() + b"!") for shift in range(3)},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_a_planted_name_in_a_file_in_each_form(form: str) -> None:
    noise = bytes(range(256)) * 300
    strings = [("police", forms_of("Zuleikha Orlovay")), ("health", forms_of(NAME))]

    traces = in_content(SEGMENTS, "0.log", noise + FORMS_IN_BYTES[form] + noise, strings)

    assert traces == [NameTrace(SEGMENTS, "0.log", form, "health")]
    assert in_content(SEGMENTS, "0.log", noise, strings) == []


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_a_planted_name_among_a_databases_values(form: str) -> None:
    content = content_of([7, FORMS_IN_BYTES[form], None, "nothing"])

    assert in_content(DATABASE, "governance", content, [("health", forms_of(NAME))]) == [
        NameTrace(DATABASE, "governance", form, "health")
    ]


def test_every_field_of_a_packet_is_filled_and_each_that_can_hold_one_holds_a_canary() -> None:
    packet = new_packet()

    for group, model in GROUP_MODELS.items():
        model.model_validate(packet[group])
        assert packet[group].keys() == model.model_fields.keys()
    without = {
        f"{group}.{field}"
        for group, fields in packet.items()
        for field, value in fields.items()
        if not any(marker in json.dumps(value, ensure_ascii=False) for marker in MARKERS)
    }
    assert without == set(CODES)


@pytest.mark.parametrize("name", ["contact.phone", "clinical.injuries", "narrative.incident_at"])
@pytest.mark.parametrize("form", FORMS)
def test_a_canary_is_found_in_each_form_and_told_by_its_field(name: str, form: str) -> None:
    group, _, field = name.partition(".")
    content = b"noise".join(sorted(forms_of(new_packet()[group][field])[form]))

    traces = in_content(VAULTS, "state", content, [(CANARY, forms_of(marker)) for marker in MARKERS])

    assert NameTrace(VAULTS, "state", form, CANARY, name) in with_fields(traces, content)
    assert {trace.field for trace in with_fields(traces, content)} == {name}


def test_no_two_canaries_are_alike() -> None:
    words = re.findall(
        r'"([^"]*(?:Zö|\+999|1993)[^"]*)"', json.dumps([new_packet(), new_packet()], ensure_ascii=False)
    )

    assert len(set(words)) == len(words) > 20


def test_the_control_string_is_found_in_every_form() -> None:
    content = b" ".join(each for form in forms_of(CONTROL).values() for each in form)
    strings = [(NOBODY, forms_of(CONTROL)), ("health", forms_of(NAME))]

    found = in_content(LOGS, "there", content, strings)

    assert {(trace.sector, trace.form) for trace in found} == {(NOBODY, form) for form in FORMS}


def test_a_databases_values_keep_text_and_bytes() -> None:
    assert content_of([NAME, b"\x00\xff", None, 7]) == NAME.encode() + b"\n\x00\xff\n7"


def test_what_partners_did_is_told_by_counts_and_by_why_the_next_version_failed() -> None:
    told = [ToldDecision("governance.partner_admitted", name) for name in ("a", "b")]
    told += [ToldDecision("governance.committee_constituted", "c")] * 2
    met = {"health": HalfSigned(2, "signed_once", 1), "police": HalfSigned(2, None, 2)}

    lines = lines_of_partners(told, {"p.2": UndecidedVersion("civil_share_below", "draft")}, met)

    assert lines[0].startswith("2 partners take part")
    assert "in 1 committees" in lines[1]
    assert "p.2 was not adopted: civil_share_below." in lines[3]
    assert "refused by 1 of 2 readers" in lines[4]
