import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events.governance import AgencyCurrent, document_hash
from schemas.events.referral import ROWS
from schemas.topics import SECTORS
from schemas.wire.minimisation import STATISTICS
from services.governance.domain import (
    EXAMPLE_KEYS,
    ExampleKey,
    IdTaken,
    Kind,
    MatrixIncomplete,
    PartyNotAdmitted,
    Publication,
    SectorFixed,
    TimersIncomplete,
    UnknownSector,
    ValidityOutOfOrder,
    VersionNotNext,
    WeakKey,
    agency_hash,
    check_agency,
    check_parties,
    is_new,
    load_protocol,
)
from services.runtime.errors import Refused
from tests.support import builders

DEFAULT = Path(__file__).parents[3] / "deploy/local/protocol.json"
AT = datetime(2026, 3, 1, tzinfo=UTC)

MATRIX = {  # row: health, police, social services, education, statistics
    "need": "F F F C C",
    "age": "F F F F C",
    "access": "F F F F C",
    "danger": "F F F C C",
}
HOUR, DAY = 3_600, 86_400
TIMERS = {
    "acknowledge": (HOUR // 4, HOUR, DAY, 3 * DAY),
    "answer": (HOUR, 3 * HOUR, 3 * DAY, 7 * DAY),
    "seal": (DAY, DAY, DAY, DAY),
}


GOOD = builders.an_agency("agency-a")


def a_document(**changes: Any) -> bytes:
    return json.dumps({**json.loads(DEFAULT.read_text()), **changes}).encode()


def an_agency(**changes: Any) -> AgencyCurrent:
    return AgencyCurrent.model_validate({
        "agency": "agency-a",
        "version": 1,
        "sector": "health",
        "organization": "00000000-0000-4000-8000-000000000001",
        "status": "active",
        "signing_key": GOOD.signing_key,
        "encryption_key": GOOD.encryption_key,
        **changes,
    })  # fmt: skip


def a_publication(version: int, digest: str = "a", kind: Kind = "agency") -> Publication:
    return Publication(kind, "agency-a", version, digest, an_agency(), AT)


def test_the_default_document_holds_the_wire_rows_and_timers_of_the_field() -> None:
    document, _ = load_protocol(DEFAULT.read_bytes())

    readers = (*SECTORS, STATISTICS)
    assert {
        row: " ".join(cells[reader] for reader in readers) for row, cells in document.matrix.items()
    } == MATRIX
    urgencies = ("critical", "urgent", "priority", "routine")
    assert {
        timer: tuple(cells[urgency] for urgency in urgencies)  # type: ignore[index]
        for timer, cells in document.timers.items()
    } == TIMERS


def test_loading_gives_the_hash_with_the_document() -> None:
    document, digest = load_protocol(DEFAULT.read_bytes())

    assert digest == document_hash(document)


def test_what_is_no_protocol_is_refused() -> None:
    with pytest.raises(ValidationError):
        load_protocol(b'{"v":"xisp/1"}')


def test_a_protocol_must_begin_before_it_ends() -> None:
    with pytest.raises(ValidityOutOfOrder):
        load_protocol(a_document(valid_from="2026-01-01T00:00:00Z", valid_until="2026-01-01T00:00:00Z"))


@pytest.mark.parametrize("row", sorted(ROWS))
def test_a_missing_row_of_the_matrix_is_refused(row: str) -> None:
    matrix = json.loads(DEFAULT.read_text())["matrix"]
    del matrix[row]

    with pytest.raises(MatrixIncomplete):
        load_protocol(a_document(matrix=matrix))


@pytest.mark.parametrize("reader", [*SECTORS, STATISTICS])
def test_a_missing_reader_of_the_matrix_is_refused(reader: str) -> None:
    matrix = json.loads(DEFAULT.read_text())["matrix"]
    del matrix["age"][reader]

    with pytest.raises(MatrixIncomplete):
        load_protocol(a_document(matrix=matrix))


def test_an_unknown_row_or_reader_of_the_matrix_is_refused() -> None:
    matrix = json.loads(DEFAULT.read_text())["matrix"]

    with pytest.raises(MatrixIncomplete):
        load_protocol(a_document(matrix={**matrix, "name": matrix["age"]}))
    with pytest.raises(MatrixIncomplete):
        load_protocol(a_document(matrix={**matrix, "age": {**matrix["age"], "press": "F"}}))


@pytest.mark.parametrize("timer", TIMERS)
def test_a_missing_timer_or_urgency_and_an_unknown_timer_are_refused(timer: str) -> None:
    timers = json.loads(DEFAULT.read_text())["timers"]
    without_urgency = {**timers, timer: {"critical": 1, "urgent": 1, "priority": 1}}
    without_timer = {name: cells for name, cells in timers.items() if name != timer}

    for incomplete in (without_urgency, without_timer, {**timers, "start": timers[timer]}):
        with pytest.raises(TimersIncomplete):
            load_protocol(a_document(timers=incomplete))


def test_parties_must_be_admitted_and_named_once() -> None:
    document, _ = load_protocol(a_document())
    twice, _ = load_protocol(a_document(parties=["agency-a", "agency-a"]))

    check_parties(document, {"agency-a", "agency-b", "agency-c"})
    with pytest.raises(PartyNotAdmitted):
        check_parties(document, {"agency-a"})
    with pytest.raises(PartyNotAdmitted):
        check_parties(twice, {"agency-a"})


def test_an_agency_needs_a_sector_that_somebody_serves() -> None:
    for sector in SECTORS:
        check_agency(an_agency(sector=sector))
    with pytest.raises(UnknownSector):
        check_agency(an_agency(sector="press"))


def test_every_part_of_an_agency_counts_in_its_hash() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"agency": "agency-b"},
        {"version": 2},
        {"sector": "police"},
        {"organization": "00000000-0000-4000-8000-000000000002"},
        {"status": "suspended"},
        {"signing_key": "C" * 42 + "A="},
        {"encryption_key": "C" * 42 + "A="},
    ]

    assert len({agency_hash(an_agency(**change)) for change in changes}) == len(changes)


