"""The fictional agencies of the demo: the first organisations of the directory that the project ships."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from schemas.events.directory import ServiceRegistered
from services.cli.agency_client import AgencyAccount
from services.cli.directory_source import DirectoryRow, read_directory
from services.runtime.clock import SystemClock

DIRECTORY: Final = Path(__file__).resolve().parents[3] / "deploy" / "local" / "directory" / "services.json"
LANGUAGES: Final = ("en", "fr", "es", "ar", "sw")
SECTOR_BY_NEED: Final[Mapping[str, tuple[str, str]]] = {
    "medical_care": ("health", "care"),
    "police_protection": ("police", "protection"),
    "school_support": ("education", "schooling"),
    "case_coordination": ("social_services", "protection"),
    "safe_shelter": ("civil_society", "shelter"),
}
"""A need, with the sector and purpose of whoever answers it; the first row that an agency answers counts."""
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
    "Solveig Ndayishimiyé",
)
"""Invented names, one for each agency: it writes its own into numbers and keys, where no name belongs.

As many agencies as names take part; the directory's further organisations are listed only."""


def fictional_agencies() -> tuple[AgencyAccount, ...]:
    """An agency for each of the first organisations, in the order of the directory."""
    taking_part = list(_organizations().values())[: len(NAMES)]
    return tuple(_agency(place, entries) for place, entries in enumerate(taking_part))


def listed_only() -> Mapping[str, str]:
    """The organisations of the directory that take no part: id → name."""
    listed = tuple(_organizations().items())[len(NAMES) :]
    return {organization: entries[0].organization_title for organization, entries in listed}


def slug(title: str) -> str:
    """An organisation's name as an agency id."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower().replace("'", "")).strip("-")[:31].rstrip("-")


def _organizations() -> Mapping[str, Sequence[ServiceRegistered]]:
    found: dict[str, list[ServiceRegistered]] = defaultdict(list)
    for one in read_directory(DIRECTORY, SystemClock().now()):
        if isinstance(one, DirectoryRow):
            found[one.entry.organization].append(one.entry)
    return found


def _agency(place: int, entries: Sequence[ServiceRegistered]) -> AgencyAccount:
    services = {entry.service: entry.needs for entry in entries if entry.status == "active"}
    needs = {need for answered in services.values() for need in answered}
    sector, purpose = next(found for need, found in SECTOR_BY_NEED.items() if need in needs)
    name = NAMES[place]
    name_in_keys = name.encode("ascii", "replace").decode().replace("?", "x").replace(" ", ".")
    return AgencyAccount(
        id=slug(entries[0].organization_title),
        title=entries[0].organization_title,
        sector=sector,
        purpose=purpose,
        services=services,
        organization=entries[0].organization,
        language=LANGUAGES[place % len(LANGUAGES)],
        mail=f"desk-{place + 1}@mail.example",
        planted=(name, name_in_keys),
    )
