"""The fictional agencies of the demo: the first organisations of the directory that the project ships."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).resolve().parents[3] / "deploy" / "local" / "directory" / "services.json"
DESK: Final = "duty"
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


@dataclass(frozen=True, slots=True)
class Offered:
    """A service of the directory that a referral can go to."""

    id: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Agency:
    """One agency, and what it plants."""

    id: str
    sector: str
    organization: str
    services: tuple[Offered, ...]
    language: str
    mail: str
    planted: str
    """A name inside its case numbers."""
    planted_key: str
    """A name inside its idempotency keys, which are ASCII without spaces."""

    @property
    def staff(self) -> tuple[str, str]:
        """Pseudonyms of the two people at work."""
        return f"{self.id}.1", f"{self.id}.2"

    @property
    def purpose(self) -> str:
        """What its people look at referrals for."""
        return PURPOSES[self.sector]


def agencies_of(directory: Path = DIRECTORY) -> tuple[Agency, ...]:
    """An agency for each of the first organisations, in the order of the directory."""
    rows_of = list(_organizations(directory).values())[: len(NAMES)]
    return tuple(_agency(place, rows) for place, rows in enumerate(rows_of))


def listed_only(directory: Path = DIRECTORY) -> Mapping[str, str]:
    """The organisations of the directory that take no part: id → name."""
    listed = tuple(_organizations(directory).items())[len(NAMES) :]
    return {organization: str(rows[0]["organization"]["name"]) for organization, rows in listed}


def _organizations(directory: Path) -> Mapping[str, Sequence[Any]]:
    found: dict[str, list[Any]] = {}
    for row in json.loads(directory.read_text(encoding="utf-8"))["contents"]:
        found.setdefault(row["organization"]["id"], []).append(row)
    return found


def _agency(place: int, rows: Sequence[Any]) -> Agency:
    organization = rows[0]["organization"]
    services = tuple(Offered(row["id"], tuple(_needs(row))) for row in rows if row["status"] == "active")
    name = NAMES[place]
    return Agency(
        id=slug(organization["name"]),
        sector=sector_of(need for each in services for need in each.needs),
        organization=organization["id"],
        services=services,
        language=LANGUAGES[place % len(LANGUAGES)],
        mail=f"desk-{place + 1}@mail.example",
        planted=name,
        planted_key=f"{name.encode('ascii', 'replace').decode().replace('?', 'x').replace(' ', '.')}",
    )


def slug(title: str) -> str:
    """An organisation's name as an agency id."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower().replace("'", "")).strip("-")[:31].rstrip("-")


def sector_of(needs: Iterable[str]) -> str:
    """The sector of whoever answers these needs."""
    return next((SECTOR_BY_NEED[need] for need in needs if need in SECTOR_BY_NEED), "social_services")


def _needs(row: Any) -> Iterable[str]:
    return (attribute["taxonomy_term"]["code"] for attribute in row["attributes"])
