"""Reads directories as their publishers write them: HSDS 3.0 JSON, and the layout of a legal-aid directory.

Only titles, ids, status, dates, needs, areas, languages and access are taken; telephone numbers, e-mail
addresses, street addresses and coordinates are never looked at. Areas, languages and access are codes and
nothing else: no sentence is guessed at, for "no step-free access" is a sentence too.
"""

import csv
import io
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from schemas.events.codes import ACCESS_NEEDS, NEEDS
from schemas.events.directory import TITLE_CHARACTERS_MAX, ServiceRegistered
from schemas.wire.strict_json import RepeatedName, parse_any_text, shows_itself
from services.runtime.errors import define_refusal

DESK: Final = "duty"
"""The desk that answers until an agency registers another."""
TERM_CHARACTERS_MAX: Final = 300
"""How much of a name or a term is looked at for the needs that it tells of."""
DAY_AHEAD: Final = timedelta(hours=14)
"""How far the earliest zone is ahead of UTC: a date without a zone may be today's there."""
NAMESPACE: Final = uuid.UUID("5b0f4c1e-8f0a-5c0e-9a39-6f6d2f1c7a11")
"""From it come the ids of what its publisher names by something other than a UUID."""
LEGAL_AID_COLUMNS: Final = {"service_uuid", "service_name", "organization_uuid"}

NEED_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "medical_care": ("medical", "health care", "health clinic", "hospital"),
    "psychosocial_support": ("counselling", "counseling", "psychosocial", "mental health"),
    "safety_planning": ("safety planning",),
    "safe_shelter": ("shelter", "refuge", "safe house"),
    "legal_aid": ("legal",),
    "police_protection": ("police",),
    "child_protection": ("child protection", "safeguarding"),
    "school_support": ("school",),
    "livelihood_support": ("livelihood", "vocational"),
    "case_coordination": ("case management", "case coordination"),
}
"""Need → the words in a service's name or taxonomy terms that tell of it."""

_NEED_OF: Final = {word: need for need, words in NEED_WORDS.items() for word in words}
_WORDS: Final = re.compile(r"\b(" + "|".join(sorted(_NEED_OF, key=len, reverse=True)) + r")\b")
AREA_URI: Final = re.compile(r"urn:p-code:([A-Z]{2}[A-Z0-9]{0,8})")
"""How a service area of HSDS names a p-code, in its `uri`."""
LANGUAGE: Final = re.compile(r"([a-z]{2,3})")
_CONTACT: Final = re.compile(r"\S+@\S+|\+?\d(?:[\s().-]?\d){6,}")
_YEAR, _MONTH, _DAY = "(?:19|20)[0-9]{2}", "(?:0?[1-9]|1[0-2])", "(?:0?[1-9]|[12][0-9]|3[01])"
_DATES: Final = re.compile(rf"{_YEAR}-{_YEAR}|{_YEAR}[.-]{_MONTH}[.-]{_DAY}|{_DAY}[.-]{_MONTH}[.-]{_YEAR}")
"""Seven digits and more that are no telephone number."""
_NOT_UTF_8: Final = re.compile("[\udc80-\udcff]")
"""How Python keeps bytes that could not be decoded (PEP 383)."""

NothingToRead: Final = define_refusal(
    __name__, "nothing_to_read", "name a file or folder of HSDS 3.0 JSON, or a folder of the legal-aid layout"
)


class DirectoryRow(NamedTuple):
    """What can be taken, and where it stands."""

    source: str
    row: int
    entry: ServiceRegistered


class RefusedRow(NamedTuple):
    """What is not taken: where it stands, the field at fault, a code; never the value."""

    source: str
    row: int
    field: str
    code: str


class SourcePage(NamedTuple):
    """A document that is one of several by its own words."""

    source: str
    page: int
    of: int


Row = Mapping[str, Any]
Finding = DirectoryRow | RefusedRow | SourcePage


def read_directory(path: Path, at: datetime) -> Iterator[Finding]:
    """Everything that a path holds, in a layout that is known; of each service the first entry alone.

    Raises NothingToRead.
    """
    seen: set[str] = set()
    for one in _all_of(path, at):
        if isinstance(one, DirectoryRow) and one.entry.service in seen:
            yield RefusedRow(one.source, one.row, "service", "repeated")
            continue
        if isinstance(one, DirectoryRow):
            seen.add(one.entry.service)
        yield one


