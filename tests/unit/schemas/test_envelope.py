import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any, get_args

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from schemas import topics
from schemas.events import directory, facts
from schemas.publishing.asyncapi import EXAMPLES
from schemas.wire.body import COUNT_MAX, Body
from schemas.wire.cloudevents import (
    RECORD_BYTES_MAX,
    CloudEvent,
    LetterReason,
    PartialEvent,
    Unusable,
    decode,
)
from schemas.wire.envelope import (
    HEADERS,
    NotCarried,
    NoZone,
    ReadEvent,
    read,
    write,
)
from schemas.wire.sealing import digest, open_event
from schemas.wire.strict_json import MalformedJson, parse_json
from schemas.wire.topic import Classification, Topic, source_of

REFERRAL = "ref_" + "a" * 26
EVENT = "evt_" + "b" * 26
CAUSE = "evt_" + "c" * 26
SERVICE = "7f4b1c7e-0000-4000-8000-000000000000"
CELL = "test-local"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AT = datetime(2026, 11, 22, 8, 15, 42, 123456, tzinfo=UTC)
TO_THE_MILLISECOND = AT.replace(microsecond=123000)
INBOX = topics.INBOX["health"]
STRUCTURED = "application/cloudevents+json"

ACCEPTED = facts.ReferralAccepted(referral=REFERRAL, to="clinic-1", number=2, appointment="this_week")
REGISTERED = directory.ServiceRegistered(
    service=SERVICE,
    organization=SERVICE,
    title="Night clinic",
    organization_title="Clinic",
    status="active",
    needs=("medical_care",),
    desk="intake",
    confirmed_at=AT,
)


def a_value(topic: Topic = INBOX, body: Body = ACCEPTED, **changed: Any) -> bytes:
    """One event as our writers make it."""
    fields: dict[str, Any] = {
        "id": EVENT,
        "source": source_of(CELL, topic.writer),
        "sequence": 7,
        "at": AT,
        "caused_by": CAUSE,
    }
    return write(topic, body, **(fields | changed))


def a_read(
    value: bytes | None,
    *,
    topic: Topic = INBOX,
    headers: list[tuple[str, bytes]] | None = None,
    key: bytes | None = REFERRAL.encode(),
    cell: str = CELL,
    mode: str = "local",
) -> ReadEvent[Any]:
    """One record as our readers take it."""
    return read(topic, headers or HEADERS, key, value, cell=cell, mode=mode)


def edited(value: bytes, edit: Callable[[dict[str, Any]], object]) -> bytes:
    """The same event after somebody changed it."""
    event = json.loads(value)
    edit(event)
    return json.dumps(event, ensure_ascii=False).encode()


def with_attribute(name: str, content: object) -> bytes:
    return edited(a_value(), lambda event: event.update({name: content}))


def with_inside(name: str, content: object) -> bytes:
    return edited(a_value(), lambda event: event["data"]["event"].update({name: content}))


def refusal_of(value: bytes | None, **how: Any) -> tuple[str, str | None]:
    with pytest.raises(Unusable) as refused:
        a_read(value, **how)
    return refused.value.reason, refused.value.path


# Writing and reading


def test_what_is_written_is_read_again() -> None:
    event = a_read(a_value())

    assert event.body == ACCEPTED
    assert event.at == AT
    assert (event.id, event.key, event.sequence, event.caused_by) == (EVENT, REFERRAL, 7, CAUSE)
    assert (event.source, event.service) == ("urn:concert:test-local:referrals", "referrals")
    assert (event.type, event.dataschema) == (
        "org.concert.referral.accepted.v1",
        "urn:concert:schema:referral.accepted:1.0",
    )


def test_a_sealed_event_shows_only_generic_names_and_the_minute() -> None:
    outside = json.loads(a_value())

    sealed = outside.pop("data")
    assert outside["type"] == "org.concert.sector.fact.v1"
    assert outside["dataschema"] == "urn:concert:schema:sector.fact:1.0"
    assert outside["time"] == "2026-11-22T08:15:00Z"
    assert outside["dataclassification"] == "restricted"
    assert "accepted" not in json.dumps(outside)
    assert sealed["v"] == "xopen/1"
    assert sealed["event"]["time"] == "2026-11-22T08:15:42.123456Z"


