"""What the local issuer signs is what the agencies' port reads."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi import Request
from joserfc.jwk import KeySet

from deploy.local.processes import PROCESSES
from deploy.local.secrets import Secrets
from schemas.roles import GOVERNANCE_ROLES, ROLES
from schemas.wire.topic import source_of
from services.cli.tokens import LIFE_SECONDS, TAKEN_BY, LocalIssuer
from services.runtime.tokens import Caller, Unauthenticated, token_reader
from tests.support.clock import StoppedClock

ISSUER = "urn:concert:test-local:local-issuer"


def test_a_token_names_person_system_agency_and_role_for_five_minutes(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "secrets")
    keys = KeySet.import_key_set(json.loads(secrets.issuer_public_file().read_text()))
    token = LocalIssuer(ISSUER, "test-local", secrets.issuer_key_file()).token(
        agency="harbour-clinic", staff="s-17", role="nurse", services=("health",)
    )
    now = datetime.now(UTC)

    def read(service: str, at: datetime) -> Caller:
        audience = source_of("test-local", service)
        reader = token_reader(keys, issuer=ISSUER, audience=audience, clock=StoppedClock(at))
        return reader(Request({"type": "http", "headers": [(b"authorization", b"Bearer " + token.encode())]}))

    assert read("health", now) == Caller("s-17", "harbour-clinic-system", "harbour-clinic", "nurse")
    with pytest.raises(Unauthenticated):
        read("police", now)
    with pytest.raises(Unauthenticated):
        read("health", now + timedelta(seconds=LIFE_SECONDS + 10))


def test_a_held_token_is_made_anew_once_half_of_its_life_is_over(tmp_path: Path) -> None:
    issuer = LocalIssuer(ISSUER, "test-local", Secrets(tmp_path / "secrets").issuer_key_file())
    issuer.clock = clock = StoppedClock()
    whose = {"agency": "harbour-clinic", "staff": "s-17", "role": "nurse"}
    first, other = issuer.held_token(**whose), issuer.held_token(**whose | {"role": "supervisor"})

    clock.forward(timedelta(seconds=LIFE_SECONDS / 2 - 1))
    assert issuer.held_token(**whose) == first != other
    clock.forward(timedelta(seconds=1))
    assert issuer.held_token(**whose) != first


def test_a_token_is_for_every_port_that_takes_one_and_a_partners_role_for_governances_alone() -> None:
    assert {*TAKEN_BY} == {process.name for process in PROCESSES if "api" in process.ports}
    assert not {*GOVERNANCE_ROLES} & ROLES.keys()
