"""The OpenAPI documents say what the routes are: made from them, with every refusal that a service knows."""

import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import httpx2
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from deploy.local.processes import ISSUER_PROCESS, PROCESSES
from schemas.events import codes, consent, facts
from schemas.publishing.__main__ import PUBLISHED
from schemas.topics import SECTORS
from schemas.wire.body import CODE_LIST
from services.governance.api.partners import described_app as described_partnership
from services.notifications.api import described_app as described_desks
from services.runtime.errors import Refused
from services.runtime.openapi import document_of, text_of
from services.runtime.refusals import NO_ROUTE
from services.sector.api import described_app
from tests.contract.test_sectors import WRITTEN

APPS: Final[Mapping[str, Callable[[], FastAPI]]] = {
    "notifications": described_desks,
    "governance": described_partnership,
    **{profile.name: partial(described_app, profile) for profile in WRITTEN},
}
DOCUMENTS: Final = {
    name: json.loads((PUBLISHED / "openapi" / f"{name}.json").read_text("utf-8")) for name in APPS
}
INTERNAL_ALONE: Final = frozenset(
    {
        "services.runtime.health.NotReady",
        "services.runtime.refusals.OperatorOnly",
        "services.runtime.refusals.OperationsOnly",
        "services.runtime.refusals.NamedServiceOnly",
        "services.runtime.refusals.SecondPersonNeeded",
        "services.runtime.refusals.ReaderElsewhere",
        "services.runtime.refusals.OffsetMoved",
        "services.runtime.refusals.NoSuchOffset",
        "services.runtime.refusals.BeyondInbox",
        "services.runtime.refusals.NothingKept",
        "services.runtime.refusals.SendsAlready",
        "services.runtime.refusals.NotAwaited",
        "services.runtime.refusals.NothingStands",
        "services.runtime.refusals.NotWritten",
        "services.runtime.refusals.OtherCount",
        "services.runtime.refusals.NothingWaits",
        "services.runtime.refusals.NoSuchLetter",
        "services.runtime.refusals.NotCsv",
        "services.runtime.token_client.TokenRefused",
        "services.runtime.forms.NotAForm",
        "services.runtime.refusals.TableTooLarge",
    }
)
"""Refusals that only internal ports answer, the partners' to a table, or a client of the issuer meets."""
OPERATORS: Final = ("services.governance.domain.publications.", "services.governance.domain.founding.")
"""What governance refuses to the operator alone."""
DEFINED_IN: Final = {"notifications": ("runtime", "notifications"), "governance": ("governance",)}
"""Where the refusals of a port that is no sector's are defined; partners need no admission as agencies."""


def inner(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        yield node
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from inner(one)


def codes_of(document: Mapping[str, Any]) -> set[str]:
    return {
        name.partition(".")[2] for name in document["components"]["schemas"] if name.startswith("problem.")
    }


def test_every_agencies_port_has_a_document() -> None:
    """The operators' port serves pages."""
    ports = {process.name for process in PROCESSES if "api" in process.ports}
    published = {path.stem for path in (PUBLISHED / "openapi").iterdir()}

    assert ports - {ISSUER_PROCESS, "operations"} == APPS.keys() == published


@pytest.mark.parametrize("name", APPS)
def test_what_is_published_is_what_the_routes_say(name: str) -> None:
    published = (PUBLISHED / "openapi" / f"{name}.json").read_text("utf-8")

    assert text_of(APPS[name]()) == published, "run ./concert dev schemas"


@pytest.mark.parametrize("name", APPS)
def test_every_reference_leads_somewhere_and_every_schema_is_one(name: str) -> None:
    document = DOCUMENTS[name]

    for node in inner(document):
        found: Any = document
        for step in node.get("$ref", "#/")[2:].split("/"):
            found = found[step.replace("~1", "/")] if step else found
        if "schema" in node:
            Draft202012Validator.check_schema(node["schema"])
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert document["openapi"].startswith("3.1.")
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)


def refusals_of(*folders: str) -> set[type[Refused]]:
    """Every refusal that the modules of these folders define."""
    for folder in folders:
        package = importlib.import_module(f"services.{folder}")
        for module in pkgutil.walk_packages(package.__path__, f"services.{folder}."):
            if "migration" not in module.name and "__main__" not in module.name:
                importlib.import_module(module.name)
    known = [*Refused.__subclasses__()]
    for one in known:
        known += one.__subclasses__()
    return {one for one in known if one.__module__.split(".")[1] in folders}


@pytest.mark.parametrize("name", APPS)
def test_a_document_names_every_refusal_that_its_service_knows(name: str) -> None:
    own = refusals_of(*DEFINED_IN.get(name, ("runtime", "sector")))
    told = codes_of(DOCUMENTS[name]) | {one.code for one in NO_ROUTE}

    missing = {f"{one.__module__}.{one.__qualname__}" for one in own if one.code not in told}

    missing -= {
        one
        for one in missing
        if one.startswith(
            (
                "services.governance.domain.publications.",
                "services.governance.domain.founding.",
                "services.runtime.consoles.",
            )
        )
    }  # the operator's, and what people read on pages
    # Internal ports answer a stranger with the code that a sector has for an unknown referral.
    assert missing - {"services.runtime.errors.NotFound", "services.sector.domain.refusals.SectorsOnly"} == (
        INTERNAL_ALONE if "runtime" in DEFINED_IN.get(name, ("runtime",)) else set()
    ), "mark the route that refuses with @refuses, or name it in runtime/openapi.py"


@pytest.mark.parametrize("profile", WRITTEN, ids=lambda profile: profile.name)
def test_a_sectors_document_holds_every_code_list(profile: Any) -> None:
    document = DOCUMENTS[profile.name]

    shown = {tuple(node[CODE_LIST]) for node in inner(document) if CODE_LIST in node}

    lists = (
        codes.NEEDS, codes.ACCESS_NEEDS, codes.CANCEL_REASONS, codes.CLOSE_REASONS,
        codes.OUTCOMES, codes.FEEDBACK, consent.PURPOSES, SECTORS, facts.FACTS,
    )  # fmt: skip
    assert {tuple(sorted(codes)) for codes in lists} < shown
    declines = document["components"]["schemas"]["DeclineReferralRequest"]["properties"]["reason"]
    assert set(declines[CODE_LIST]) == profile.decline_reasons


def test_a_service_prints_its_document() -> None:
    command = (sys.executable, "-m", "services.notifications", "openapi")

    printed = subprocess.run(command, cwd=PUBLISHED.parents[1], capture_output=True, check=True)

    assert json.loads(printed.stdout) == DOCUMENTS["notifications"]


async def test_a_port_serves_its_document_without_a_token_and_tells_what_it_has_not() -> None:
    app = APPS["health"]()

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://health") as client:
        answer = await client.get("/openapi.json")
        nowhere = [await client.get("/v1/nowhere"), await client.delete("/v1/worklist")]

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == DOCUMENTS["health"] == document_of(app)
    assert [(one.json()["code"], one.status_code) for one in nowhere] == [
        (one.code, one.status) for one in NO_ROUTE
    ]