def test_a_plain_event_shows_its_true_names() -> None:
    value = a_value(topics.DIRECTORY_STATE, REGISTERED)
    outside = json.loads(value)

    assert outside["type"] == "org.concert.directory.service_registered.v1"
    assert outside["time"] == "2026-11-22T08:15:42.123456Z"
    assert outside["data"]["title"] == "Night clinic"
    event = a_read(value, topic=topics.DIRECTORY_STATE, key=SERVICE.encode())
    assert event.body == REGISTERED.model_copy(update={"confirmed_at": TO_THE_MILLISECOND})
    assert event.at == AT


@pytest.mark.parametrize("classification", sorted({*get_args(Classification)} - {"restricted"}))
def test_every_other_class_travels_plain_and_is_read_as_itself_alone(classification: Any) -> None:
    topic = replace(topics.DIRECTORY_STATE, classification=classification)
    value = a_value(topic, REGISTERED)

    assert json.loads(value)["dataclassification"] == classification
    assert json.loads(value)["data"]["title"] == "Night clinic"
    assert a_read(value, topic=topic, key=SERVICE.encode()).body.title == "Night clinic"
    another = replace(topic, classification="public" if classification != "public" else "internal")
    assert refusal_of(value, topic=another, key=SERVICE.encode()) == (
        "bad_attribute",
        "dataclassification",
    )


def test_what_is_absent_stays_absent() -> None:
    event = json.loads(a_value(body=facts.ReferralAccepted(referral=REFERRAL), caused_by=None))

    assert "causationid" not in event
    assert event["data"]["event"]["data"] == {"referral": REFERRAL}


def test_readers_ignore_members_they_do_not_know() -> None:
    event = a_read(
        edited(a_value(), lambda event: event["data"]["event"]["data"].update({"later": {"name": 1}}))
    )

    assert event.body == ACCEPTED


def test_readers_take_a_later_minor_version() -> None:
    assert a_read(with_inside("dataschema", "urn:concert:schema:referral.accepted:1.9")).body == ACCEPTED


def test_an_instant_keeps_its_moment_in_any_zone() -> None:
    nairobi = AT.astimezone(timezone(timedelta(hours=3)))

    assert a_value(at=nairobi) == a_value(at=AT)


def test_an_instant_without_zone_is_never_written() -> None:
    with pytest.raises(NoZone):
        a_value(at=AT.replace(tzinfo=None))


def test_a_topic_carries_only_its_own_types() -> None:
    with pytest.raises(NotCarried):
        a_value(topics.DIRECTORY_STATE, ACCEPTED)


def test_text_that_readers_would_refuse_is_never_written() -> None:
    with pytest.raises(MalformedJson):
        a_value(topics.DIRECTORY_STATE, REGISTERED.model_copy(update={"title": "a\u0000b"}))


def test_free_text_of_any_script_arrives() -> None:
    body = REGISTERED.model_copy(
        update={"title": 'عيادة "النور" \\ Clinique à côté', "confirmed_at": AT.replace(microsecond=0)}
    )
    value = a_value(topics.DIRECTORY_STATE, body)

    event = a_read(value, topic=topics.DIRECTORY_STATE, key=SERVICE.encode())
    assert event.body == body


@given(
    at=st.integers(0, 2**57).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds)),
    sequence=st.integers(1, 2**53 - 1),
    caused_by=st.none() | st.from_regex(r"evt_[a-z2-7]{26}", fullmatch=True),
    number=st.none() | st.integers(1, COUNT_MAX),
)
def test_every_written_event_is_read_as_it_was(
    at: datetime, sequence: int, caused_by: str | None, number: int | None
) -> None:
    body = ACCEPTED.model_copy(update={"number": number})

    event = a_read(a_value(at=at, sequence=sequence, caused_by=caused_by, body=body))

    assert (event.at, event.sequence, event.caused_by, event.body) == (at, sequence, caused_by, body)


# Reasons, in the order of the reader


def binary(*headers: tuple[str, bytes], without: tuple[str, ...] = ()) -> list[tuple[str, bytes]]:
    mandatory = [("ce_id", b"1"), ("ce_source", b"/s"), ("ce_type", b"t"), ("ce_specversion", b"1.0")]
    return [header for header in mandatory if header[0] not in without] + list(headers)


