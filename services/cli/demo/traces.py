"""Looks for strings in what lies on disk and in databases: raw, escaped as JSON does, in base64 anywhere."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

RAW, ESCAPED = "raw", "JSON-escaped"
SHIFTS: Final = ("base64 at 0", "base64 at 1", "base64 at 2")
FORMS: Final = (RAW, ESCAPED, *SHIFTS)
SEGMENTS, LOGS, DATABASE = "segments", "logs", "databases"
PLACES: Final = (SEGMENTS, LOGS, DATABASE)


def forms_of(text: str) -> Mapping[str, bytes]:
    """Each form in which a string could lie there; base64 at each of its three alignments."""
    raw = text.encode()
    forms = {RAW: raw, ESCAPED: json.dumps(text)[1:-1].encode("ascii")}
    return forms | {name: in_base64(raw, shift) for shift, name in enumerate(SHIFTS)}


def in_base64(raw: bytes, shift: int) -> bytes:
    """The characters that nothing before or after can change, `shift` bytes into a group of three."""
    encoded = base64.b64encode(bytes(shift) + raw)
    first = (shift * 8 + 5) // 6
    last = (shift + len(raw)) * 8 // 6
    return encoded[first:last]


def found_in(content: bytes, forms: Mapping[str, bytes]) -> Iterator[str]:
    """The forms that occur in the content; base64 also in its other alphabet."""
    for name, form in forms.items():
        other = form.replace(b"+", b"-").replace(b"/", b"_")
        if form in content or (other != form and other in content):
            yield name


def files_below(folder: Path) -> Iterator[Path]:
    """Every file, in a fixed order."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def content_of(values: Iterable[object]) -> bytes:
    """A database's values in one piece, as text and bytes lie in them."""
    pieces = (
        value if isinstance(value, bytes) else str(value).encode() for value in values if value is not None
    )
    return b"\n".join(pieces)
