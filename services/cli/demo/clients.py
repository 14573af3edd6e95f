"""An agency's own system, as the demo plays it: HTTP and nothing else, patient, never asking twice anew."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from deploy.local.refusals import CannotRun
from services.cli.demo.agencies import DESK, Agency
from services.cli.demo.book import Book, Heard
from services.cli.demo.evidence import Asked, Read, Told
from services.cli.tokens import LIFE_SECONDS, Issuer
from services.runtime.ids import random_bytes

PATIENCE_SECONDS: Final = 90.0
RETRY_SECONDS: Final = 0.2
ANSWER_WITHIN_SECONDS: Final = 20.0
LISTEN_SECONDS: Final = 10
AGAIN: Final = (429, 503)
STALE: Final = 412
NOT_YET_ADMITTED: Final = "agency_not_admitted"
"""What a service answers that has not read yet what governance published."""
ROLE: Final = "caseworker"

Json = Mapping[str, Any]


class Unexpected(CannotRun):
    """A service answered what no agency can go on from."""

    def __init__(self, sentence: str) -> None:
        super().__init__("unexpected_answer", sentence)


class Client:
    """One agency's system, with connections of its own."""

    def __init__(self, agency: Agency, url: str, issuer: Issuer, book: Book) -> None:
        self.agency = agency
        self.book = book
        self._issuer = issuer
        self._http = httpx2.AsyncClient(
            base_url=url,
            timeout=ANSWER_WITHIN_SECONDS,
            limits=httpx2.Limits(max_connections=24, max_keepalive_connections=24),
            trust_env=False,
        )
        self._tokens: dict[str, tuple[str, float]] = {}
        self._position = 0

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def open_case(self) -> str:
        """A case whose number holds a name, as it should not."""
        reference = f"{self.agency.planted} / {random_bytes(3).hex()}"
        answer = await self._post("/v1/cases", {"reference": reference})
        return str(answer.json()["id"])

    async def record_consent(self, case: str, recipient: Agency, *, feedback: bool) -> Json:
        """Her consent to one recipient."""
        scope = {
            "recipients": [recipient.id],
            "groups": ["contact"],
            "purposes": [recipient.purpose],
            "expires_at": "2099-01-01T00:00:00Z",
            "feedback": feedback,
        }
        body = {"scope": scope, "form_version": "2026-1", "language": "en"}
        consent = (await self._post(f"/v1/cases/{case}/consents", body)).json()
        return {"id": consent["id"], "version": consent["version"]}

    async def offer(self, body: Json) -> Asked:
        """Offer a referral."""
        answer = (await self._post("/v1/referrals", body)).json()
        return self._asked(answer, "referral.offered")

    async def step(
        self, referral: str, resource: str, body: Json, fact: str, trace: Any = None
    ) -> Asked | None:
        """Ask for a step, on the newest view; None where the referral had moved on already."""
        path = f"/v1/referrals/{referral}/{resource}"
        number = self.book.number(referral, self.agency.id)
        answer = await self._post(path, {"duty": DESK, **body}, number=number, trace=trace)
        return None if answer.status_code == STALE else self._asked(answer.json(), fact)

    def _asked(self, answer: Json, fact: str) -> Asked:
        asked = Asked(answer["step"], answer["referral"], self.agency.id, fact)
        self.book.ask(asked)
        return asked

    async def read_referral(self, referral: str, person: int = 0) -> Json:
        """Look at a referral; the demo remembers each look that was granted."""
        shown = await self._read(f"/v1/referrals/{referral}", person)
        self._was_shown("view", referral, person)
        return shown

    async def read_case(self, case: str) -> Json:
        """Look at an own case."""
        shown = await self._read(f"/v1/cases/{case}", 0)
        self._was_shown("view", None, 0)
        return shown

    async def read_worklist(self) -> list[Json]:
        """Look at what waits; gives the newest rows."""
        shown = await self._read("/v1/worklist", 1)
        for row in shown["data"]:
            self._was_shown("list", row["referral"], 1)
        return list(shown["data"])

    def _was_shown(self, act: str, referral: str | None, person: int) -> None:
        agency = self.agency
        self.book.reads.append(Read(act, agency.id, agency.staff[person], agency.purpose, referral))

    async def services(self) -> list[Json]:
        """The directory, all pages."""
        found: list[Json] = []
        after = ""
        while True:
            page = (await self._get("/v1/services", {"limit": 200, "after": after})).json()
            found += page["data"]
            if not page["next"]:
                return found
            after = page["next"]

    async def listen(self) -> None:
        """Follow the feed for ever."""
        while True:
            for row in await self._events(self._position, LISTEN_SECONDS):
                self._position = row["position"]
                event = Heard(row["type"], row["number"], row["state"], row.get("code"), row.get("step"))
                self.book.hear(row["referral"], self.agency.id, event)

    async def whole_feed(self) -> list[Told]:
        """The feed once more, from its beginning."""
        told: list[Told] = []
        after = 0
        while rows := await self._events(after, 0):
            after = rows[-1]["position"]
            told += [
                Told(row["referral"], self.agency.id, row["number"], row["type"], row["state"])
                for row in rows
            ]
        return told

    async def _events(self, after: int, wait: int) -> list[Json]:
        answer = await self._get("/v1/events", {"after": after, "wait": wait})
        rows: list[Json] = answer.json()["data"]
        return rows

    async def _get(self, path: str, parameters: Mapping[str, Any]) -> httpx2.Response:
        return await self._answered("GET", path, self._headers(0), params=parameters)

    async def _read(self, path: str, person: int) -> Json:
        headers = self._headers(person) | {"Concert-Purpose": self.agency.purpose}
        shown: Json = (await self._answered("GET", path, headers)).json()
        return shown

    async def _post(
        self, path: str, body: Json, *, number: int | None = None, trace: Any = None
    ) -> httpx2.Response:
        """One request under one key, sent again under the same key for as long as nobody answers it."""
        headers = self._headers(0) | {"Idempotency-Key": f"{self.agency.planted_key}-{random_bytes(8).hex()}"}
        if number is not None:
            headers["If-Match"] = f'"{number}"'
        extensions = {"trace": trace} if trace else {}
        return await self._answered("POST", path, headers, json=body, extensions=extensions)

    async def _answered(self, method: str, path: str, headers: Json, **more: Any) -> httpx2.Response:
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = await self._http.request(method, path, headers=dict(headers), **more)
            except httpx2.TransportError as error:
                trouble = type(error).__name__
            else:
                if answer.is_success or answer.status_code == STALE:
                    return answer
                trouble = f"{answer.status_code} {answer.text[:300]}"
                if answer.status_code not in AGAIN and answer.json().get("code") != NOT_YET_ADMITTED:
                    raise Unexpected(f"{self.agency.id}: {method} {path}: {trouble}")
            if time.monotonic() > ends:
                raise Unexpected(f"{self.agency.id}: {method} {path}: {trouble}")
            await asyncio.sleep(RETRY_SECONDS)

    def _headers(self, person: int) -> dict[str, str]:
        staff = self.agency.staff[person]
        token, until = self._tokens.get(staff, ("", 0.0))
        if time.monotonic() > until:
            token = self._issuer.token(agency=self.agency.id, staff=staff, role=ROLE)
            self._tokens[staff] = token, time.monotonic() + LIFE_SECONDS / 2
        return {"Authorization": f"Bearer {token}"}