def typed(content_type: str) -> list[tuple[str, bytes]]:
    return [("content-type", content_type.encode())]


JSON = ("content-type", b"application/json")

UNREADABLE: list[tuple[str, list[tuple[str, bytes]], bytes | None]] = [
    ("no_value", typed(STRUCTURED), None),
    ("oversize", typed(STRUCTURED), b" " * (RECORD_BYTES_MAX + 1)),
    ("oversize", binary(JSON, ("ce_x", b"x" * RECORD_BYTES_MAX)), b"{}"),
    ("batch_mode", typed("application/cloudevents-batch+json"), b"[]"),
    ("batch_mode", typed("Application/CloudEvents-Batch"), b"[]"),
    ("unknown_format", typed("application/cloudevents+avro"), b"{}"),
    ("unknown_format", typed("application/cloudevents"), b"{}"),
    ("unknown_format", typed(STRUCTURED + "; charset=utf-16"), b"{}"),
    ("not_cloudevents", typed(STRUCTURED), b"[]"),
    ("not_cloudevents", typed(STRUCTURED), b'{"specversion":"1.0","id":"1","source":"/s"}'),
    ("not_cloudevents", typed(STRUCTURED), b'{"specversion":"1.0","id":"1","source":"/s","type":null}'),
    ("not_cloudevents", typed("application/json"), b"{}"),
    ("not_cloudevents", binary(JSON, without=("ce_type",)), b"{}"),
    ("no_content_type", [], b"{}"),
    ("no_content_type", binary(without=("ce_id",)), b"{}"),
    ("duplicate_header", binary(JSON, ("ce_id", b"2")), b"{}"),
    ("duplicate_header", binary(JSON, ("CE_ID", b"1")), b"{}"),
    ("duplicate_header", typed(STRUCTURED) + typed("text/plain"), b"{}"),
    ("content_type_conflict", binary(JSON, ("ce_datacontenttype", b"text/plain")), b"{}"),
    ("content_type_conflict", binary(("ce_datacontenttype", b"text/plain")), b"{}"),
    ("bad_attribute", binary(JSON, ("ce_subject", b"\xc0\xa0")), b"{}"),
    ("bad_attribute", binary(JSON, ("ce_time", b"yesterday")), b"{}"),
    ("bad_attribute", binary(JSON, ("ce_data", b"x")), b"{}"),
    ("bad_attribute", binary(JSON, ("ce_" + "a" * 21, b"x")), b"{}"),
    ("malformed_json", binary(JSON), b"{"),
    ("malformed_json", typed(STRUCTURED), b"\xff{}"),
    ("malformed_json", typed(STRUCTURED), b"\xef\xbb\xbf{}"),
    ("malformed_json", typed(STRUCTURED), b'{"id":"1","id":"1"}'),
    ("malformed_json", typed(STRUCTURED), b'{"data":{"a":1,"\\u0061":1}}'),
    ("malformed_json", typed(STRUCTURED), b"[" * 33 + b"]" * 33),
    ("malformed_json", typed(STRUCTURED), b"[" * 60000),
    ("malformed_json", typed(STRUCTURED), b'{"data":NaN}'),
    ("malformed_json", typed(STRUCTURED), b'{"data":-Infinity}'),
    ("malformed_json", typed(STRUCTURED), b'{"data":1e999}'),
    ("malformed_json", typed(STRUCTURED), b'{"data":' + b"9" * 5000 + b"}"),
    ("malformed_json", typed(STRUCTURED), b'{"data":"\\ud800"}'),
    ("malformed_json", typed(STRUCTURED), b'{"data":{"\\u0000":1}}'),
    ("malformed_json", typed(STRUCTURED), b'{"data":["\\u0085"]}'),
    ("malformed_json", typed(STRUCTURED), b'{"data":"\x01"}'),
    ("malformed_json", typed(STRUCTURED), b'{"data":"\x7f"}'),
    ("malformed_json", typed(STRUCTURED), '{"data":"\ufffe"}'.encode()),
]


@pytest.mark.parametrize(("reason", "headers", "value"), UNREADABLE)
def test_what_is_no_cloudevent_is_refused_with_its_reason(
    reason: str, headers: list[tuple[str, bytes]], value: bytes | None
) -> None:
    with pytest.raises(Unusable) as refused:
        decode(headers, value)

    assert refused.value.reason == reason


