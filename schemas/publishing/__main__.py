"""Write the contract for other systems: JSON Schemas in two forms, and the AsyncAPI document.

    python -m schemas.publishing             writes `schemas/published/`
    python -m schemas.publishing --check     says which files differ from the classes; exit 1

The producer form is closed (writers are checked against it), the consumer form is open (readers ignore what
they do not know). Only keywords that mean the same in JSON Schema 2020-12, draft-07 and OpenAPI 3.1 are used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from schemas.events.governance import ProtocolDocument
from schemas.events.packet import GROUP_MODELS, GROUP_SCHEMA
from schemas.publishing.asyncapi import document
from schemas.publishing.envelope_schemas import envelope_schema, sealed_schema
from schemas.publishing.simple_schema import DIALECT, simple_schema
from schemas.topics import TOPICS
from schemas.wire.body import Body
from schemas.wire.envelope import dataschema_of

PUBLISHED: Final = Path(__file__).parent.parent / "published"
BODIES: Final[Mapping[str, type[Body]]] = {
    short: body for topic in TOPICS for short, body in topic.carries.items()
}
"""Short type → class of every event that some topic carries."""
DOCUMENTS: Final[Mapping[str, type[BaseModel]]] = {
    "urn:concert:schema:governance.protocol_document:1.0": ProtocolDocument,
    **{GROUP_SCHEMA.format(group=group): model for group, model in GROUP_MODELS.items()},
}
"""What agencies and governance write down and no topic carries by itself."""


def published() -> dict[str, str]:
    """Every file of `published/` as the classes and tables say it must be."""
    schemas = {file_name(schema["$id"]): text_of(schema) for schema in _schemas()}
    return schemas | {"asyncapi.json": text_of(document(TOPICS))}


def differences(folder: Path = PUBLISHED) -> list[str]:
    """Names of files that are missing, differ from the classes, or that nothing makes."""
    wanted = published()
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


def publish(folder: Path = PUBLISHED) -> None:
    """Write what the classes say, and take away what nothing makes."""
    wanted = published()
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, "utf-8")


def file_name(schema_id: str) -> str:
    """Where a schema lies: `urn:concert:schema:referral.accepted:1.0` is `referral.accepted-1.0.json`."""
    name, version, *form = schema_id.removeprefix("urn:concert:schema:").split(":")
    return ".".join([f"{name}-{version}", *form, "json"])


def text_of(content: object) -> str:
    """JSON as people read it in a review."""
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _schemas() -> Iterator[dict[str, Any]]:
    models: dict[str, type[BaseModel]] = {dataschema_of(body): body for body in BODIES.values()}
    for name, model in {**models, **DOCUMENTS}.items():
        yield {"$schema": DIALECT, "$id": name, **simple_schema(model, closed=True)}
        yield {"$schema": DIALECT, "$id": f"{name}:consumer", **simple_schema(model, closed=False)}
    yield envelope_schema()
    for outer in sorted({topic.outer for topic in TOPICS if topic.outer}):
        yield sealed_schema(outer)


def main() -> int:
    """The command."""
    arguments = argparse.ArgumentParser(
        prog="python -m schemas.publishing", description="Publish the contract."
    )
    arguments.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    if not arguments.parse_args().check:
        publish()
        return 0
    found = differences()
    sys.stdout.writelines(
        f"schemas/published/{name} differs; run python -m schemas.publishing\n" for name in found
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
