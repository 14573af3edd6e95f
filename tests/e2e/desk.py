"""An agency's system as tests play it: one HTTP connection, its own token, its feed."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from services.cli.demo.agencies import Agency
from services.cli.demo.stage import Stage
from services.cli.demo.stories import Move

TOLD_WITHIN_SECONDS = 30.0
POLL_SECONDS = 0.05


class Desk:
    """One agency; `told` waits for facts, everything else is one request."""

    def __init__(self, stage: Stage, agency: Agency) -> None:
        self.agency = agency
        self.token = stage.issuer.token(agency=agency.id, staff=agency.staff[0], role="caseworker")
        self._heard: list[Mapping[str, Any]] = []
        self._position = 0
        self.http = httpx2.Client(
            base_url=stage.installation.api_url(agency.sector), timeout=20, trust_env=False
        )

    def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """A POST with a fresh key; headers are written with underscores, an empty one is left out."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(
            path, content=content, headers=self._headers({"Idempotency_Key": a_key()} | headers)
        )

    def get(self, path: str, **headers: str) -> httpx2.Response:
        """A GET for the agency's own purpose."""
        purpose = {"Concert_Purpose": self.agency.purpose}
        return self.http.get(path, headers=self._headers(purpose | headers))

    def _headers(self, given: Mapping[str, str]) -> dict[str, str]:
        usual = {"Authorization": f"Bearer {self.token}", "Content_Type": "application/json"}
        return {name.replace("_", "-"): value for name, value in {**usual, **given}.items() if value}

    def consent(self, recipient: Agency, *, feedback: bool = False) -> dict[str, Any]:
        """A case with her consent to one recipient: what an offer names of both."""
        case = self.post("/v1/cases", {"reference": "A-1"}).json()["id"]
        scope = {
            "recipients": [recipient.id],
            "groups": ["contact"],
            "purposes": [recipient.purpose],
            "expires_at": "2099-01-01T00:00:00Z",
            "feedback": feedback,
        }
        body = {"scope": scope, "form_version": "2026-1", "language": "en"}
        consent = self.post(f"/v1/cases/{case}/consents", body).json()
        return {"case": case, "consent": {"id": consent["id"], "version": consent["version"]}}

    def offer_body(self, recipient: Agency, *, feedback: bool = False, **changes: Any) -> dict[str, Any]:
        """An offer to the recipient's first service."""
        service = recipient.services[0]
        return {
            **self.consent(recipient, feedback=feedback),
            "service": service.id,
            "recipient": recipient.id,
            "purpose": recipient.purpose,
            "groups": ["contact"],
            "needs": list(service.needs),
            "urgency": "priority",
            "area": "ZZ0104",
            "duty": "duty",
            **changes,
        }

    def offer(self, recipient: Agency, **changes: Any) -> str:
        """Offer a referral; gives its id."""
        answer = self.post("/v1/referrals", self.offer_body(recipient, **changes))
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/v1/referrals/{answer.json()['referral']}"
        return str(answer.json()["referral"])

    def step(self, referral: str, move: Move) -> httpx2.Response:
        """Ask for a step on the newest view."""
        number = {"If_Match": f'"{self.number(referral)}"'}
        return self.post(f"/v1/referrals/{referral}/{move.resource}", {"duty": "duty", **move.body}, **number)

    def take(self, referral: str, *moves: Move) -> None:
        """Take steps one after the other, each once its fact has come."""
        for move in moves:
            answer = self.step(referral, move)
            assert answer.status_code == 202, answer.text
            self.told(referral, move.fact)

    def events(self, referral: str) -> list[Mapping[str, Any]]:
        """What the feed says of a referral."""
        while rows := self.get(f"/v1/events?after={self._position}").json()["data"]:
            self._position = rows[-1]["position"]
            self._heard += rows
        return [row for row in self._heard if row["referral"] == referral]

    def number(self, referral: str) -> int:
        """The number of the last fact."""
        return max((row["number"] for row in self.events(referral)), default=0)

    def told(self, referral: str, fact: str) -> Mapping[str, Any]:
        """Wait for a fact."""
        return self.until(referral, lambda row: row["type"] == fact)

    def refused(self, referral: str, answer: httpx2.Response) -> str:
        """Wait for the arbiter's refusal of a step that was answered 202; gives its code."""
        assert answer.status_code == 202, answer.text
        step = answer.json()["step"]
        return str(self.until(referral, lambda row: row.get("step") == step)["code"])

    def until(self, referral: str, holds: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """Wait for an event of a referral."""
        ends = time.monotonic() + TOLD_WITHIN_SECONDS
        while time.monotonic() < ends:
            for row in self.events(referral):
                if holds(row):
                    return row
            time.sleep(POLL_SECONDS)
        raise AssertionError([row["type"] for row in self.events(referral)])


def a_key() -> str:
    """An idempotency key that was never used."""
    return secrets.token_hex(8)