@pytest.mark.parametrize("version", [9007199254740992, 2**31])
def test_a_version_that_no_reader_holds_is_no_version(version: int) -> None:
    with pytest.raises(ValidationError):
        an_agency(version=version)
    with pytest.raises(ValidationError):
        load_protocol(json.dumps(json.loads(DEFAULT.read_bytes()) | {"version": version}).encode())


NEXT: list[tuple[Publication, Publication | None, bool | type[Refused]]] = [
    (a_publication(1), None, True),
    (a_publication(2), None, VersionNotNext),
    (a_publication(1), a_publication(1), False),
    (a_publication(1, "b"), a_publication(1), VersionNotNext),
    (a_publication(2, "b"), a_publication(1), True),
    (a_publication(2, "a"), a_publication(1), True),
    (a_publication(3, "b"), a_publication(1), VersionNotNext),
    (a_publication(1), a_publication(2, "b"), VersionNotNext),
    (a_publication(1, "b", "protocol"), a_publication(1), IdTaken),
    (a_publication(2, "b", "protocol"), a_publication(1), IdTaken),
]


def test_an_agency_stays_in_its_sector() -> None:
    moved = replace(a_publication(2, "b"), content=an_agency(version=2, sector="police"))

    with pytest.raises(SectorFixed):
        is_new(moved, a_publication(1))


@pytest.mark.parametrize(("offered", "known", "answer"), NEXT)
def test_versions_follow_one_by_one_and_never_change(
    offered: Publication, known: Publication | None, answer: bool | type[Refused]
) -> None:
    if isinstance(answer, bool):
        assert is_new(offered, known) is answer
        return
    with pytest.raises(answer):
        is_new(offered, known)


PRIME = 2**255 - 19


def a_key(number: int) -> str:
    return base64.b64encode(number.to_bytes(32, "little")).decode()


ORDER_8 = (  # Montgomery u, as X25519 keys are
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
)
WEAK: dict[str, list[str]] = {
    "encryption_key": [
        *map(a_key, (0, 1, PRIME - 1, PRIME, PRIME + 1, 2**256 - 1, *ORDER_8)),
        a_key(int.from_bytes(base64.b64decode(GOOD.encryption_key), "little") + 2**255),  # a bit nobody reads
    ],
    "signing_key": [
        *map(a_key, (0, 1, PRIME - 1, PRIME, PRIME + 1, 1 + 2**255, 2**256 - 1)),
        *(a_key((u - 1) * pow(u + 1, -1, PRIME) % PRIME) for u in ORDER_8),  # the same points for Ed25519
    ],
}


@pytest.mark.parametrize("name", WEAK)
def test_a_key_that_protects_nothing_is_not_admitted(name: str) -> None:
    for key in WEAK[name]:
        with pytest.raises(WeakKey):
            check_agency(an_agency(**{name: key}))


@pytest.mark.parametrize("name", WEAK)
def test_a_key_has_one_way_to_be_written(name: str) -> None:
    key = str(getattr(GOOD, name))
    same_bytes = key[:-2] + chr(ord(key[-2]) + 1) + "="

    assert base64.b64decode(same_bytes) == base64.b64decode(key)
    with pytest.raises(WeakKey):
        check_agency(an_agency(**{name: same_bytes}))


@pytest.mark.parametrize("name", WEAK)
def test_a_key_of_an_example_is_not_admitted(name: str) -> None:
    for key in EXAMPLE_KEYS:
        with pytest.raises(ExampleKey):
            check_agency(an_agency(**{name: key}))


def test_every_key_of_an_example_or_a_document_is_on_the_list() -> None:
    root = Path(__file__).parents[3]
    files = [*root.glob("*.md"), *(root / "docs").rglob("*"), *(root / "schemas/examples").rglob("*.json")]
    texts = [file.read_text("utf-8") for file in files if file.is_file()]

    found = {key for text in texts for key in re.findall(r'_key\\*"\s*:\s*\\*"([A-Za-z0-9+/]{43}=)', text)}

    assert len(found) >= 2
    assert found <= EXAMPLE_KEYS


@pytest.mark.parametrize("agency", ["harbour-clinic", *(f"agency-{number}" for number in range(20))])
def test_a_fresh_pair_is_admitted(agency: str) -> None:
    check_agency(builders.an_agency(agency))