def minimal(**attributes: object) -> bytes:
    return json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"} | attributes).encode()


@pytest.mark.parametrize(
    "attributes",
    [
        {"id": ""},
        {"id": 1},
        {"source": "with space"},
        {"source": "1:2"},
        {"source": "/%zz"},
        {"specversion": "0.3"},
        {"type": ""},
        {"subject": ""},
        {"subject": "a\u0000b"},
        {"subject": "a\u009fb"},
        {"time": "2026-02-30T00:00:00Z"},
        {"time": "2026-02-20 00:00:00Z"},
        {"time": "2026-02-20T00:00:00"},
        {"time": "2026-02-20T00:00:00+25:00"},
        {"datacontenttype": "json"},
        {"dataschema": "relative/schema"},
        {"Upper": "x"},
        {"a_b": "x"},
        {"": "x"},
        {"a" * 21: "x"},
        {"number": 2**31},
        {"number": 1.5},
        {"list": []},
        {"data_base64": "***"},
        {"data_base64": 5},
        {"data_base64": "YQ==", "data": 1},
    ],
)
def test_an_attribute_against_the_specification_is_refused(attributes: dict[str, object]) -> None:
    with pytest.raises(Unusable) as refused:
        decode(typed(STRUCTURED), minimal(**attributes))

    assert refused.value.reason == LetterReason.BAD_ATTRIBUTE


def test_what_the_specification_allows_is_taken() -> None:
    structured = minimal(
        source="#fragment",
        time="2026-02-20t00:00:00.5+03:00",
        count=5,
        flag=False,
        none=None,
        data_base64="YQ==",
    )
    beside = [
        *typed('APPLICATION/CloudEvents+JSON;charset="utf-8"'),
        ("ce_id", b"other"),
        ("ce_id", b"twice"),
    ]

    event = decode(beside, structured)

    assert (event.attributes["id"], event.attributes["count"], event.attributes["flag"]) == ("1", 5, False)
    assert "none" not in event.attributes
    assert event.data == b"a"


def test_binary_data_is_bytes_unless_it_is_json() -> None:
    assert decode(binary(("content-type", b"text/xml")), b"<a/>").data == b"<a/>"
    assert decode(binary(("content-type", b"application/x+json; charset=utf-8")), b"[1]").data == [1]
    assert decode(binary(), b"\x00").data == b"\x00"
    assert decode(binary(JSON), b"").data is None
    assert decode(binary(JSON, ("ce_datacontenttype", b"application/json")), b"1").data == 1


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTES = st.builds(
    lambda mandatory, extensions: extensions | mandatory,
    st.fixed_dictionaries({"id": TEXT, "source": st.just("/s"), "type": TEXT, "specversion": st.just("1.0")}),
    st.dictionaries(
        st.from_regex(r"x[a-z0-9]{1,18}", fullmatch=True),
        TEXT | st.booleans() | st.integers(-(2**31), 2**31 - 1),
        max_size=4,
    ),
)


@given(value=VALUES)
def test_json_that_we_write_we_also_parse(value: Any) -> None:
    assert parse_json(to_json(value)) == value


def test_brackets_inside_strings_are_not_depth() -> None:
    assert parse_json(b'["' + b"[{" * 40 + b'"]') == ["[{" * 40]
    assert parse_json(b"[" * 32 + b"]" * 32 + b" ")
    assert parse_json(b"[" + b"{}," * 40 + b"{}]") == [{}] * 41


# Our rules on top


