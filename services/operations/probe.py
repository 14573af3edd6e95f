"""The probe: a referral between two probes, each minute, asked and seen at the ports of their own sectors.

One round crosses the steps of both sectors, the arbiter, both inboxes and `referrals.facts`. It is offered,
acknowledged and cancelled: nothing of it is counted, nobody is told by mail, and nothing stays open.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import httpx2

from services.operations.domain.probes import ProbeStanding
from services.operations.settings import ProbeSettings
from services.operations.store.probes import ProbeStore, ProbeTurn
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.errors import Refused
from services.runtime.ids import random_bytes
from services.runtime.logs import log
from services.runtime.metrics import ALONE, Measurement
from services.runtime.sweeper import Sweeper
from services.runtime.token_client import TokenClient

LOOK_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 2
"""How long a port lets one question wait, so that a process that ends is not held up."""
ANSWERED_WITHIN_SECONDS: Final = 5.0
FAILED_ROUNDS: Final = 2
"""So many of one pair, one after the other, are an alarm; after the first it plays again next."""
BEGINS_WITHIN_SECONDS: Final = 60.0
"""So long after its own start it does not tell that a pair which never came round fails, and tries again at
each look: sectors and arbiter learn of a new installation's probes only after its services are up."""
STAFF, ROLE, DESK = "probe", "intake", "duty"
SCOPE: Final = {"groups": [], "purposes": ["protection"], "expires_at": "2099-01-01T00:00:00Z"}
OFFER: Final = {
    "purpose": "protection",
    "groups": [],
    "needs": ["case_coordination"],
    "urgency": "routine",
    "age_band": "adult",
    "area": "ZZ",
    "duty": DESK,
}
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")

ROUNDTRIP: Final = Measurement(
    "concert_probe_roundtrip_seconds", "The last round of the probe; absent where it failed."
)


class ProbeFailure(Exception):
    """A round that did not come round, by a code."""

    def __init__(self, code: object) -> None:
        text = str(code)
        self.code = text if _CODE.fullmatch(text) else "unexpected_answer"
        super().__init__(self.code)


