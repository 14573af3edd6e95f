import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events.governance import ProtocolDocument, document_hash

DOCUMENT: dict[str, Any] = {
    "v": "xisp/1",
    "id": "sharing-protocol",
    "version": 3,
    "jurisdiction": "demo",
    "parties": ["agency-b", "agency-a"],
    "valid_from": "2026-01-01T01:00:00+01:00",
    "valid_until": "2027-01-01T00:00:00.5Z",
    "entry_fresh_for_days": 365,
    "matrix": {"need": {"police": "F", "health": "C"}, "age": {"health": "N"}},
    "pulls": [
        {
            "recipient": "health",
            "group": "legal",
            "fields": ["wish"],
            "purposes": ["care"],
            "basis": "consent",
        }
    ],
    "timers": {"answer": {"urgent": 10800, "critical": 3600}, "acknowledge": {"critical": 900}},
}
AS_HASHED = {**DOCUMENT, "valid_from": "2026-01-01T00:00:00.000Z", "valid_until": "2027-01-01T00:00:00.500Z"}
HASH = "22852678e6ab0d69a1b0174bf6916c331e34366a69c3e0e000f64f926cfeb79a"


def canonical(value: Any) -> str:
    """RFC 8785 for what a protocol holds, written from the text of the RFC alone."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(int(value))


def test_the_hash_is_what_a_second_implementation_computes() -> None:
    second = hashlib.sha256(canonical(AS_HASHED).encode()).hexdigest()

    assert document_hash(ProtocolDocument.model_validate(DOCUMENT)) == second == HASH


def test_the_hash_does_not_depend_on_the_order_of_names_or_the_zone_of_times() -> None:
    turned = dict(reversed(AS_HASHED.items()))

    assert document_hash(ProtocolDocument.model_validate(turned)) == HASH


def test_the_hash_survives_the_way_over_the_wire() -> None:
    document = ProtocolDocument.model_validate(DOCUMENT)

    assert document_hash(ProtocolDocument.model_validate_json(document.model_dump_json())) == HASH


@pytest.mark.parametrize(
    "change",
    [
        {"version": 4},
        {"jurisdiction": "other"},
        {"parties": ["agency-a", "agency-b"]},
        {"valid_until": "2027-01-01T00:00:00.501Z"},
        {"entry_fresh_for_days": 364},
        {"matrix": {"need": {"police": "F", "health": "F"}, "age": {"health": "N"}}},
        {"pulls": []},
        {"timers": {"answer": {"urgent": 10800, "critical": 3601}, "acknowledge": {"critical": 900}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_the_document_counts_in_the_hash(change: dict[str, Any]) -> None:
    assert document_hash(ProtocolDocument.model_validate({**DOCUMENT, **change})) != HASH


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"v": "xisp/2"},
        {"version": 0},
        {"version": "1"},
        {"parties": ["agency-a"]},
        {"parties": ["agency-a", "Agency B"]},
        {"valid_from": "2026-01-01T00:00:00"},
        {"matrix": {"need": {"police": "X"}}},
        {"timers": {"answer": {"critical": 0}}},
        {"timers": {"answer": {"soon": 1}}},
        {"pulls": [DOCUMENT["pulls"][0] | {"group": "secrets"}]},
        {"pulls": [DOCUMENT["pulls"][0] | {"assurance": "high"}]},
    ],
    ids=str,
)
def test_a_document_that_breaks_the_schema_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProtocolDocument.model_validate_json(json.dumps({**DOCUMENT, **change}))


def test_a_protocol_is_live_from_its_first_instant_and_no_longer_at_its_last() -> None:
    document = ProtocolDocument.model_validate(DOCUMENT)
    first, last = document.valid_from, document.valid_until
    moment = timedelta(milliseconds=1)

    assert [document.is_live(at) for at in (first - moment, first, last - moment, last)] == [
        False,
        True,
        True,
        False,
    ]
    assert first == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_protocol_joins_its_parties_and_nobody_else() -> None:
    document = ProtocolDocument.model_validate(DOCUMENT)

    assert document.joins("agency-a", "agency-b")
    assert not document.joins("agency-a", "agency-c")
    assert not document.joins("agency-c", "agency-b")


def test_the_default_document_is_hashed_as_written() -> None:
    content = json.loads((Path(__file__).parents[3] / "deploy/local/protocol.json").read_text())
    content["valid_from"] = content["valid_from"].replace("Z", ".000Z")
    content["valid_until"] = content["valid_until"].replace("Z", ".000Z")

    second = hashlib.sha256(canonical(content).encode()).hexdigest()

    assert document_hash(ProtocolDocument.model_validate(content)) == second
