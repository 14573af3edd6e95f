import base64
import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events.facts import ROWS
from schemas.events.governance import (
    URGENCIES,
    AgencyCurrent,
    ProtocolCurrent,
    ProtocolDocument,
    document_hash,
)
from schemas.events.packet import PACKET_ROWS
from schemas.topics import SECTORS
from schemas.wire.minimisation import STATISTICS
from schemas.wire.public_keys import EXAMPLE_KEYS
from services.governance.domain.areas import read_areas
from services.governance.domain.publications import (
    ExampleKey,
    FirewallOpen,
    IdTaken,
    Kind,
    MatrixIncomplete,
    PartyNotAdmitted,
    ProbesAlone,
    Publication,
    PullRowForbidden,
    PullRowUnknown,
    SectorFixed,
    TimersIncomplete,
    UnknownSector,
    UnknownSuite,
    ValidityOutOfOrder,
    VersionNotNext,
    WeakKey,
    check_agency,
    check_among_probes,
    check_protocol,
    is_new,
)
from services.runtime.errors import Refused
from tests.support import builders
from tests.support.clock import NOON
from tests.support.partnership import AREAS
from tests.support.stage import Stage, a_founding, a_protocol, described

DEFAULT = Path(__file__).parents[3] / "deploy/local/protocol.json"

