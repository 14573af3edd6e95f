"""Write the contract for other systems: JSON Schemas in two forms, and the AsyncAPI document.

    python -m schemas.publishing             writes `schemas/published/`
    python -m schemas.publishing --check     says which files differ from the classes; exit 1
    python -m schemas.publishing --release   also freezes every file: from then on it may never change

The producer form is closed (writers are checked against it), the consumer form is open (readers ignore what
they do not know). Only keywords that mean the same in JSON Schema 2020-12, draft-07 and OpenAPI 3.1 are used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from schemas.events import directory, governance, referral
from schemas.publishing.asyncapi import document
from schemas.publishing.outside import envelope_schema, sealed_schema
from schemas.publishing.simple_schema import DIALECT, simple_schema
from schemas.topics import TOPICS
from schemas.wire.body import Body
from schemas.wire.envelope import dataschema_of

PUBLISHED: Final = Path(__file__).parent.parent / "published"
RELEASED: Final = "released.json"
NEVER_RELEASED: Final = frozenset({"asyncapi.json", RELEASED})
"""The AsyncAPI document grows with every topic; what it points to does not change."""

BODIES: Final[Mapping[str, type[Body]]] = {
    **referral.STEPS,
    **referral.FACTS,
    **directory.BODIES,
    **governance.BODIES,
}
PROTOCOL_DOCUMENT: Final = "urn:concert:schema:governance.protocol_document:1.0"


def producer_form(model: type[BaseModel], name: str) -> dict[str, Any]:
    """The closed schema that writers are checked against."""
    return {"$schema": DIALECT, "$id": name, **simple_schema(model, closed=True)}


def consumer_form(model: type[BaseModel], name: str) -> dict[str, Any]:
    """The open schema that readers rely on."""
    return {"$schema": DIALECT, "$id": f"{name}:consumer", **simple_schema(model, closed=False)}


def file_name(schema_id: str) -> str:
    """Where a schema lies: `urn:concert:schema:referral.accepted:1.0` is `referral.accepted-1.0.json`."""
    name, version, *form = schema_id.removeprefix("urn:concert:schema:").split(":")
    return ".".join([f"{name}-{version}", *form, "json"])


def published() -> dict[str, str]:
    """Every file of `published/` as the classes and tables say it must be."""
    schemas = list(_schemas())
    return {file_name(schema["$id"]): text_of(schema) for schema in schemas} | {
        "asyncapi.json": text_of(document(TOPICS, BODIES))
    }


def _schemas() -> Iterator[dict[str, Any]]:
    named: dict[str, type[BaseModel]] = {dataschema_of(body): body for body in BODIES.values()}
    for name, model in (named | {PROTOCOL_DOCUMENT: governance.ProtocolDocument}).items():
        yield producer_form(model, name)
        yield consumer_form(model, name)
    yield envelope_schema()
    for outer in sorted({topic.outer for topic in TOPICS if topic.outer}):
        yield sealed_schema(outer)


def text_of(content: object) -> str:
    """JSON as people read it in a review."""
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def hash_of(text: str) -> str:
    """SHA-256 of a file's text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def differences(folder: Path = PUBLISHED) -> list[str]:
    """Names of files that are missing, differ from the classes, or that nothing makes and nobody released."""
    wanted, released = published(), released_hashes(folder)
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.json") if path.name != RELEASED}
    stray = found.keys() - wanted.keys() - released.keys()
    return sorted(stray | {name for name, text in wanted.items() if found.get(name) != text})


def broken_releases(folder: Path = PUBLISHED) -> list[str]:
    """Names of released files that somebody changed or took away."""
    return sorted(
        name
        for name, known in released_hashes(folder).items()
        if not (folder / name).exists() or hash_of((folder / name).read_text("utf-8")) != known
    )


def released_hashes(folder: Path = PUBLISHED) -> dict[str, str]:
    """File name → SHA-256 of every file that was released."""
    path = folder / RELEASED
    hashes: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return hashes


class ChangedRelease(Exception):
    """A released file would change: give the class a new minor version, or a break a new major one."""


def publish(folder: Path = PUBLISHED, *, release: bool = False) -> None:
    """Write what the classes say; a released file is never written again."""
    wanted, released = published(), released_hashes(folder)
    changed = [name for name, known in released.items() if name in wanted and hash_of(wanted[name]) != known]
    if changed:
        raise ChangedRelease(", ".join(sorted(changed)))
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.json"):
        if path.name not in wanted and path.name not in released and path.name != RELEASED:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, "utf-8")
    if release:
        new = {name: hash_of(text) for name, text in wanted.items() if name not in NEVER_RELEASED}
        (folder / RELEASED).write_text(text_of(dict(sorted((released | new).items()))), "utf-8")


def main() -> int:
    """The command."""
    arguments = argparse.ArgumentParser(
        prog="python -m schemas.publishing", description="Publish the contract."
    )
    arguments.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    arguments.add_argument("--release", action="store_true", help="freeze what is published now")
    asked = arguments.parse_args()
    if not asked.check:
        publish(release=asked.release)
        return 0
    found = sorted({*differences(), *broken_releases()})
    sys.stdout.write(
        "".join(f"schemas/published/{name} differs; run python -m schemas.publishing\n" for name in found)
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