@pytest.mark.parametrize(
    ("reason", "path", "value"),
    [
        ("bad_attribute", "id", with_attribute("id", "1234")),
        ("wrong_source", "source", with_attribute("source", "urn:concert:test-local:police")),
        ("wrong_source", "source", with_attribute("source", "urn:concert:test-other:referrals")),
        ("bad_attribute", "type", with_attribute("type", "com.example.fact")),
        ("bad_attribute", "type", with_attribute("type", "org.concert.referral.accepted.v1")),
        ("bad_attribute", "subject", with_attribute("subject", None)),
        ("bad_attribute", "subject", with_attribute("subject", "Two Words")),
        ("bad_attribute", "partitionkey", with_attribute("partitionkey", None)),
        ("bad_attribute", "correlationid", with_attribute("correlationid", 5)),
        ("bad_attribute", "causationid", with_attribute("causationid", "ref_" + "a" * 26)),
        *(
            ("bad_attribute", "writerepoch", with_attribute("writerepoch", one))
            for one in ("0", "-1", "007", "٣", "2001", "1" + "0" * 30)
        ),
        ("bad_attribute", "sequence", with_attribute("sequence", "7")),
        ("bad_attribute", "sequence", with_attribute("sequence", 7)),
        ("bad_attribute", "sequence", with_attribute("sequence", "0" * 20)),
        ("bad_attribute", "sequence", with_attribute("sequence", "9" * 20)),
        ("bad_attribute", "sequence", with_attribute("sequence", f"{2**53:020}")),
        ("bad_attribute", "sequence", with_attribute("sequence", "٣" * 20)),
        ("bad_attribute", "time", with_attribute("time", "2026-11-22T11:15:00+03:00")),
        ("bad_attribute", "time", with_attribute("time", "2026-11-22T08:15:42Z")),
        ("bad_attribute", "time", with_attribute("time", None)),
        (
            "bad_attribute",
            "datacontenttype",
            with_attribute("datacontenttype", "application/json; charset=utf-8"),
        ),
        ("bad_attribute", "dataschema", with_attribute("dataschema", "urn:concert:schema:sector.step:1.0")),
        ("bad_attribute", "dataschema", with_attribute("dataschema", "urn:concert:schema:sector.fact:2.0")),
        ("bad_attribute", "dataclassification", with_attribute("dataclassification", "internal")),
        ("bad_attribute", "dataclassification", with_attribute("dataclassification", "secret")),
        ("key_mismatch", None, with_attribute("partitionkey", "ref_" + "z" * 26)),
        ("not_sealed", None, with_attribute("data", {"referral": REFERRAL})),
        ("not_sealed", None, with_attribute("data", None)),
        ("not_sealed", None, with_attribute("data", [1])),
        ("cannot_open", None, with_attribute("data", {"v": "xchan/1"})),
        ("cannot_open", None, with_attribute("data", {"v": "xopen/2", "event": {}})),
        ("cannot_open", None, with_attribute("data", {"v": "xopen/1"})),
        ("cannot_open", None, with_attribute("data", {"v": "xopen/1", "event": {"type": "x"}})),
        ("cannot_open", None, with_inside("more", 1)),
        ("bad_attribute", "data/event/time", with_inside("time", 5)),
        ("bad_attribute", "data/event/time", with_inside("time", "2026-11-22T25:00:00Z")),
        ("bad_attribute", "data/event/type", with_inside("type", 5)),
        ("bad_attribute", "data/event/type", with_inside("type", "referral.accepted")),
        ("unknown_type", None, with_inside("type", "org.concert.referral.vanished.v1")),
        ("unknown_type", None, with_inside("type", "org.concert.referral.accept.v1")),
        ("unknown_major", None, with_inside("type", "org.concert.referral.accepted.v2")),
        ("unknown_major", None, with_inside("type", "org.concert.referral.accepted.v" + "9" * 5000)),
        (
            "bad_attribute",
            "data/event/dataschema",
            with_inside("dataschema", "urn:concert:schema:referral.closed:1.0"),
        ),
        ("bad_attribute", "data/event/dataschema", with_inside("dataschema", None)),
        ("schema_mismatch", "data/number", with_inside("data", {"referral": REFERRAL, "number": "2"})),
        ("schema_mismatch", "data/referral", with_inside("data", {})),
        ("schema_mismatch", "data", with_inside("data", None)),
    ],
)
def test_each_broken_rule_has_its_reason_and_place(reason: str, path: str | None, value: bytes) -> None:
    assert refusal_of(value) == (reason, path)


def test_a_key_that_a_sender_made_up_is_not_repeated() -> None:
    example = json.loads((EXAMPLES / "governance.protocol_current" / "one_county.json").read_bytes())
    example["source"] = f"urn:concert:{CELL}:governance"
    example["data"]["document"]["matrix"]["amina_quillon"] = 5

    with pytest.raises(Unusable) as refused:
        a_read(json.dumps(example).encode(), topic=topics.GOVERNANCE_STATE, key=example["subject"].encode())

    assert (refused.value.reason, refused.value.path) == ("schema_mismatch", "data/document/matrix/*")