class Probe(Sweeper):
    """Plays a round whenever one is due; of several processes whichever takes the turn."""

    def __init__(
        self,
        settings: ProbeSettings,
        database: Database,
        clock: Clock,
        transport: httpx2.AsyncBaseTransport | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("probe", LOOK_SECONDS, self._sweep)
        self._settings = settings
        self._database = database
        self._clock_of_turns = clock
        self._seconds = seconds
        self._began = seconds()
        services = tuple(settings.agencies)
        self._tokens = TokenClient(settings.issuer, settings.client, settings.key_file, services)
        self._http = httpx2.AsyncClient(timeout=ANSWERED_WITHIN_SECONDS, trust_env=False, transport=transport)
        self._knows_pairs = False
        self.standing: ProbeStanding | None = None
        """As the last look found it."""

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    def alarms(self) -> Iterator[Alarm]:
        """The pairs that failed again and again, and whether the work itself fails."""
        for one in self.standing.pairs if self.standing else ():
            if one.failing_since and one.failures >= FAILED_ROUNDS:
                yield Alarm("probe_fails", f"{one.owner}, {one.receiver}", one.failing_since)
        yield from super().alarms()

    async def _sweep(self) -> bool:
        every = timedelta(seconds=self._settings.every_seconds)
        async with self._database.transaction() as transaction:
            store = ProbeStore(transaction)
            if not self._knows_pairs:
                await store.keep_pairs(self._settings.pairs)
            now = self._clock_of_turns.now()
            self.standing = await store.standing(now)
            turn = await store.next_turn(now, every)
        self._knows_pairs = True
        if turn:
            # A crash from here on leaves an offer that expires within the hour, and a round without an end.
            await self._take(turn)
        return False

    async def _take(self, turn: ProbeTurn) -> None:
        seconds, code = math.nan, None
        try:
            async with asyncio.timeout(self._settings.seen_within_seconds):
                seconds = await self._play(turn)
        except ProbeFailure as failure:
            code = failure.code
        except TimeoutError:
            code = "not_seen_in_time"
        except Refused as refused:
            code = refused.code
        except httpx2.HTTPError:
            code = "no_answer"
        if self.is_stopping and code:
            return  # cut short by our own end
        if code and turn.is_new and self._seconds() - self._began < BEGINS_WITHIN_SECONDS:
            log().info("probe_waits", error_code=code, route=turn.name)
            async with self._database.transaction() as transaction:
                await ProbeStore(transaction).put_off(turn)
            return
        ROUNDTRIP.tell({} if code else {ALONE: seconds})
        if code:
            log().warning("probe_failed", error_code=code, route=turn.name)
        async with self._database.transaction() as transaction:
            at = self._clock_of_turns.now()
            await ProbeStore(transaction).end(turn, at, None if code else seconds, code)

    async def _play(self, turn: ProbeTurn) -> float:
        """Offered, acknowledged, cancelled, each seen by the other one; gives the seconds."""
        owner, receiver = turn.owner, turn.receiver
        await self._listen_to_end(owner, turn)
        await self._listen_to_end(receiver, turn)
        if turn.consent is None:
            await self._agree(turn)
        theirs = self._settings.agencies[receiver]
        body = OFFER | {"case": turn.case, "consent": turn.consent, "recipient": theirs.agency}
        began = self._seconds()
        offered = await self._ask(owner, "POST", "/v1/referrals", body | {"service": theirs.service})
        referral = str(offered["referral"])
        path = f"/v1/referrals/{referral}"
        number = await self._seen(receiver, turn, referral, "referral.offered")
        await self._ask(receiver, "POST", f"{path}/acknowledgements", {"duty": DESK}, number)
        number = await self._seen(owner, turn, referral, "referral.acknowledged")
        cancels = {"duty": DESK, "reason": "no_longer_needed"}
        await self._ask(owner, "POST", f"{path}/cancellations", cancels, number)
        await self._seen(receiver, turn, referral, "referral.cancelled")
        return self._seconds() - began

    async def _agree(self, turn: ProbeTurn) -> None:
        """One case and one consent of each pair, for all of its rounds."""
        case = str((await self._ask(turn.owner, "POST", "/v1/cases", {"reference": "probe"}))["id"])
        scope = SCOPE | {"recipients": [self._settings.agencies[turn.receiver].agency]}
        agreed = {"scope": scope, "form_version": "probe-1", "language": "en"}
        consent = await self._ask(turn.owner, "POST", f"/v1/cases/{case}/consents", agreed)
        turn.case, turn.consent = case, {"id": consent["id"], "version": consent["version"]}

    async def _listen_to_end(self, sector: str, turn: ProbeTurn) -> None:
        """Go to the end of a feed, so that what comes next is this round's."""
        while await self._page(sector, turn, wait=0):
            pass

    async def _seen(self, sector: str, turn: ProbeTurn, referral: str, fact: str) -> int:
        """The number of a fact, once a feed shows it; a refusal of a step is a failure."""
        while not self.is_stopping:
            for row in await self._page(sector, turn, wait=WAIT_SECONDS):
                if row["referral"] == referral and row["type"] == fact:
                    return int(row["number"])
                if row["referral"] == referral and row["type"] == "referral.step_refused":
                    raise ProbeFailure(row.get("code"))
        raise ProbeFailure("stopping")

    async def _page(self, sector: str, turn: ProbeTurn, *, wait: int) -> list[Mapping[str, Any]]:
        after = turn.places.get(sector, 0)
        try:
            page = await self._ask(sector, "GET", f"/v1/events?after={after}&wait={wait}")
        except ProbeFailure as failure:
            if failure.code != "cursor_unreadable":
                raise
            turn.places[sector] = 0  # the sector's database was put back
            return await self._page(sector, turn, wait=wait) if after else []
        turn.places[sector] = int(page["next"])
        return list(page["data"])

    async def _ask(
        self, sector: str, method: str, path: str, body: Any = None, number: int | None = None
    ) -> Mapping[str, Any]:
        """What a port answers; anything but a success is a failure by its code."""
        probe = self._settings.agencies[sector]
        token = await self._tokens.held_token(agency=probe.agency, staff=STAFF, role=ROLE)
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"probe-{random_bytes(8).hex()}"}
        if number is not None:
            headers["If-Match"] = f'"{number}"'
        answer = await self._http.request(method, f"{probe.url}{path}", json=body, headers=headers)
        try:
            told = answer.json()
            if not answer.is_success:
                raise ProbeFailure(told["code"])
            return dict(told)
        except (ValueError, KeyError, TypeError):
            raise ProbeFailure("unexpected_answer") from None
