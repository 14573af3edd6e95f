"""Delivers to the trail what needs no permit: subjects, events, outcomes, again and again until answered."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import httpx2

from schemas.events.access import REPORTS_MAX
from services.runtime.alarms import Alarm
from services.runtime.crash import crash_point
from services.runtime.errors import Unavailable
from services.runtime.logs import log

KINDS: Final = ("subjects", "events", "outcomes")
"""In the order in which one rests on another: an event needs its subject."""
PASSING: Final = frozenset({"subject_unknown", "not_leader", "trail_closed", "slow_down"})
"""Codes under which the same report may be taken later."""
BATCH_REFUSED: Final = frozenset({400, 413, 422})
"""Statuses that say something of what was sent, of all of it together."""
UNREADABLE: Final[Mapping[str, Any]] = {"problem": {"code": "malformed"}}


class Waiting(Protocol):
    """One report that the trail has not answered."""

    @property
    def id(self) -> int:
        """Its place in the outbox."""

    @property
    def content(self) -> str:
        """The report as JSON."""


class Reports(Protocol):
    """The trail's outbox, inside an open transaction."""

    async def waiting(self, kind: Any, after: int) -> Sequence[Any]:
        """The oldest reports of a kind behind a place, as many as one request takes."""

    async def settle(self, answered: Sequence[int], refused: Mapping[int, str]) -> None:
        """Drop what the trail has; keep what it refused for good."""

    async def alarms(self) -> Sequence[Alarm]:
        """What it refused for good and is still kept."""


@dataclass(slots=True)
class Sorted:
    """The reports of one round, sorted out by the trail's answers."""

    answered: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


def sorted_out(ids: Sequence[int], results: Sequence[Mapping[str, Any]]) -> Sorted:
    """Tell what the trail has, what it refused for good, and (by leaving it out) what comes again."""
    found = Sorted()
    for report, result in zip(ids, results, strict=True):
        problem = result.get("problem")
        if problem is None:
            found.answered.append(report)
        elif problem["code"] not in PASSING:
            found.refused[report] = problem["code"]
    return found


class Delivery:
    """Posts what waits. No row is locked meanwhile: two deliveries at once send the same idem twice."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        open_reports: Callable[[], AbstractAsyncContextManager[Reports]],
    ) -> None:
        self._client = client
        self._open = open_reports
        self._tried = dict.fromkeys(KINDS, 0)
        """Kind → the last report of a full batch; the next begins behind it, so that none is blocked."""
        self._alarms: Sequence[Alarm] = ()

    def alarms(self) -> Sequence[Alarm]:
        """What the trail refused for good, as the last sweep found it."""
        return self._alarms

    async def sweep(self) -> bool:
        """Deliver one batch of each kind; says whether anything was settled, so that there may be more."""
        async with self._open() as reports:
            self._alarms = await reports.alarms()
        settled = [await self._deliver(kind) for kind in KINDS]
        return any(settled)

    async def _deliver(self, kind: str) -> bool:
        async with self._open() as reports:
            waiting = await reports.waiting(kind, self._tried[kind])
        found = await self._sent(kind, waiting) if waiting else Sorted()
        self._tried[kind] = waiting[-1].id if len(waiting) == REPORTS_MAX else 0
        return bool(found.answered)

    async def _sent(self, kind: str, waiting: Sequence[Waiting]) -> Sorted:
        results = await self._post(kind, [json.loads(report.content) for report in waiting])
        if all(result is UNREADABLE for result in results):
            raise Unavailable("the trail reads none of them: it may be of another release, so they wait")
        crash_point("trail.sent")  # the trail has them, we still do: they go again under the same idem
        found = sorted_out([report.id for report in waiting], results)
        async with self._open() as reports:
            await reports.settle(found.answered, found.refused)
        crash_point("trail.settled")
        if found.refused:
            log().error(
                "reports_refused", count=len(found.refused), error_code=sorted(found.refused.values())[0]
            )
        return found

    async def _post(self, kind: str, contents: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        try:
            response = await self._client.post(f"/v1/{kind}", json={kind: contents})
        except httpx2.TransportError as error:
            raise Unavailable("the trail does not answer") from error
        if response.status_code in BATCH_REFUSED:
            # One report that the trail cannot read must not hold up the others: halve until it stands alone.
            if len(contents) == 1:
                return [UNREADABLE]
            middle = len(contents) // 2
            return [
                *await self._post(kind, contents[:middle]),
                *await self._post(kind, contents[middle:]),
            ]
        if response.status_code != 200:
            log().warning("reports_wait", status=response.status_code)
            raise Unavailable("the trail takes no reports now")
        results: Sequence[Mapping[str, Any]] = response.json()["results"]
        return results