def test_the_record_key_must_be_the_partition_key() -> None:
    assert refusal_of(a_value(), key=None) == ("key_mismatch", None)
    assert refusal_of(a_value(), key=b"ref_other") == ("key_mismatch", None)


@pytest.mark.parametrize(
    ("attribute", "content", "refusal"),
    [
        ("data", {"v": "xopen/1"}, ("unexpected_seal", None)),
        ("time", "2026-02-30T00:00:00Z", ("bad_attribute", "time")),
        ("type", "org.concert.directory.vanished.v1", ("unknown_type", None)),
        ("dataschema", "urn:concert:schema:directory.vanished:1.0", ("bad_attribute", "dataschema")),
    ],
)
def test_a_plain_topic_has_the_same_rules_and_no_seal(
    attribute: str, content: Any, refusal: tuple[str, str | None]
) -> None:
    plain = a_value(topics.DIRECTORY_STATE, REGISTERED)
    spoilt = edited(plain, lambda event: event.update({attribute: content}))

    assert refusal_of(spoilt, topic=topics.DIRECTORY_STATE, key=SERVICE.encode()) == refusal


def test_data_in_the_clear_is_refused_by_a_live_installation() -> None:
    value = a_value(source="urn:concert:cell-a:referrals")

    assert refusal_of(value, cell="cell-a", mode="live") == ("not_sealed", None)


@pytest.mark.parametrize(("cell", "mode"), [("test-local", "live"), ("cell-a", "local"), ("cell-a", "test")])
def test_rehearsal_and_life_never_mix(cell: str, mode: str) -> None:
    value = a_value(source=f"urn:concert:{cell}:referrals")

    assert refusal_of(value, cell=cell, mode=mode) == ("wrong_source", "source")


def test_a_body_about_something_else_than_its_key_is_refused() -> None:
    for topic, body in ((INBOX, ACCEPTED), (topics.DIRECTORY_STATE, REGISTERED)):
        misfiled = edited(a_value(topic, body), lambda event: event.update(partitionkey="another"))

        assert refusal_of(misfiled, topic=topic, key=b"another") == ("key_mismatch", body.key_field)


def test_an_event_that_grew_too_large_is_never_written() -> None:
    body = REGISTERED.model_copy(update={"title": "x" * RECORD_BYTES_MAX})

    with pytest.raises(Unusable) as refused:
        a_value(topics.DIRECTORY_STATE, body)

    assert refused.value.reason == LetterReason.OVERSIZE


def test_the_codec_reaches_all_reasons_but_those_of_inbox_and_handler() -> None:
    reached = {reason for reason, _, _ in UNREADABLE} | {
        mark.args[1][i][0]
        for mark in test_each_broken_rule_has_its_reason_and_place.pytestmark  # type: ignore[attr-defined]
        for i in range(len(mark.args[1]))
    }

    assert set(LetterReason) - reached == {
        "unexpected_seal", "changed_duplicate", "sequence_gap", "number_taken", "older_epoch", "handler",
        "bad_header", "corrupt_batch", "too_large_unpacked",
        "unsigned", "signed_once", "key_not_pinned", "signature_mismatch", "hash_wrong", "version_not_newer",
    }  # fmt: skip
    assert len(LetterReason) == 32


def test_a_dead_letter_learns_what_could_be_read() -> None:
    with pytest.raises(Unusable) as refused:
        a_read(with_inside("type", "org.concert.referral.vanished.v1"))

    known = refused.value.known
    assert (known.source, known.event_id, known.sequence) == ("urn:concert:test-local:referrals", EVENT, 7)
    assert known.type == "org.concert.referral.vanished.v1"
    for value in (b"{", with_attribute("Upper", "x"), with_attribute("source", "with space")):
        with pytest.raises(Unusable) as unreadable:
            a_read(value)
        assert unreadable.value.known == PartialEvent()


def test_no_refusal_repeats_what_it_refuses() -> None:
    secret = "planted-name"
    for value in (
        with_attribute(secret.replace("-", "")[:20], {}),
        with_attribute("subject", secret + " x"),
        with_inside("type", secret),
        with_inside("data", {secret: 1}),
    ):
        with pytest.raises(Unusable) as refused:
            a_read(value)
        assert secret[:7] not in str(refused.value)


