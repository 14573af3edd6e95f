"""Nothing of a person is shown before the trail has durably written who looks, at whom, and why."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import httpx2
from pydantic import ValidationError

from schemas.events.access import ACTS, Item, PermitAnswer, PermitRequest
from schemas.trail.notes import named_checkpoint
from schemas.trail.permits import (
    WENT_BACK,
    BadPermit,
    PermitBody,
    Question,
    Trust,
    check_permit,
)
from services.runtime.alarms import Alarm
from services.runtime.clock import SteadyClock
from services.runtime.crash import crash_point
from services.runtime.errors import Refused
from services.runtime.ids import random_bytes
from services.runtime.logs import log
from services.sector.domain.refusals import CaseErased, SubjectNotRegistered, TrailUnavailable
from services.sector.handlers.looks import Look, Shown
from services.sector.handlers.requests import outcome_report
from services.sector.handlers.work import OpenWork, Work
from services.sector.vault.log_size import LogSize

ATTEMPTS_MAX: Final = 3
PAUSE_SECONDS: Final = 0.1
"""Before asking again: a subject's registration may be under way."""
_UNKNOWN_ITEM: Final = re.compile(rb'"/items/([0-9]{1,4})/subject"')


class Permits:
    """Asks the trail, and shows what a look is for once the trail holds it; a `TrailGate` of the handlers."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        *,
        audience: str,
        trust: Trust,
        open_work: OpenWork,
        size_file: Path | None = None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """`client` reaches the trail, `audience` is this service there, `trust` what it pins about it.

        Without room for what became of a look, none is begun.
        """
        self._has_room = has_room
        self._client = client
        self._audience = audience
        self._trust = trust
        self._open_work = open_work
        self._log_size = LogSize(size_file, trust.origin)
        self._size_seen = self._log_size.largest
        self._clock = SteadyClock()
        self._went_back: Alarm | None = None

    def alarms(self) -> Iterator[Alarm]:
        """Whether the trail's log was smaller, at the last look, than it had been before."""
        if self._went_back:
            yield self._went_back

    async def __call__(self, look: Look, load: Callable[[Work], Awaitable[Shown]]) -> Shown:
        """The order is the promise: entry, check, use, outcome, commit, and only then show.

        Until the last line nothing that `load` read has left this method.
        """
        permit = await self._ask(look)  # the entry is durable, and V1-V7 hold
        crash_point("permit.checked")  # an intent without outcome, a review item; nothing was shown
        async with self._open_work() as work:
            if not await work.reports.use(permit.origin, permit.index):  # V8
                raise TrailUnavailable
            shown = await load(work)  # read now, not when asked: what has ended meanwhile is not shown
            await work.reports.add([outcome_report(permit, "released", work.clock.now())])
        crash_point("permit.settled")  # used, and its outcome goes out; the asker got nothing and asks again
        return shown

    async def _ask(self, look: Look) -> PermitBody:
        """Ask, again under the same idem where that may help, and check V1-V7; raises TrailUnavailable."""
        request = PermitRequest(
            idem=random_bytes(16), nonce=random_bytes(16), access=look.access, items=look.items
        )
        question = Question(
            audience=self._audience,
            request=request.plain(),
            asked_at=time.monotonic(),
            names_items=ACTS[look.access.act].lists,
            size_seen=self._size_seen,
        )
        content = await self.ask_trail(request)
        crash_point("permit.asked")  # an intent without outcome, a review item; nothing was shown
        try:
            answer = PermitAnswer.model_validate_json(content)
            body = check_permit(answer.model_dump(), question, self._trust, now=time.monotonic())
        except (BadPermit, ValidationError) as bad:
            code = getattr(bad, "code", "malformed")
            log().error("permit_refused", error_code=code)
            if code == WENT_BACK and self._went_back is None:
                self._went_back = Alarm("trail_went_back", "", self._clock.now())
            raise TrailUnavailable from bad
        self._log_size.see(named_checkpoint(answer.receipt.checkpoint).size)
        self._size_seen, self._went_back = max(self._size_seen, body.size), None
        return body

    async def ask_trail(self, request: PermitRequest) -> bytes:
        """The trail's answer with a permit, unchecked; asked again under its idem where that may help."""
        content = request.model_dump_json(exclude_none=True)
        refusal: Refused = TrailUnavailable()
        if not self._has_room():
            raise refusal
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                await asyncio.sleep(PAUSE_SECONDS)
            response = await self._post(content)
            if response is None:
                continue
            if response.status_code == 201:
                return response.content
            refusal = refusal_of(response, request.items)
            if isinstance(refusal, SubjectNotRegistered):
                if refusal.subjects:
                    break  # the list is asked for without them, at once
            elif response.status_code != 503:
                log().error("permit_denied", status=response.status_code)
                break
        raise refusal

    async def _post(self, content: str) -> httpx2.Response | None:
        headers = {"content-type": "application/json"}
        try:
            return await self._client.post("/v1/permits", content=content, headers=headers)
        except (httpx2.TransportError, RuntimeError) as error:  # httpx says the latter of a closed client
            log().warning("trail_does_not_answer", error_class=type(error).__name__)
            return None


def refusal_of(response: httpx2.Response, items: Sequence[Item]) -> Refused:
    """What an answer without a permit means; a list is asked for again without the subjects that it names."""
    if response.status_code == 410 and b'"subject_erased"' in response.content:
        named = {int(number) for number in _UNKNOWN_ITEM.findall(response.content)}
        gone = {item.subject for number, item in enumerate(items) if number in named}
        return SubjectNotRegistered(gone) if gone else CaseErased()
    if response.status_code != 409 or b'"subject_unknown"' not in response.content:
        return TrailUnavailable()
    named = {int(number) for number in _UNKNOWN_ITEM.findall(response.content)}
    return SubjectNotRegistered({item.subject for number, item in enumerate(items) if number in named})
