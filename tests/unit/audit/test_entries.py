"""Leaves, details and groups: the published bytes, counters without gaps, refusals that leave no trace."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import rfc8785

from schemas.events.access import ACTS, Access, Actor, EventReport, Item, OutcomeReport, PermitRequest
from schemas.trail.bytes import canonical, commitment, encoded, leaf, subject_key, tag
from schemas.trail.tree import leaf_hash, tree_root
from services.audit.domain.drafts import Draft, EntryWriter
from services.audit.domain.group import Answer, Group, Intent, LogEntry
from services.audit.domain.keyring import DataKey, Keyring, Subject, Unreadable
from services.audit.domain.records import StoredEntry, StoredSubject
from services.audit.domain.refusals import (
    DetailDamaged,
    DetailInvalid,
    IdemConflict,
    NotYours,
    SubjectUnknown,
    TooLarge,
    TrailDamaged,
)
from services.audit.domain.soundness import (
    FINDINGS_MAX,
    Findings,
    check_entries,
    opened_detail,
    opening_line,
)
from tests.support.access import SUBJECT, an_access

ORIGIN: Final = "audit.example/juris-a"
CALLER: Final = "urn:concert:test-local:health"
OTHER: Final = "ref_" + "b" * 26
AT: Final = "2026-03-02T12:00:00.000Z"
OPERATOR: Final = "urn:concert:test-local:operator"
OTHER_CALLER: Final = "urn:concert:test-local:police"
NOTIFICATIONS: Final = "urn:concert:test-local:notifications"
ANYBODY: Final = frozenset({CALLER, OTHER_CALLER, OPERATOR, NOTIFICATIONS})
PARTIES: Final = {
    "sector": frozenset({CALLER, OTHER_CALLER}),
    "operator": frozenset({OPERATOR}),
    "any": ANYBODY,
}
WRITER: Final = EntryWriter(ORIGIN, PARTIES)


def test_the_published_leaf_is_made() -> None:
    detail = canonical({"kind": "intent", "n": 1})
    salt = hashlib.sha256(b"test vector: salt").digest()
    mark = tag(hashlib.sha256(b"test vector: subject key").digest(), 1)
    bound = commitment(salt, detail)

    assert mark.hex() == "7e90e248725ff419d049bc5c9b593d1e"
    assert bound.hex() == "5dd330cbe71d16908e8320f35dd5375d8967c967c0f01e0f90c2ea3b34b67f6b"
    assert (
        leaf_hash(leaf(mark, bound)).hex()
        == "74808362864f131297507614eded09f04998de5c66a6a3aa759ba736cc8cc45b"
    )


def test_details_have_the_bytes_that_another_writer_of_rfc_8785_makes() -> None:
    visible = "".join(map(chr, range(0x20, 0x7F)))
    words: dict[str, Any] = {
        "t": AT,
        "n": 2**53 - 1,
        "mode": "before",
        "a_b": True,
        "a": False,
        "Z": [],
        "empty": {},
    }
    detail = words | {
        "groups": {"z": visible, "a": '/\\"\t\u001f\u20ac\U0001f600'},
        "explain": [words, visible],
    }

    assert canonical(detail) == rfc8785.dumps(detail)


@pytest.mark.parametrize(
    ("number", "key"),
    [
        (0, "01679bf95eabed82f7f15d2f2007a18e02592e32eb33d72a40a9f79193b12d8c"),
        (1, "4f54c54e3986ea98625c7f887ad7ac0c23e9ce8241f123776e809a294a1800ba"),
    ],
)
def test_the_published_subject_keys_are_made(number: int, key: str) -> None:
    assert subject_key(hashlib.sha256(b"test vector: case key").digest(), number).hex() == key


def drawn() -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        yield hashlib.sha512(number.to_bytes(8, "big")).digest()


KEYRING: Final = Keyring(ORIGIN, b"w" * 32, lambda count: b"r" * count)
MONTH_KEY, MONTH_KEY_WRAPPED = KEYRING.new_key("2026-03/standard")


def a_group(start: int = 0, **changes: Any) -> Group:
    stream = drawn()
    subjects = {
        one: Subject(CALLER, one.encode(), DataKey(one, one[:32].rjust(32).encode()), 4)
        for one in (SUBJECT, OTHER)
    }
    keyring = replace(KEYRING, random=lambda count: next(stream)[:count])
    return replace(Group(keyring, start, AT, MONTH_KEY, {}, subjects, {}), **changes)


def a_request(words: Access | None = None, *items: Item, idem: bytes = b"i" * 16) -> PermitRequest:
    return PermitRequest(idem=idem, nonce=b"n" * 16, access=words or an_access(), items=items)


def a_draft(words: Access | None = None, *items: Item, idem: bytes = b"i" * 16) -> Draft:
    return WRITER.permit(a_request(words, *items, idem=idem), caller=CALLER)


def a_list(*subjects: str, idem: bytes = b"i" * 16) -> Draft:
    return a_draft(an_access(act="list", subject=None), *(Item(subject=one) for one in subjects), idem=idem)


def written(answer: Answer) -> LogEntry:
    assert isinstance(answer, LogEntry)
    return answer


@contextmanager
def refused_at(pointer: str) -> Iterator[None]:
    with pytest.raises(DetailInvalid) as refused:
        yield
    assert refused.value.errors[0]["pointer"] == pointer


def test_an_intent_says_who_why_and_what_and_when() -> None:
    answer = written(a_group(start=16).add(a_draft()))

    assert json.loads(answer.opening.detail) == {
        "v": 1,
        "kind": "intent",
        "mode": "before",
        "t": AT,
        "service": CALLER,
        "site": ORIGIN,
        "act": "view",
        "purpose": "case_work",
        "basis": "referral",
        "actor": {"id": "st-1", "client": "cl-1"},
        "agency": "welfare-a",
        "subject": SUBJECT,
        "n": 5,
        "explain": [],
    }
    assert answer.index == 16
    assert answer.opening.tag == tag(SUBJECT.encode(), 5)


def test_items_stand_before_their_intent_and_under_its_root() -> None:
    group = a_group()
    answer = written(group.add(a_list(SUBJECT, OTHER, SUBJECT)))

    assert answer.index == 3
    assert [row.leaf for row in group.entries[:3]] == list(answer.items)
    root = tree_root([leaf_hash(entry) for entry in answer.items])
    assert json.loads(answer.opening.detail)["items"] == {"count": 3, "root": encoded(root)}
    assert group.numbers == {SUBJECT: 6, OTHER: 5}


def test_a_list_of_nobody_says_so() -> None:
    assert json.loads(written(a_group().add(a_list())).opening.detail)["items"]["count"] == 0


def test_counters_go_on_without_a_gap_through_a_group() -> None:
    group = a_group()
    answers = [written(group.add(a_draft(idem=bytes([number]) * 16))) for number in range(3)]

    assert [json.loads(answer.opening.detail)["n"] for answer in answers] == [5, 6, 7]


def test_a_refused_draft_leaves_no_trace() -> None:
    group = a_group(subjects={SUBJECT: Subject(CALLER, b"k", DataKey(SUBJECT, b"d" * 32), 4)})

    refusal = group.add(a_list(OTHER, SUBJECT, OTHER))
    assert isinstance(refusal, SubjectUnknown)
    assert [place["pointer"] for place in refusal.errors] == ["/items/0/subject", "/items/2/subject"]
    assert group.entries == []
    assert group.numbers == {}


def test_a_repeated_request_in_one_group_is_one_entry() -> None:
    group = a_group()
    first, second = group.add(a_draft()), group.add(a_draft())

    assert second == written(first).index
    assert len(group.entries) == 1


def test_a_known_request_has_its_old_place_and_another_body_conflicts() -> None:
    draft = a_draft()
    group = a_group(known={(CALLER, draft.idem): (3, draft.body)})

    assert group.add(draft) == 3
    assert isinstance(group.add(a_draft(an_access(purpose="supervision"))), IdemConflict)


def test_padding_fills_the_block_and_no_more() -> None:
    group = a_group(start=30)
    group.add(a_draft())
    group.add_padding()
    group.add_padding()

    assert len(group.entries) == 2
    pad = StoredEntry(31, None, b"", MONTH_KEY.name, MONTH_KEY_WRAPPED, group.entries[1].sealed)
    assert KEYRING.opened_detail(pad)[1] == b'{"kind":"pad"}'


def an_outcome(**changes: Any) -> OutcomeReport:
    words: dict[str, Any] = {
        "idem": b"o" * 16,
        "origin": ORIGIN,
        "intent": 3,
        "result": "released",
        "happened": AT,
    }
    return OutcomeReport(**(words | changes))


def test_an_outcome_is_about_whom_its_intent_was_about() -> None:
    group = a_group(start=9, intents={3: Intent(CALLER, "intent", SUBJECT)})
    detail = json.loads(written(group.add(WRITER.outcome(an_outcome(), caller=CALLER))).opening.detail)

    assert detail == {
        "v": 1,
        "kind": "outcome",
        "t": AT,
        "happened": AT,
        "service": CALLER,
        "site": ORIGIN,
        "intent": {"origin": ORIGIN, "index": 3},
        "result": "released",
        "subject": SUBJECT,
        "n": 5,
    }


def test_an_outcome_whose_intent_stands_in_an_earlier_log_of_the_year_is_about_nobody() -> None:
    earlier = EntryWriter(f"{ORIGIN}-2", WRITER.parties).outcome(an_outcome(), caller=CALLER)
    detail = json.loads(
        written(a_group(intents={3: Intent(CALLER, "intent", SUBJECT)}).add(earlier)).opening.detail
    )

    assert (detail["intent"], detail["site"]) == ({"origin": ORIGIN, "index": 3}, f"{ORIGIN}-2")
    assert "subject" not in detail


@pytest.mark.parametrize(
    ("intents", "refusal"),
    [
        ({}, DetailInvalid),
        ({3: Intent(CALLER, "item", SUBJECT)}, DetailInvalid),
        ({3: Intent("urn:concert:test-local:police", "intent", SUBJECT)}, NotYours),
        ({3: Intent(CALLER, "intent", "ref_" + "z" * 26)}, SubjectUnknown),
    ],
)
def test_an_outcome_without_its_own_intent_is_refused(intents: Any, refusal: type[Exception]) -> None:
    draft = WRITER.outcome(an_outcome(), caller=CALLER)

    assert isinstance(a_group(intents=intents).add(draft), refusal)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"origin": "audit.example/other"}, "/origin"),
        ({"result": "refused"}, "/reason"),
        ({"happened": "2026-13-01T00:00:00.000Z"}, "/happened"),
    ],
)
def test_an_outcome_that_lacks_something_is_named(changes: dict[str, Any], pointer: str) -> None:
    with refused_at(pointer):
        WRITER.outcome(an_outcome(**changes), caller=CALLER)


NEEDED: Final = ("purpose", "basis", "actor", "agency", "subject", "explain")


@pytest.mark.parametrize(
    ("words", "items", "pointer"),
    [
        *((an_access(**{field: None}), [], f"/access/{field}") for field in NEEDED),
        (an_access(basis="consent"), [], "/access/consent"),
        (an_access(act="disclosure"), [], "/access/groups"),
        (an_access(act="denial"), [], "/access/act"),
        (an_access(act="browse"), [], "/access/act"),
        (an_access(times=2), [], "/access/times"),
        (an_access(), [Item(subject=OTHER)], "/items"),
    ],
)
def test_what_an_act_needs_stands_in_its_table(words: Access, items: list[Item], pointer: str) -> None:
    with refused_at(pointer):
        a_draft(words, *items)


def a_count_of_denials(
    happened: str = "2026-03-02T11:00:00.000Z", until: str | None = AT, times: int | None = 2
) -> EventReport:
    words = Access(act="denial", actor=Actor(client="cl-1"), reason="unknown", times=times)
    return EventReport(idem=b"e" * 16, mode="late", happened=happened, until=until, access=words)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"happened": "9999-99-99T99:99:99.999Z", "until": None, "times": None}, "/happened"),
        ({"happened": "0000-01-01T00:00:00.000Z"}, "/happened"),
        ({"until": "2026-02-30T00:00:00.000Z"}, "/until"),
        ({"until": "2026-03-02T10:59:59.999Z"}, "/until"),
        ({"until": None}, "/until"),
        ({"times": None}, "/until"),
        ({"times": 0}, "/access/times"),
        ({"times": 2**53 - 1}, "/access/times"),
    ],
)
def test_an_event_at_an_impossible_time_is_refused_in_its_place(
    changes: dict[str, Any], pointer: str
) -> None:
    with refused_at(pointer):
        WRITER.event(a_count_of_denials(**changes), caller=CALLER)


CLOSURE: Final = {"n": 1, "kind": "keyset", "id": "ks_" + "a" * 26}


@pytest.mark.parametrize("act", sorted(ACTS))
@pytest.mark.parametrize("caller", [CALLER, OPERATOR, NOTIFICATIONS])
def test_each_act_is_one_partys_to_ask_for_or_report(act: str, caller: str) -> None:
    words = an_access(
        act=act,
        subject=SUBJECT,
        referral=SUBJECT,
        packet="p",
        groups={"contact": "1"},
        protocol={"id": "p-1", "hash": encoded(bytes(32))},
        recipient={"agency": "clinic-a", "key": "rk_" + "a" * 26},
        consent={"id": "cns_" + "a" * 26, "version": 1},
        closure=CLOSURE,
        reason="x",
        verb="refill",
        counts={"events": 1},
        approver={"agency": "clinic-b", "id": "st-2"},
    )
    report = EventReport(idem=b"e" * 16, mode="with", happened=AT, access=words)
    may = {"trail_read": {OPERATOR}, "operator": ANYBODY}.get(act, {CALLER})

    with nullcontext() if caller in may else pytest.raises(NotYours):
        if ACTS[act].kind == "event":
            WRITER.event(report, caller=caller)
        else:
            WRITER.permit(a_request(words), caller=caller)


def test_an_event_needs_no_permit_and_says_when_it_happened() -> None:
    report = a_count_of_denials()
    answer = written(a_group().add(WRITER.event(report, caller=CALLER)))

    detail = json.loads(answer.opening.detail)
    assert (detail["kind"], detail["mode"], detail["happened"]) == (
        "event",
        "late",
        "2026-03-02T11:00:00.000Z",
    )
    assert "n" not in detail


EVENTS: Final = sorted(name for name, act in ACTS.items() if act.kind == "event")


def an_event(act: str, caller: str, **changes: Any) -> Draft:
    needed = {
        "reason": "x",
        "referral": SUBJECT,
        "consent": {"id": "cns_" + "a" * 26, "version": 1},
        "closure": CLOSURE,
        "verb": "refill",
        "counts": {"events": 1},
    }
    words = {"act": act} | needed | changes
    report = EventReport(idem=b"e" * 16, mode="with", happened=AT, access=an_access(**words))
    return WRITER.event(report, caller=caller)


def a_kind_of_entry(kind: str, caller: str) -> Draft:
    """A draft of that kind about SUBJECT: an intent, a list with an item, an outcome, or an event by act."""
    if kind == "item":
        words = an_access(act="list", subject=None)
        return WRITER.permit(a_request(words, Item(subject=SUBJECT)), caller=caller)
    if kind == "intent":
        return WRITER.permit(a_request(), caller=caller)
    if kind == "outcome":
        return WRITER.outcome(an_outcome(), caller=caller)
    return an_event(kind, caller)


# Whether another than the registrar may: to ask is anybody's, the outcome is the asker's (CALLER here).
@pytest.mark.parametrize(
    ("kind", "others_may"),
    [("intent", True), ("item", True), ("outcome", False), *((event, False) for event in EVENTS)],
)
def test_who_may_write_each_kind_of_entry_about_a_subject(kind: str, others_may: bool) -> None:
    intents = {3: Intent(CALLER, "intent", SUBJECT)}
    own = a_group(intents=intents).add(a_kind_of_entry(kind, CALLER))
    other = a_group(intents=intents).add(a_kind_of_entry(kind, OTHER_CALLER))

    assert isinstance(own, LogEntry)
    assert isinstance(other, LogEntry if others_may else NotYours)


def test_any_sector_may_report_a_denial_about_nobody() -> None:
    denied = an_event("denial", OTHER_CALLER, subject=None, basis=None, consent=None)

    assert isinstance(a_group().add(denied), LogEntry)


def test_the_same_bytes_under_another_kind_are_another_body() -> None:
    report = EventReport(
        idem=b"i" * 16,
        mode="with",
        happened=AT,
        access=Access(act="denial", actor=Actor(client="c"), reason="x"),
    )
    late = report.model_copy(update={"mode": "late"})

    assert WRITER.event(report, caller=CALLER).body != WRITER.event(late, caller=CALLER).body
    assert a_draft().body == a_draft().body


def test_a_detail_over_4096_bytes_is_refused() -> None:
    groups = {f"g{'x' * 60}{number}": "v" * 128 for number in range(9)}
    reasons = tuple({"code": "c" * 64, "ref": "r" * 128} for _ in range(9))

    with pytest.raises(TooLarge):
        a_draft(Access.model_validate(an_access(groups=groups).plain() | {"explain": reasons}))


def stored(count: int = 3) -> tuple[list[StoredEntry], bytes]:
    """Some entries as the database holds them, and their tile."""
    key, wrapped = KEYRING.new_key(SUBJECT)
    subjects = {SUBJECT: Subject(CALLER, b"t" * 32, key, 0)}
    group = a_group(subjects=subjects)
    for number in range(count):
        group.add(a_draft(idem=bytes([number]) * 16))
    rows = [
        StoredEntry(index, row.caller, row.leaf, row.key, wrapped, row.sealed)
        for index, row in enumerate(group.entries)
    ]
    return rows, b"".join(leaf_hash(row.leaf) for row in rows)


def test_a_detail_opens_at_its_own_place_alone() -> None:
    row = stored()[0][1]

    assert json.loads(KEYRING.opened_detail(row)[1])["subject"] == SUBJECT
    for keyring, wrong in (
        (replace(KEYRING, wrap_key=b"x" * 32), row),
        (replace(KEYRING, origin="audit.example/b"), row),
        (KEYRING, replace(row, index=2)),
        (KEYRING, replace(row, key_name=OTHER)),
        (KEYRING, replace(row, sealed=row.sealed[:5])),
    ):
        with pytest.raises(Unreadable):
            keyring.opened_detail(wrong)


def test_sound_entries_give_their_leaf_hashes() -> None:
    rows, tile = stored()

    assert b"".join(check_entries(0, rows, tile)) == tile
    assert [opened_detail(row, KEYRING)[2]["kind"] for row in rows] == ["intent"] * 3


def _without_second(rows: list[StoredEntry]) -> list[StoredEntry]:
    return [rows[0], rows[2]]


def _with_another_detail(rows: list[StoredEntry]) -> list[StoredEntry]:
    wrapped = rows[1].key_wrapped
    assert wrapped is not None
    sealed = KEYRING.sealed_detail(KEYRING.key(SUBJECT, wrapped), b"s" * 32, b"{}", 1)
    return [rows[0], replace(rows[1], sealed=sealed), rows[2]]


def _changed(**changes: Any) -> Any:
    return lambda rows: [rows[0], replace(rows[1], **changes), rows[2]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without_second, "missing"),
        (_changed(leaf=b"AAT1" + bytes(48)), "tile"),
    ],
)
def test_an_entry_that_is_not_in_its_tree_damages_the_trail(change: Any, says: str) -> None:
    rows, tile = stored()

    with pytest.raises(TrailDamaged, match=f"entry 1: .*{says}"):
        check_entries(0, change(rows), tile)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_changed(sealed=bytes(80)), "open"),
        (_changed(sealed=b""), "open"),
        (_changed(key_wrapped=None), "open"),
        (_changed(caller="urn:concert:test-local:police"), "caller"),
        (_with_another_detail, "belong"),
    ],
)
def test_a_damaged_detail_costs_its_own_entry_alone(change: Any, says: str) -> None:
    rows, tile = stored()
    rows = change(rows)

    with pytest.raises(DetailDamaged) as damaged:
        opened_detail(rows[1], KEYRING)

    assert damaged.value.index == 1
    assert says in damaged.value.why
    assert b"".join(check_entries(0, rows, tile)) == tile


def test_damaged_details_are_named_up_to_a_number() -> None:
    findings, at = Findings(), datetime(2026, 3, 2, tzinfo=UTC)
    named = [findings.add(index % (FINDINGS_MAX * 2), at) for index in range(FINDINGS_MAX * 4)]
    places = [alarm.where for alarm in findings.alarms()]

    assert sum(named) == FINDINGS_MAX
    assert places == [*(f"entry {index}" for index in range(FINDINGS_MAX)), "more entries"]


def test_an_outcome_of_an_intent_with_a_damaged_detail_is_refused_alone() -> None:
    group = a_group(intents={3: DetailDamaged(3, "the detail does not open")})

    assert isinstance(group.add(WRITER.outcome(an_outcome(), caller=CALLER)), DetailDamaged)
    assert isinstance(group.add(a_draft()), LogEntry)


def test_an_entry_that_does_not_open_says_so_in_the_export() -> None:
    rows, _ = stored()

    assert json.loads(opening_line(rows[0], KEYRING))["index"] == 0
    assert json.loads(opening_line(replace(rows[1], sealed=b""), KEYRING)) == {
        "index": 1,
        "problem": "detail_unreadable",
    }


def test_a_subject_whose_keys_are_gone_is_unknown() -> None:
    _, wrapped = KEYRING.new_key(SUBJECT)
    kept = StoredSubject(SUBJECT, CALLER, 0, KEYRING.wrapped_tag_key(SUBJECT, b"t" * 32), wrapped)
    opened = KEYRING.subject(kept)

    assert opened is not None
    assert opened.tag_key == b"t" * 32
    assert KEYRING.subject(replace(kept, data_key=None)) is None
    assert KEYRING.subject(replace(kept, id=OTHER)) is None


def test_neither_key_nor_salt_shows_in_a_representation() -> None:
    shown = repr((KEYRING, DataKey("x", b"secret"), Subject(CALLER, b"secret", DataKey("x", b"secret"), 1)))

    assert "secret" not in shown
    assert "wwww" not in shown