HOUR, DAY = 3_600, 86_400
TIMERS = {
    "acknowledge": (HOUR // 4, HOUR, DAY, 3 * DAY),
    "answer": (HOUR, 3 * HOUR, 3 * DAY, 7 * DAY),
    "start": (2 * HOUR, DAY, 5 * DAY, 14 * DAY),
    "review": (DAY, DAY, 14 * DAY, 30 * DAY),
    "feedback": (7 * DAY,) * 4,
    "silence": (14 * DAY,) * 4,
    "next_step": (HOUR // 2, HOUR, DAY, 3 * DAY),
    "next_attempt": (HOUR, 3 * HOUR, 3 * DAY, 7 * DAY),
    "seal": (DAY,) * 4,
    "seal_after_end": (30 * DAY,) * 4,
}


SUITES = {"signing_key": "ed25519", "encryption_key": "x25519"}


def a_key(name: str, number: int) -> str:
    return f"{SUITES[name]}:{base64.b64encode(number.to_bytes(32, 'little')).decode()}"


GOOD = builders.an_agency("agency-a")
CONTENT = json.loads(DEFAULT.read_text())
SECTOR_OF = dict(zip(("agency-a", "agency-b", "agency-c", "agency-d", "agency-e"), SECTORS, strict=True))


def check(**changes: Any) -> None:
    check_protocol(
        ProtocolDocument.model_validate({**CONTENT, "parties": list(SECTOR_OF)} | changes), SECTOR_OF
    )


def an_agency(**changes: Any) -> AgencyCurrent:
    return AgencyCurrent.model_validate(GOOD.model_dump() | changes)


def a_publication(version: int, digest: str = "a", kind: Kind = "agency", **changes: str) -> Publication:
    return Publication(kind, "agency-a", version, digest, an_agency(**changes), NOON)


def test_the_default_document_is_complete_and_holds_the_timers_of_the_field() -> None:
    check(parties=["agency-a", "agency-b"])

    assert {
        timer: tuple(cells[urgency] for urgency in URGENCIES) for timer, cells in CONTENT["timers"].items()
    } == TIMERS


def without(table: str, row: str, column: str | None = None) -> dict[str, Any]:
    """The default document's table, one row or one cell short."""
    rows = copy.deepcopy(CONTENT[table])
    rows[row].pop(column) if column else rows.pop(row)
    return {table: rows}


def a_row(**changes: Any) -> dict[str, Any]:
    """A document whose only pull row is good but for the changes."""
    row = {
        "recipient": "health",
        "group": "clinical",
        "fields": ["pep"],
        "purposes": ["care"],
        "basis": "consent",
    }
    return {"pulls": [row | changes]}


MATRIX = CONTENT["matrix"]
AGE = MATRIX["age"]
INCOMPLETE: list[tuple[dict[str, Any], type[Refused]]] = [
    *((without("matrix", row), MatrixIncomplete) for row in sorted(ROWS | PACKET_ROWS)),
    *((without("matrix", "age", reader), MatrixIncomplete) for reader in SECTORS),
    ({"matrix": MATRIX | {"name": AGE}}, MatrixIncomplete),
    ({"matrix": MATRIX | {"age": AGE | {"press": "F"}}}, MatrixIncomplete),
    *((without("timers", timer), TimersIncomplete) for timer in TIMERS),
    *((without("timers", timer, "routine"), TimersIncomplete) for timer in TIMERS),
    (a_row(recipient="press"), PullRowUnknown),
    (a_row(recipient=STATISTICS), PullRowUnknown),
    (a_row(fields=["pep", "home"]), PullRowUnknown),
    (a_row(purposes=["care", "curiosity"]), PullRowUnknown),
    (a_row(basis="friendship"), PullRowUnknown),
    (a_row(recipient="police"), PullRowForbidden),
    (a_row(group="contact", fields=["phone"]), PullRowForbidden),
    (a_row(basis="break_glass"), PullRowForbidden),
    ({"valid_until": CONTENT["valid_from"]}, ValidityOutOfOrder),
    ({"parties": ["agency-a", "agency-x"]}, PartyNotAdmitted),
    ({"parties": ["agency-a", "agency-a"]}, PartyNotAdmitted),
]


def test_a_pull_row_that_the_matrix_bears_is_taken() -> None:
    check(**a_row())
    check(**a_row(recipient="police", basis="own_case"))
    check(**a_row(group="contact", fields=["safe_contact", "phone"], basis="break_glass"))


@pytest.mark.parametrize(("changes", "refusal"), INCOMPLETE)
def test_a_protocol_says_everything_and_binds_admitted_agencies_alone(
    changes: dict[str, Any], refusal: type[Refused]
) -> None:
    with pytest.raises(refusal):
        check(**changes)


WIDER: list[tuple[str, str, str]] = [
    *(("education", row, right)
      for row, rights in {
          "need": "FO", "perpetrator_relation": "FO", "violence_type": "FCO", "incident_time": "FCO",
          "narrative": "FCO", "clinical": "FCO", "legal_wish": "FCO", "displacement": "FCO",
      }.items() for right in rights),
    *(("police", "displacement", right) for right in "FCO"),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "row", "right"), WIDER)
def test_harm_27_no_protocol_shows_a_school_or_the_police_what_they_must_not_infer(
    reader: str, row: str, right: str
) -> None:
    check(matrix={name: {**cells, reader: "N"} for name, cells in MATRIX.items()}, pulls=[])

    with pytest.raises(FirewallOpen):
        check(matrix={**MATRIX, row: {**MATRIX[row], reader: right}}, pulls=[])


def test_a_sector_without_a_party_needs_no_column_of_the_matrix() -> None:
    parties = {"parties": ["agency-a", "agency-b"]}

    for reader in ("education", "civil_society", STATISTICS):
        check(**parties, **without("matrix", "age", reader))
    with pytest.raises(MatrixIncomplete):
        check(**parties, **without("matrix", "age", "police"))


def test_an_agency_needs_a_sector_that_somebody_serves() -> None:
    for sector in SECTORS:
        check_agency(an_agency(sector=sector))
    with pytest.raises(UnknownSector):
        check_agency(an_agency(sector="press"))


def test_nobody_decides_on_a_protocol_among_probes_and_on_every_other_somebody_does() -> None:
    probes = [builders.an_agency(f"probe-{n}", sector=n, probe=True) for n in ("health", "police")]
    clinic = builders.an_agency("harbour-clinic", sector="health")
    example = ProtocolDocument.model_validate_json(DEFAULT.read_text())

    def among(*agencies: AgencyCurrent, **changes: Any) -> ProtocolCurrent:
        parties = tuple(one.agency for one in agencies)
        document = example.model_copy(update={"parties": parties, "pulls": (), **changes})
        return ProtocolCurrent(document=document, hash=document_hash(document))

    check_among_probes(among(*probes), [*probes, clinic])
    for refused in (among(*probes, clinic), among(*probes, pulls=example.pulls)):
        with pytest.raises(ProbesAlone):
            check_among_probes(refused, [*probes, clinic])


def test_every_part_of_an_agency_counts_in_its_hash() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"agency": "agency-b"},
        {"version": 2},
        {"sector": "police"},
        {"organization": "00000000-0000-4000-8000-000000000002"},
        {"status": "suspended"},
        {"signing_key": a_key("signing_key", 2)},
        {"encryption_key": a_key("encryption_key", 2)},
    ]

    assert len({document_hash(an_agency(**change)) for change in changes}) == len(changes)


