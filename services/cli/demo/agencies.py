"""The fictional agencies of the demo: the first organisations of the directory that the project ships."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from services.cli.agency_client import AgencyAccount

DIRECTORY: Final = Path(__file__).resolve().parents[3] / "deploy" / "local" / "directory" / "services.json"
LANGUAGES: Final = ("en", "fr", "es", "ar", "sw")
SECTOR_BY_NEED: Final[Mapping[str, str]] = {
    "medical_care": "health",
    "police_protection": "police",
    "school_support": "education",
}
"""A need that only one sector answers; whoever answers none of these is of the social services."""
PURPOSES: Final[Mapping[str, str]] = {
    "health": "care",
    "police": "protection",
    "social_services": "shelter",
    "education": "schooling",
}
NAMES: Final = (
    "Ysolde Brannigåle",
    "Temperance Okwuosá",
    "Marisela Vantongerén",
    "Zuleikha Orlovay",
    "Perpetua Mwangalé",
    "Ginevra Støltenmark",
    "Anahí Quillcamayo",
    "Thandiwe Rosenqvist",
    "Fenella Abdulrashíd",
    "Oriane Kalashnikár",
    "Wilhelmina Ñustawayra",
    "Chidinma Fairweathér",
)
"""Invented names, one for each agency: it writes its own into numbers and keys, where no name belongs.

As many agencies as names take part; the directory's further organisations are listed only."""


def fictional_agencies() -> tuple[AgencyAccount, ...]:
    """An agency for each of the first organisations, in the order of the directory."""
    rows_of = list(_organizations().values())[: len(NAMES)]
    return tuple(_agency(place, rows) for place, rows in enumerate(rows_of))


def listed_only() -> Mapping[str, str]:
    """The organisations of the directory that take no part: id → name."""
    listed = tuple(_organizations().items())[len(NAMES) :]
    return {organization: str(rows[0]["organization"]["name"]) for organization, rows in listed}


def slug(title: str) -> str:
    """An organisation's name as an agency id."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower().replace("'", "")).strip("-")[:31].rstrip("-")


def _organizations() -> Mapping[str, Sequence[Any]]:
    found: dict[str, list[Any]] = {}
    for row in json.loads(DIRECTORY.read_text(encoding="utf-8"))["contents"]:
        found.setdefault(row["organization"]["id"], []).append(row)
    return found


def _agency(place: int, rows: Sequence[Any]) -> AgencyAccount:
    organization = rows[0]["organization"]
    services = {row["id"]: _needs(row) for row in rows if row["status"] == "active"}
    sector = _sector_of(need for needs in services.values() for need in needs)
    name = NAMES[place]
    name_in_keys = name.encode("ascii", "replace").decode().replace("?", "x").replace(" ", ".")
    return AgencyAccount(
        id=slug(organization["name"]),
        sector=sector,
        purpose=PURPOSES[sector],
        services=services,
        organization=organization["id"],
        language=LANGUAGES[place % len(LANGUAGES)],
        mail=f"desk-{place + 1}@mail.example",
        planted=(name, name_in_keys),
    )


def _sector_of(needs: Iterable[str]) -> str:
    return next((SECTOR_BY_NEED[need] for need in needs if need in SECTOR_BY_NEED), "social_services")


def _needs(row: Any) -> tuple[str, ...]:
    return tuple(attribute["taxonomy_term"]["code"] for attribute in row["attributes"])
