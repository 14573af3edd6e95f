"""Governance on the partners' port: whoever has a token is heard, and nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from services.cli.tokens import LocalIssuer
from services.governance.api.partners import described_app
from services.governance.wiring import wire
from services.runtime.openapi import document_of
from services.runtime.process import running
from services.runtime.settings import PortSettings
from tests.support.described import Description
from tests.support.partnership import ISSUER, partnership_settings
from tests.support.platform import CELL, Space
from tests.support.ports import free_port

DESCRIPTION = Description(document_of(described_app()))


@pytest.fixture(scope="module")
async def address(space: Space) -> AsyncIterator[str]:
    port = free_port()
    settings = partnership_settings(space, ports=PortSettings(api=port)).model_copy(update={"kafka": None})
    async with running("governance", settings, wire):
        yield f"http://127.0.0.1:{port}"


def a_token(space: Space, partner: str, role: str, service: str = "governance") -> str:
    issuer = LocalIssuer(ISSUER, CELL, space.platform.secrets.issuer_key_file())
    return issuer.token(agency=partner, staff="staff-1", role=role, services=[service])


async def test_areas_are_told_to_whoever_has_a_token_for_governance(space: Space, address: str) -> None:
    tokens = [a_token(space, "partner-one", "seat"), a_token(space, "partner-one", "seat", "health"), ""]
    async with httpx2.AsyncClient(base_url=address, event_hooks={"response": [DESCRIPTION.check]}) as client:
        answers = [
            await client.get("/v1/areas", headers={"authorization": f"Bearer {token}"} if token else {})
            for token in tokens
        ]

    assert [answer.status_code for answer in answers] == [200, 401, 401]
    data = answers[0].json()["data"]
    assert len(data) == 21
    assert {"code": "ZZ0104", "parent": "ZZ01", "level": 2, "name": "Tidewell"} in data


async def test_a_file_of_areas_that_is_no_tree_ends_the_start_with_a_sentence(
    space: Space, tmp_path: Path
) -> None:
    file = tmp_path / "areas.csv"
    file.write_text("Planted")
    settings = partnership_settings(space).model_copy(update={"kafka": None, "areas_file": file})

    with pytest.raises(SystemExit, match="AREAS_FILE: line 1: name just these columns") as ended:
        async with running("governance", settings, wire):
            pass

    assert "Planted" not in str(ended.value)
