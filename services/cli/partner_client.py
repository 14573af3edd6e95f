"""Partners' systems at governance's port: each act is done by one partner's person, in one role."""

from typing import Any, Final

import httpx2
from pydantic_core import to_json

from services.cli.agency_client import ANSWER_WITHIN_SECONDS, Json, UnexpectedAnswer
from services.runtime.token_client import TokenClient

PERSON: Final = "p-1"
"""The pseudonym of whoever acts for a partner."""


class PartnerClient:
    """One connection for all partners of an installation, with a token for each partner and role."""

    def __init__(self, url: str, issuer: TokenClient) -> None:
        self.http = httpx2.AsyncClient(base_url=url, timeout=ANSWER_WITHIN_SECONDS, trust_env=False)
        self.issuer = issuer

    async def act(self, who: str, path: str, body: Any = None) -> Json:
        """`seat ministry` does `meetings/mtg_first/attend`; what is refused is unexpected."""
        answer = await self.ask(who, path, body or {})
        if not answer.is_success:
            raise UnexpectedAnswer(f"{who}: {path}: {answer.status_code} {answer.text[:300]}")
        told: Json = answer.json()
        return told

    async def read(self, who: str, path: str) -> Json:
        """How something stands."""
        told: Json = (await self.ask(who, path)).raise_for_status().json()
        return told

    async def ask(self, who: str, path: str, body: Any = None) -> httpx2.Response:
        """One request: a read without a body, an act under its name, or the making of what the path names.

        A body of text is a table in CSV.
        """
        method = "GET" if body is None else "POST" if path.count("/") > 1 else "PUT"
        is_table = isinstance(body, str)
        headers = {
            "Authorization": f"Bearer {await self._token(who)}",
            "Content-Type": "text/csv" if is_table else "application/json",
        }
        content = body if body is None or is_table else to_json(body)
        return await self.http.request(method, f"/v1/{path}", content=content, headers=headers)

    async def _token(self, who: str) -> str:
        role, _, partner = who.partition(" ")
        return await self.issuer.held_token(agency=partner, staff=PERSON, role=role, services=["governance"])
