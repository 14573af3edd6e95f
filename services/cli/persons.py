"""A person of an agency, for whom the command asks the agency's own sector by a token of the local issuer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer

from schemas.events.consent import PURPOSES
from schemas.roles import ROLES
from services.cli.installed import EXIT_CODES, JSON, ask, installed
from services.cli.talk import FAILED, check_choices, fail
from services.cli.tokens import local_token
from services.runtime.ids import random_bytes

ANSWER_WITHIN_SECONDS: Final = 30.0

Purpose = Annotated[str, typer.Option(help=f"One of: {', '.join(PURPOSES)}.")]


@dataclass(frozen=True, slots=True)
class Person:
    """One of an agency's people, in a role, at the installation of a data directory."""

    agency: str
    staff: str
    role: str
    data: Path | None

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content: bytes | None = None,
        purpose: str | None = None,
    ) -> httpx2.Response:
        """The sector's answer, asked once; a refusal is told with its code, and ends the command."""
        check_choices([self.role], sorted(ROLES), "--role")
        if purpose:
            check_choices([purpose], PURPOSES, "--purpose")
        installation = installed(self.data)
        token = local_token(installation, agency=self.agency, staff=self.staff, role=self.role)
        answer = httpx2.request(
            method,
            installation.api_url(self._sector()) + path,
            json=body,
            content=content,
            headers={
                **JSON,
                "Authorization": f"Bearer {token}",
                "Idempotency-Key": random_bytes(16).hex(),
                **({"Concert-Purpose": purpose} if purpose else {}),
            },
            timeout=ANSWER_WITHIN_SECONDS,
            trust_env=False,
        )
        if not answer.is_success:
            problem = answer.json()
            fail(f"{problem['code']}: {problem['detail']}", EXIT_CODES.get(answer.status_code, FAILED))
        return answer

    def _sector(self) -> str:
        found = ask(self.data, "governance", "GET", "/v1/agencies")["data"]
        sectors = {one["content"]["agency"]: one["content"]["sector"] for one in found}
        if self.agency not in sectors:
            fail(f"{self.agency} is not admitted here")
        return str(sectors[self.agency])
