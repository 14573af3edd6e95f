"""Every parser that meets bytes from outside does work linear in their length, whatever they are."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import pytest
from fastapi import Request
from joserfc.jwk import ECKey, KeySet
from pydantic import TypeAdapter

from schemas.events.access import PermitAnswer
from schemas.topics import STEPS as TOPICS
from schemas.trail import notes
from schemas.trail.bytes import decoded
from schemas.trail.permits import read_permit
from schemas.trail.tiles import tile_at
from schemas.wire import cloudevents, envelope
from schemas.wire.strict_json import parse_json
from services.audit.verifier import kit
from services.cli import directory_source
from services.governance.domain.areas import COLUMNS, read_areas
from services.notifications.api import DeskEntry
from services.referrals.domain.directory import judge_entries
from services.runtime.tokens import token_reader
from services.sector.api import asking, reading
from services.sector.domain.bodies import OfferRequest
from tests.support.builders import an_entry
from tests.support.clock import NOON, StoppedClock
from tests.support.steps import StepCounter, TooManySteps, counted_steps

SMALL, LARGE, RATIO_MAX = 6 * 1024, 24 * 1024, 5
"""Both beyond the 4,300 digits from which no integer is read any more."""
SHORT_STEPS: Final = 2_000
"""What a call may cost that looks at nothing: below this, ratios say nothing."""
STEPS_A_BYTE_MAX: Final = 40

HOSTILE: Final[Mapping[str, Callable[[int], bytes]]] = {
    "an unterminated string of escaped quotes": lambda size: b"[" * 33 + b'"' + b'\\"' * (size // 2),
    "brackets": lambda size: b"[" * size,
    "pairs of brackets": lambda size: b"[" + b"[]," * (size // 3) + b"[]]",
    "quotes": lambda size: b'"' * size,
    "backslashes": lambda size: b"[" * 33 + b'"' + b"\\" * size,
    "digits": lambda size: b"9" * size,
    "groups of digits": lambda size: b"1-1-1-1-1-1/" * (size // 12),
    "a fraction": lambda size: b"[0." + b"1" * size + b"]",
    "names": lambda size: b"{" + b",".join(b'"%d":1' % number for number in range(size // 9)) + b"}",
    "one name": lambda size: b"{" + b",".join([b'"a":1'] * (size // 6)) + b"}",
    "letters": lambda size: b"a" * size,
    "letters and colons": lambda size: b"a:" * (size // 2) + b" ",
    "blanks behind a semicolon": lambda size: b"application/json;" + b" " * size + b"\x00",
    "parameters": lambda size: b"application/cloudevents+json" + b"; charset = " * (size // 12),
    "commas": lambda size: b"," * size,
    "dots": lambda size: b"a." * (size // 2) + b"!",
    "at signs": lambda size: b"a@" * (size // 2),
    "line ends": lambda size: b"\n" * size,
    "lines": lambda size: b"a+b c\n" * (size // 6) + b"\n\xe2\x80\x94 a Yg==\n",
    "groups of a path": lambda size: b"0/" + b"x999/" * (size // 20 * 4) + b"999",
}  # fmt: skip


def record(value: bytes, **attributes: str) -> Callable[[], Any]:
    given = {"id": "1", "source": "urn:a", "specversion": "1.0", "type": "a.b"} | attributes
    return lambda: cloudevents.decode([(f"ce_{name}", held.encode()) for name, held in given.items()], value)


def texts(*parse: Callable[[str], object]) -> Callable[[bytes], list[Callable[[], object]]]:
    def calls(raw: bytes) -> list[Callable[[], object]]:
        text = raw.decode("latin-1")
        return [lambda one=one: one(text) for one in parse]  # type: ignore[misc]

    return calls


KEY: Final = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, auto_kid=True)
LOG_KEY: Final = notes.NamedKey("log.example/one", bytes(32))
ATTRIBUTES: Final = ("source", "subject", "time", "datacontenttype", "dataschema", "a")
ENTRY: Final = an_entry().model_dump(mode="json")
AREAS: Final = ",".join(COLUMNS) + "\nZZ,1,ZZ01,A,ZZ,\nZZ,1,ZZ02,"
ORGANIZATION: Final = {"id": "7f3d9a52-0c11-4f0e-9d35-1f2f0a6c1001", "name": "Harbour House"}


def directory_row(text: str) -> object:
    row = {"id": ORGANIZATION["id"], "status": "active", "name": "Shelter " + text, "assured_date": text}
    return directory_source.hsds_entry(row | {"organization": ORGANIZATION}, NOON)


def token(text: str) -> object:
    headers = [(b"authorization", b"Bearer " + text.encode("latin-1"))]
    reader = token_reader(KeySet([KEY]), issuer="a", audience="b", clock=StoppedClock())
    return reader(Request({"type": "http", "headers": headers}))


PARSERS: Final[Mapping[str, Callable[[bytes], list[Callable[[], object]]]]] = {
    "JSON": lambda raw: [lambda: parse_json(raw)],
    "record, structured": lambda raw: [
        lambda: cloudevents.decode([("content-type", b"application/cloudevents+json")], raw)
    ],
    "record, binary": lambda raw: [record(raw, datacontenttype="a/json")],
    "record's content type": lambda raw: [lambda: cloudevents.decode([("content-type", raw)], b"{}")],
    "record's headers": lambda raw: [
        lambda: cloudevents.decode([(f"ce_{name}", b"1") for name in raw[:9000].decode("latin-1")], b"")
    ],
    "record's attributes": lambda raw: [record(b"", **{name: raw.decode("latin-1")}) for name in ATTRIBUTES],
    "event": lambda raw: [
        lambda: envelope.read(
            TOPICS["health"], list(envelope.HEADERS), raw, raw, cell="test-local", mode="test"
        )
    ],
    "base64": texts(decoded),
    "note": texts(
        lambda text: notes.signed_checkpoint(text, LOG_KEY), notes.named_key, notes.read_checkpoint
    ),
    "permit": lambda raw: [
        lambda: TypeAdapter(PermitAnswer).validate_json(raw),
        lambda: read_permit(raw),
    ],
    "kit": lambda raw: [lambda: kit.read_opening(raw, 0)],
    "kit's texts": texts(kit.read_policy, kit.read_subject_keys),
    "token": texts(token, lambda text: token(f"{text}.{text}.{text}")),
    "path of a tile": texts(lambda text: tile_at(f"tile/{text}")),
    "If-Match": texts(lambda text: asyncio.run(asking.seen(text))),
    "id": texts(lambda text: asking.looks_like("case", text)),
    "cursor": texts(reading.place_of),
    "offer": lambda raw: [lambda: TypeAdapter(OfferRequest).validate_json(raw)],
    "mail address": texts(lambda text: DeskEntry.model_validate({"mail": text, "language": "en"})),
    "directory": texts(directory_row, lambda text: directory_source.needs_of([text])),
    "areas": texts(lambda text: read_areas(AREAS + text), lambda text: read_areas(f"{AREAS}{text},ZZ,\n")),
    "directory's batch": texts(lambda text: judge_entries([ENTRY | {"title": text}])),
}  # fmt: skip


@pytest.fixture(scope="module")
def counter() -> Iterator[StepCounter]:
    with counted_steps() as steps:
        yield steps


def price(parser: str, raw: bytes, counter: StepCounter) -> int:
    limit = STEPS_A_BYTE_MAX * len(raw) + SHORT_STEPS
    return sum(counter.steps_of(call, limit) for call in PARSERS[parser](raw))


def dearer_than_linear(parser: str, counter: StepCounter) -> Iterator[str]:
    for name, make in HOSTILE.items():
        try:
            small, large = (price(parser, make(size), counter) for size in (SMALL, LARGE))
        except TooManySteps:
            yield f"{name}: over {STEPS_A_BYTE_MAX} steps a byte"
        else:
            if large > max(RATIO_MAX * small, SHORT_STEPS):
                yield f"{name}: {small}, then {large}"


@pytest.mark.parametrize("parser", PARSERS)
def test_four_times_the_bytes_cost_at_most_five_times_the_steps(parser: str, counter: StepCounter) -> None:
    assert list(dearer_than_linear(parser, counter)) == []


def look_again_from_each(text: str) -> None:
    for at in range(len(text)):
        text.find("b", at)


@pytest.mark.parametrize(
    "parse", [partial(re.search, one) for one in ("a+b", "(a|a)*b", "(?:a*?)+?b")] + [look_again_from_each]
)
def test_the_counter_sees_what_is_tried_in_vain(parse: Callable[[str], object], counter: StepCounter) -> None:
    with pytest.raises(TooManySteps):
        counter.steps_of(lambda: parse("a" * 1024), STEPS_A_BYTE_MAX * 1024)