def test_neither_event_nor_opened_data_show_their_content() -> None:
    event = decode(list(HEADERS), a_value())

    assert REFERRAL not in repr(event) + repr(open_event(event, INBOX, mode="local"))
    assert "this_week" not in repr(a_read(a_value()))


@pytest.mark.parametrize("data", ["AAEC/w==", "e30="])
def test_bytes_where_json_belongs_are_a_mismatch(data: str) -> None:
    plain = a_value(topics.DIRECTORY_STATE, REGISTERED)
    as_bytes = edited(plain, lambda event: (event.pop("data"), event.update(data_base64=data)))

    refused = refusal_of(as_bytes, topic=topics.DIRECTORY_STATE, key=SERVICE.encode())
    assert refused[0] == "schema_mismatch"


@given(st.binary(max_size=200), st.sampled_from([list(HEADERS), [], typed("application/json"), binary(JSON)]))
def test_any_bytes_are_refused_by_name(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(Unusable):
        a_read(value, headers=headers)


PLACES = [
    ("id",), ("source",), ("type",), ("subject",), ("sequence",), ("time",), ("dataschema",),
    ("causationid",), ("data",), ("data", "v"), ("data", "event"), ("data", "event", "type"),
    ("data", "event", "dataschema"), ("data", "event", "time"), ("data", "event", "data"),
    ("data", "event", "data", "seal_by_at"), ("data", "event", "data", "number"),
    ("data", "event", "data", "referral"),
]  # fmt: skip
WITHDRAWN = facts.ReferralWithdrawn(referral=REFERRAL, number=1, stop_contact=True, seal_by_at=AT)
ODD = VALUES | st.sampled_from(
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9" * 5000, 10**400]
)


@given(place=st.sampled_from(PLACES), content=ODD)
def test_an_event_with_anything_anywhere_is_read_or_refused_by_name(
    place: tuple[str, ...], content: Any
) -> None:
    def spoil(event: dict[str, Any]) -> None:
        for step in place[:-1]:
            event = event[step]
        event[place[-1]] = content

    with contextlib.suppress(Unusable):
        event = a_read(edited(a_value(body=WITHDRAWN), spoil))
        assert isinstance(event.body, facts.ReferralWithdrawn)


# Digest


def length_prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4) + part for part in parts)


@given(attributes=ATTRIBUTES, data=st.dictionaries(TEXT, TEXT | st.integers(-(2**53), 2**53), max_size=3))
def test_the_digest_is_over_jcs_of_the_attributes_and_the_opened_bytes(
    attributes: dict[str, Any], data: Any
) -> None:
    inside = {"type": "a", "dataschema": "b", "time": "c"}
    opened = json.dumps(inside | {"data": data}, ensure_ascii=False, separators=(",", ":")).encode()

    expected = hashlib.sha256(length_prefixed(rfc8785.dumps(attributes), opened)).digest()
    assert digest(CloudEvent(attributes), CloudEvent(inside, data)) == expected


def test_a_resend_has_the_same_digest() -> None:
    value = a_value()
    spaced = json.dumps(json.loads(value), indent=1).encode()

    assert a_read(value).digest == a_read(spaced).digest


def test_an_event_in_binary_mode_has_the_digest_of_the_structured_one() -> None:
    value = a_value(topics.DIRECTORY_STATE, REGISTERED)
    attributes = json.loads(value)
    data = json.dumps(attributes.pop("data")).encode()
    headers = [(f"ce_{name}", content.encode()) for name, content in attributes.items()]
    headers = [*(one for one in headers if one[0] != "ce_datacontenttype"), JSON]
    read_one = partial(a_read, topic=topics.DIRECTORY_STATE, key=SERVICE.encode())

    assert read_one(data, headers=headers) == read_one(value)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "evt_" + "d" * 26},
        {"sequence": 8},
        {"caused_by": None},
        {"at": AT + timedelta(microseconds=1)},
        {"body": ACCEPTED.model_copy(update={"appointment": "today"})},
    ],
)
def test_a_changed_event_has_another_digest(changed: dict[str, Any]) -> None:
    assert a_read(a_value(**changed)).digest != a_read(a_value()).digest
