"""What the command asks of the local issuer, and how long it holds what it got."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.local.issuer.app import LIFE
from deploy.local.issuer.clients import COMMAND
from deploy.local.processes import ISSUER_PROCESS, PROCESSES
from deploy.local.secrets import Secrets
from schemas.roles import GOVERNANCE_ROLES, ROLES
from services.cli.tokens import TAKEN_BY
from services.runtime.token_client import HELD_FOR, TokenClient
from tests.support.clock import StoppedClock


async def test_a_held_token_is_asked_for_anew_once_half_of_its_life_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file = Secrets(tmp_path / "secrets").client_key_file(COMMAND)
    issuer = TokenClient("http://127.0.0.1:1", COMMAND, key_file, TAKEN_BY)
    issuer.clock = clock = StoppedClock()
    asked: list[Mapping[str, Any]] = []

    async def token(**whose: Any) -> str:
        asked.append(whose)
        return f"token {len(asked)}"

    monkeypatch.setattr(issuer, "token", token)
    whose = {"agency": "harbour-clinic", "staff": "s-17", "role": "nurse"}
    first, other = await issuer.held_token(**whose), await issuer.held_token(**whose | {"role": "supervisor"})

    assert HELD_FOR == LIFE / 2
    clock.forward(HELD_FOR - timedelta(seconds=1))
    assert await issuer.held_token(**whose) == first != other
    clock.forward(timedelta(seconds=1))
    assert await issuer.held_token(**whose) == "token 3"


def test_a_token_is_for_every_port_that_takes_one_and_a_partners_role_for_governances_alone() -> None:
    with_port = {process.name for process in PROCESSES if "api" in process.ports}
    assert {*TAKEN_BY} == with_port - {ISSUER_PROCESS, "operations"}
    assert not {*GOVERNANCE_ROLES} & ROLES.keys()