@pytest.mark.parametrize("version", [9007199254740992, 2**31])
def test_a_version_that_no_reader_holds_is_no_version(version: int) -> None:
    with pytest.raises(ValidationError):
        an_agency(version=version)
    with pytest.raises(ValidationError):
        check(version=version)


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
    (a_publication(2, "b", sector="police"), a_publication(1), SectorFixed),
]


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


ORDER_8 = (  # Montgomery u, as X25519 keys are
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
)
PUBLIC = base64.b64decode(GOOD.encryption_key.partition(":")[2])
WEAK: dict[str, tuple[int, ...]] = {
    "encryption_key": (
        0, 1, PRIME - 1, PRIME, PRIME + 1, 2**256 - 1, *ORDER_8,
        int.from_bytes(PUBLIC, "little") + 2**255,  # a bit nobody reads
    ),
    "signing_key": (
        0, 1, PRIME - 1, PRIME, PRIME + 1, 1 + 2**255, 2**256 - 1,
        *((u - 1) * pow(u + 1, -1, PRIME) % PRIME for u in ORDER_8),  # the same points for Ed25519
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WEAK)
def test_a_key_that_protects_nothing_or_is_written_otherwise_is_not_admitted(name: str) -> None:
    suite, _, key = str(getattr(GOOD, name)).partition(":")
    same_bytes = key[:-2] + chr(ord(key[-2]) + 1) + "="
    longer = base64.b64encode(base64.b64decode(key) + b"\0").decode()
    refused: list[tuple[str, type[Refused]]] = [
        *((a_key(name, number), WeakKey) for number in WEAK[name]),
        *((f"{suite}:{spelling}", WeakKey) for spelling in (same_bytes, longer)),
        *((f"{other}:{key}", UnknownSuite) for other in {"xwing", *SUITES.values()} - {suite}),
        *((f"{suite}:{example}", ExampleKey) for example in EXAMPLE_KEYS),
    ]

    assert base64.b64decode(same_bytes) == base64.b64decode(key)
    for written, refusal in refused:
        with pytest.raises(refusal):
            check_agency(an_agency(**{name: written}))


def test_every_key_of_an_example_or_a_document_is_on_the_list() -> None:
    root = Path(__file__).parents[3]
    files = [*root.glob("*.md"), *(root / "docs").rglob("*"), *(root / "schemas/examples").rglob("*.json")]
    texts = [file.read_text("utf-8") for file in files if file.is_file()]

    found = {
        key for text in texts for key in re.findall(r'_key\\*"\s*:\s*\\*"\w+:([A-Za-z0-9+/]{43}=)', text)
    }

    assert len(found) >= 2
    assert found <= EXAMPLE_KEYS


@pytest.mark.parametrize("agency", ["harbour-clinic", *(f"agency-{number}" for number in range(20))])
def test_a_fresh_pair_is_admitted(agency: str) -> None:
    check_agency(builders.an_agency(agency))


@pytest.mark.parametrize("name", ["ministry", "health"])
def test_a_protocol_takes_no_id_under_which_an_agency_or_a_service_is_published(name: str) -> None:
    stage = Stage(read_areas(AREAS.read_text("utf-8")))
    stage.found()
    document = a_protocol(("clinic", "ministry")).model_copy(update={"id": name})

    with pytest.raises(IdTaken):
        stage.do("secretary un-office", "draft", "protocol", f"{name}.1", {"document": document.model_dump()})


def test_a_partner_takes_no_id_of_a_protocol() -> None:
    stage = Stage(read_areas(AREAS.read_text("utf-8")))
    founding = a_founding()
    agencies = [
        {"id": name, **described("sector_agency", sector=sector)}
        for name, sector in (("clinic", "health"), ("school", "education"))
    ]
    stage.found(partners=[*founding["partners"], *agencies])
    document = {"document": a_protocol(("clinic", "school")).model_dump()}
    stage.do("secretary un-office", "draft", "protocol", "shared-care.1", document)

    with pytest.raises(IdTaken):
        stage.do("seat ministry", "propose", "partner", "shared-care", described("academia"))
