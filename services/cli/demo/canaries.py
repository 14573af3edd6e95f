"""What the demo's packets hold: a canary in every field that holds words, numbers or times of its own."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.events.packet import FIELD_ROWS
from services.runtime.ids import random_bytes

WORDS: Final = "Zörgelwick Æquinox"
NUMBER: Final = "+999 4071 5563"
INSTANT: Final = "1993-02-17T03:14:15."
MARKERS: Final = (WORDS, NUMBER, INSTANT)
"""Each canary begins with one of these, whatever its field lets it hold; nothing else does."""
CODES: Final[Mapping[str, Any]] = {
    "protection.violence_types": ["physical_assault", "psychological_abuse"],
    "protection.perpetrator_relation": "former_partner",
    "protection.children": ["5_to_11"],
    "clinical.pep": "given",
    "clinical.emergency_contraception": "not_needed",
    "clinical.hiv": "not_tested",
    "clinical.pregnancy": "not_tested",
    "legal.wish": "wants_advice",
    "legal.displacement": "resident",
}
"""Fields of a closed list: they have no room for a canary."""
_HOURS: Final = {"days": ["monday", "thursday"], "from_time": "09:00", "until_time": "16:00"}


BEGINNINGS: Final[Mapping[str, str]] = {
    f"{group}.{field}": {"phone": NUMBER, "incident_at": INSTANT}.get(field, f"{WORDS} {group}.{field}")
    for group, rows in FIELD_ROWS.items()
    for field in rows
    if f"{group}.{field}" not in CODES
}
"""Field → how its canaries begin, and those of no other field."""


def new_packet() -> dict[str, dict[str, Any]]:
    """All six groups, every field filled, no two canaries alike."""
    return {group: {field: _content(group, field) for field in rows} for group, rows in FIELD_ROWS.items()}


def _content(group: str, field: str) -> Any:
    name = f"{group}.{field}"
    if name in CODES:
        return CODES[name]
    match field:
        case "safe_contact":
            rules = {"channels": ["call"], "hours": [_HOURS], "zone": "Africa/Nairobi"}
            return rules | {"code_word": _words(f"{name}.code_word")}
        case "phone":
            return f"{NUMBER} {int.from_bytes(random_bytes(3)):08}"
        case "incident_at":
            return f"{INSTANT}{int.from_bytes(random_bytes(2)):06}Z"
    return _words(name)


def _words(name: str) -> str:
    return f"{WORDS} {name} {random_bytes(6).hex()}"