def from_hsds(source: str, document: Any, imported_at: datetime) -> Iterator[Finding]:
    """The services of an HSDS 3.0 document: a page, a list or one, of services or of organisations."""
    contents = document
    if isinstance(document, Mapping):
        number, total = document.get("page_number"), document.get("total_pages")
        if isinstance(number, int) and isinstance(total, int) and total > 1:
            yield SourcePage(source, number, total)
        contents = document.get("contents")
    for row, content in enumerate(contents if isinstance(contents, list) else [document], start=1):
        for place, service in _services_of(content):
            yield _judged(source, row, place, partial(hsds_entry, service, imported_at))


def hsds_entry(row: Any, imported_at: datetime) -> ServiceRegistered:
    """One service of HSDS 3.0; raises Unfit."""
    if not isinstance(row, Mapping) or not {"organization", "organization_id", "status"} & row.keys():
        raise Unfit("service", "not_a_service")
    organization = row.get("organization")
    if not isinstance(organization, Mapping):
        raise Unfit("organization", "missing")
    needs = needs_of([str(row.get("name", "")), *_terms(row)])
    if not needs:
        raise Unfit("attributes", "no_known_need")
    return _entry(
        service=_uuid(row.get("id"), "id"),
        organization=_uuid(organization.get("id"), "organization.id"),
        title=_title(row.get("name"), "name"),
        organization_title=_title(organization.get("name"), "organization.name"),
        status=row.get("status"),
        needs=needs,
        areas=_codes(row, "service_areas", "uri", AREA_URI),
        languages=_codes(row, "languages", "code", LANGUAGE),
        access_needs=tuple(sorted(ACCESS_NEEDS.intersection(map(_as_code, _terms(row))))),
        confirmed_at=_confirmed_at(row, imported_at),
    )


def needs_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The needs that these names and terms tell of: by code, else by the words of the table."""
    found: set[str] = set()
    for text in (text[:TERM_CHARACTERS_MAX].casefold().strip() for text in texts):
        code = _as_code(text)
        found |= {code} if code in NEEDS else {_NEED_OF[word] for word in _WORDS.findall(text)}
    return tuple(sorted(found))


class Unfit(Exception):
    """Something in a row that keeps it from being taken: the field at fault, and a code."""


def _all_of(path: Path, at: datetime) -> Iterator[Finding]:
    if path.name == "services.csv" or (path / "services.csv").is_file():
        yield from _legal_aid(path if path.is_dir() else path.parent, at)
        return
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise NothingToRead
    for file in files:
        try:
            document = parse_any_text(_text(file).encode("utf-8", "surrogateescape"), "surrogateescape")
        except ValueError as error:
            code = "repeated_name" if isinstance(error, RepeatedName) else "not_json"
            yield RefusedRow(file.name, 0, "document", code)
        else:
            yield from from_hsds(file.name, document, at)


def _legal_aid(folder: Path, at: datetime) -> Iterator[Finding]:
    """The services of a legal-aid directory, all of one need: tables of services and of organisations."""
    try:
        services, organizations = _table(folder / "services.csv"), _table(folder / "organizations.csv")
    except (OSError, ValueError, csv.Error):
        raise NothingToRead from None
    if not services or not services[0].keys() >= LEGAL_AID_COLUMNS:
        raise NothingToRead
    titles = {row.get("organization_uuid"): row.get("organization_name") for row in organizations}
    for number, row in enumerate(services, start=2):  # the first line names the columns
        yield _judged("services.csv", number, "", partial(_legal_aid_entry, row, titles, at))


def _legal_aid_entry(row: Row, titles: Mapping[Any, Any], imported_at: datetime) -> ServiceRegistered:
    if row["organization_uuid"] not in titles:
        raise Unfit("organization_uuid", "unknown_organization")
    return _entry(
        service=_uuid_from(row["service_uuid"], "service_uuid"),
        organization=_uuid_from(row["organization_uuid"], "organization_uuid"),
        title=_title(row["service_name"], "service_name"),
        organization_title=_title(titles[row["organization_uuid"]], "organization_name"),
        status="active",
        needs=("legal_aid",),
        confirmed_at=imported_at,
    )


def _table(file: Path) -> Sequence[dict[str, str]]:
    text = _text(file)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # a field too long costs its row alone
    table = csv.DictReader(io.StringIO(text, newline=""))
    columns = [name for name in table.fieldnames or () if name]
    if len(set(columns)) < len(columns):
        raise ValueError
    return list(table)


def _text(file: Path) -> str:
    """A file as text; bytes that are no UTF-8 stay marked, and cost the rows in which they stand."""
    raw = file.read_bytes()
    return raw.decode(json.detect_encoding(raw), "surrogateescape")


def _judged(source: str, row: int, place: str, read: Callable[[], ServiceRegistered]) -> Finding:
    try:
        return DirectoryRow(source, row, read())
    except Unfit as unfit:
        field, code = unfit.args
        return RefusedRow(source, row, place + field, code)


def _services_of(row: Any) -> Iterator[tuple[str, Any]]:
    """A row itself; of an organisation each of its services, with the place where that stands in it."""
    own = row.get("services") if isinstance(row, Mapping) and "organization" not in row else None
    if not own or not isinstance(own, list):
        yield "", row
        return
    itself = {name: row.get(name) for name in ("id", "name")}
    for place, service in enumerate(own, start=1):
        is_row = isinstance(service, Mapping)
        yield f"services.{place}.", {"organization": itself, **service} if is_row else service


def _as_code(text: str) -> str:
    return text.casefold().strip().replace(" ", "_").replace("-", "_")


def _codes(row: Row, table: str, column: str, form: re.Pattern[str]) -> tuple[str, ...]:
    """The codes in a column of a row's own table; whatever is none says nothing."""
    rows = row.get(table)
    texts = [one.get(column) for one in rows if isinstance(one, Mapping)] if isinstance(rows, list) else []
    found = [form.fullmatch(text) for text in texts if isinstance(text, str)]
    return tuple(sorted({code[1] for code in found if code}))


