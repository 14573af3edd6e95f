"""Delivers to the trail what needs no permit: subjects, events, outcomes, again and again until answered."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx2

from schemas.events.access import REPORTS_MAX, SubjectKey
from services.runtime.alarms import Alarm
from services.runtime.crash import crash_point
from services.runtime.errors import Unavailable
from services.runtime.logs import log
from services.sector.domain.packets import NumberedSubject
from services.sector.domain.refusals import VaultUnavailable
from services.sector.handlers.work import OpenWork, ReportKind
from services.sector.vault.faults import VaultRefusal
from services.sector.vault_client import VaultClient

KINDS: Final[tuple[ReportKind, ...]] = ("subjects", "events", "outcomes", "erasures")
"""In the order in which one rests on another: an event needs its subject, and an erasure ends it."""
ENDED: Final = "subject_erased"
"""Whatever else there was to say about a subject went with it."""
PASSING: Final = frozenset({"subject_unknown", "not_leader", "trail_closed", "slow_down"})
"""Codes under which the same report may be taken later."""
BATCH_REFUSED: Final = frozenset({400, 413, 422})
"""Statuses that say something of what was sent, of all of it together."""
UNREADABLE: Final[Mapping[str, Any]] = {"problem": {"code": "malformed"}}


class Delivery:
    """Posts what waits. No row is locked meanwhile: two deliveries at once send the same idem twice."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        vault: VaultClient,
        open_work: OpenWork,
        new_log: str | None = None,
        reports_max: int = 1_000_000,
    ) -> None:
        """`open_work` may commit each statement by itself: what goes out again changes nothing.

        `new_log` is one that follows another: it is told again of what the other may have lost.
        """
        self._new_log = new_log
        self._client = client
        self._vault = vault
        self._open_work = open_work
        self._tried: dict[ReportKind, int] = dict.fromkeys(KINDS, 0)
        """Kind → the last report of a full batch; the next begins behind it, so that none is blocked."""
        self._alarms: Sequence[Alarm] = ()
        self._reports_max = reports_max
        self._full: Alarm | None = None

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nobody may cause more."""
        return self._full is not None

    def alarms(self) -> Sequence[Alarm]:
        """What the trail refused for good, as the last sweep found it; whether too much waits."""
        return [*self._alarms, *([self._full] if self._full else [])]

    async def sweep(self) -> bool:
        """Deliver one batch of each kind; says whether there is more to deliver at once."""
        async with self._open_work() as work:
            if self._new_log:
                await work.reports.tell_anew(self._new_log)
                log().warning("told_anew")
                self._new_log = None
            self._alarms = await work.reports.alarms()
            if not await work.reports.is_full(self._reports_max):
                self._full = None
            elif self._full is None:
                self._full = Alarm("reports_full", "", work.clock.now())
            waiting = await work.reports.waiting(self._tried)
        return any([await self._deliver(kind, reports) for kind, reports in waiting.items()])

    async def _deliver(self, kind: ReportKind, reports: Sequence[tuple[int, str]]) -> bool:
        settled = bool(reports) and await self._send(kind, dict(reports))
        is_full = len(reports) == REPORTS_MAX
        self._tried[kind] = reports[-1][0] if is_full else 0
        return settled and is_full

    async def _send(self, kind: ReportKind, reports: Mapping[int, str]) -> bool:
        waiting = {report: json.loads(content) for report, content in reports.items()}
        if kind == "subjects":
            waiting = await self._with_keys(waiting)
            if not waiting:
                return False
        results = await self._post(kind, list(waiting.values()))
        if all(result is UNREADABLE for result in results):
            raise Unavailable("the trail reads none of them: it may be of another release, so they wait")
        crash_point("trail.sent")  # the trail has them, we still do: they go again under the same idem
        codes = {
            report: result["problem"]["code"] if result.get("problem") else None
            for report, result in zip(waiting, results, strict=True)
        }
        # What the trail never heard of needs no erasure: without keys its registration comes no more.
        ended = {None, ENDED, "subject_unknown"} if kind == "erasures" else {None, ENDED}
        answered = [report for report, code in codes.items() if code in ended]
        refused = {report: code for report, code in codes.items() if code not in PASSING | ended and code}
        async with self._open_work() as work:
            await work.reports.settle(answered, refused)
        crash_point("trail.settled")
        if refused:
            log().error("reports_refused", count=len(refused), error_code=min(refused.values()))
        return bool(answered)

    async def _with_keys(self, waiting: Mapping[int, Any]) -> dict[int, Any]:
        """Subjects with their keys, as the vault derives them; while it is away, those that need it wait.

        What was erased meanwhile has no key any more, and the trail need not hear of it.
        """
        numbered = {one: NumberedSubject(**told) for one, told in waiting.items() if "keyset" in told}
        if not numbered:
            return dict(waiting)
        async with self._open_work() as work:
            wraps = await work.packets.case_wraps({subject.keyset for subject in numbered.values()})
        told, erased = {one: words for one, words in waiting.items() if one not in numbered}, []
        try:
            for one, subject in numbered.items():
                wrap = wraps.get(subject.keyset)
                if wrap is None:
                    erased.append(one)
                    continue
                key = await self._vault.subject(wrap, subject.number)
                named = SubjectKey(id=subject.id, key=key, retention=subject.retention)
                told[one] = named.model_dump(mode="json")
        except VaultUnavailable:
            log().warning("subjects_wait", count=len(waiting) - len(told))
        except VaultRefusal as refusal:
            log().error("vault_refused", error_code=refusal.code)
        if erased:
            async with self._open_work() as work:
                await work.reports.settle(erased, {})
        return told

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
            parts = contents[:middle], contents[middle:]
            return [result for part in parts for result in await self._post(kind, part)]
        if response.status_code != 200:
            log().warning("reports_wait", status=response.status_code)
            raise Unavailable("the trail takes no reports now")
        results: Sequence[Mapping[str, Any]] = response.json()["results"]
        return results