def _terms(row: Row) -> Iterator[str]:
    attributes = row.get("attributes")
    for attribute in attributes if isinstance(attributes, list) else []:
        term = attribute.get("taxonomy_term") if isinstance(attribute, Mapping) else None
        if isinstance(term, Mapping):
            yield from (str(term[name]) for name in ("code", "name", "term") if term.get(name))


def _entry(**content: Any) -> ServiceRegistered:
    try:
        return ServiceRegistered.model_validate({"desk": DESK, **content})
    except ValidationError as error:
        raise Unfit(str(error.errors(include_input=False)[0]["loc"][0]), "invalid") from None


def _confirmed_at(row: Row, imported_at: datetime) -> datetime:
    """When somebody last confirmed the entry; raises Unfit for what is no date or lies ahead."""
    for field in ("assured_date", "last_modified"):
        if row.get(field):
            try:
                at = datetime.fromisoformat(row[field])
            except (ValueError, TypeError):
                raise Unfit(field, "not_a_date") from None
            ahead = timedelta() if at.tzinfo else DAY_AHEAD
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            if at > imported_at + ahead:
                raise Unfit(field, "in_the_future")
            return min(at, imported_at)
    return imported_at


def _uuid(found: Any, field: str) -> str:
    try:
        return str(uuid.UUID(found))
    except (ValueError, AttributeError, TypeError):
        raise Unfit(field, "not_a_uuid") from None


def _uuid_from(found: str, field: str) -> str:
    """The publisher's own id if it is a UUID, else one that is always made of it."""
    if not found:
        raise Unfit(field, "missing")
    try:
        return _uuid(found, field)
    except Unfit:
        return str(uuid.uuid5(NAMESPACE, _plain(found, field)))


def _title(found: Any, field: str) -> str:
    text = " ".join(_plain(found, field).split()) if isinstance(found, str) else ""
    if not text:
        raise Unfit(field, "missing")
    if len(text) > TITLE_CHARACTERS_MAX:
        raise Unfit(field, "too_long")
    if any(not _DATES.fullmatch(contact[0]) for contact in _CONTACT.finditer(text)):
        raise Unfit(field, "holds_a_contact")
    return text


def _plain(text: str, field: str) -> str:
    """The text, if each of its characters shows itself."""
    if _NOT_UTF_8.search(text):
        raise Unfit(field, "windows_1252")
    if text.strip() and not shows_itself(text):
        raise Unfit(field, "hidden_character")
    return text
