"""Every ten seconds: asks services and brokers how streams stand, keeps a sample, judges each group.

A service that is silent, or answers what cannot be, costs its own rows only; every question ends in time.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Literal

import httpx2
from pydantic import ValidationError

from services.operations.domain.streams import (
    FiringRule,
    OutboxStanding,
    PartsStanding,
    PartStanding,
    StreamsStanding,
    StreamStanding,
    TopicRate,
)
from services.operations.domain.verdicts import floor_of, judge, told
from services.operations.sights import Ends, GroupSight, GroupStream, Partition, StreamsLook
from services.operations.store.samples import HISTORY_SECONDS, Place, SampleStore
from services.runtime.alarms import Alarm
from services.runtime.brokers_sight import FAILURES, BrokersSight
from services.runtime.clock import Clock
from services.runtime.logs import log
from services.runtime.peers import answer_within
from services.runtime.service_report import ServiceReport

SAMPLE_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 1.5
"""How long one question may take; each is asked twice."""
BROKERS_SECONDS: Final = 5.0
DAY: Final = timedelta(days=1)
POINTS_MAX: Final = int(DAY.total_seconds()) // HISTORY_SECONDS
STALLED_FOR: Final = timedelta(seconds=15)
"""What is stalled in two looks is an alarm; in one it may be a restart."""
SLOW_FOR: Final = timedelta(seconds=60)
PROCESSES_MAX: Final = 16
"""How many processes of one service are known at a time: a service that invents names fills nothing here."""
GONE_FOR: Final = timedelta(minutes=5)
"""A process that is silent for so long while others of its service answer is no longer shown."""

LookAtBrokers = Callable[[], BrokersSight]
"""Blocks; raises what a connection to brokers can raise."""
StreamKey = tuple[str, str]
WhyNot = Literal["silent", "unsound"]
"""Why an answer does not count."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The last that a process said of itself."""

    report: ServiceReport
    at: datetime
    restarts: int


class Sampler:
    """Holds what the last look found; the rest of a day is in the database."""

    def __init__(
        self,
        services: Mapping[str, httpx2.AsyncClient],
        streams: Sequence[GroupStream],
        written: Mapping[str, Collection[str]],
        look_at_brokers: LookAtBrokers,
        open_store: Callable[[], AbstractAsyncContextManager[SampleStore]],
        clock: Clock,
    ) -> None:
        self._services = services
        self._read = streams
        self._written = written
        self._look_at_brokers = look_at_brokers
        self._open_store = open_store
        self._clock = clock
        self._looking: asyncio.Task[BrokersSight] | None = None
        self._answers: dict[tuple[str, str], Answer] = {}
        self._is_loaded = False
        self._silent: dict[str, WhyNot] = {}
        self._standings: dict[StreamKey, StreamStanding] = {}
        self._unsound_since: dict[str, datetime] = {}
        self._brokers: BrokersSight | None = None
        self._moved: dict[tuple[str, Partition], tuple[int, datetime]] = {}
        self._history: dict[StreamKey, deque[tuple[datetime, int | None]]] = {}
        self._ends: deque[tuple[datetime, Mapping[Partition, int]]] = deque(maxlen=7)
        self.streams = StreamsStanding(None)
        self.parts = PartsStanding(None)
        self.probe_seen_at: datetime | None = None

    def alarms(self) -> Iterator[Alarm]:
        """Groups that do not get on, and services that answer what cannot be."""
        now = self._clock.now()
        for one in self.streams.groups:
            where = f"{one.service} reads {one.topic}: {one.rule}"
            if one.verdict == "stalled" and now - one.since >= STALLED_FOR:
                yield Alarm("group_stalled", where, one.since)
            elif one.verdict == "slow" and now - one.since >= SLOW_FOR:
                yield Alarm("group_slow", where, one.since)
        for service, since in self._unsound_since.items():
            yield Alarm("answer_unsound", service, since)

    async def sweep(self) -> bool:
        """One look; raises Unavailable without a database."""
        if not self._is_loaded:
            await self._load()
        before, was_silent = self._brokers, self._silent
        async with asyncio.TaskGroup() as group:
            asked = {name: group.create_task(self._ask(name)) for name in self._services}
        at = self._clock.now()
        found = {name: task.result() for name, task in asked.items()}
        self._note(found, at)
        self._brokers = await self._seen_by_brokers()
        await self._judge(at, before, was_silent)
        return False

    async def close(self) -> None:
        """End the connections."""
        for client in self._services.values():
            await client.aclose()

    async def _load(self) -> None:
        now = self._clock.now()
        async with self._open_store() as store:
            for row in await store.history(now - DAY):
                lag = None if row.lag_seconds is None else round(row.lag_seconds)
                self._points(row.grp, row.topic).append((row.began, lag))
            for row in await store.answers():
                try:
                    report = ServiceReport.model_validate_json(row.answer)
                except ValidationError:  # of another release; the next answer is of this one
                    continue
                self._answers[row.service, row.process] = Answer(report, row.answered_at, row.restarts)
        self._is_loaded = True

    def _points(self, group: str, topic: str) -> deque[tuple[datetime, int | None]]:
        return self._history.setdefault((group, topic), deque(maxlen=POINTS_MAX))

    async def _ask(self, service: str) -> ServiceReport | WhyNot:
        """A service's answer, or why there is none that counts."""
        why: WhyNot = "silent"
        for _ in range(2):  # of two processes one may stand still while its connection is kept
            try:
                client = self._services[service]
                status, content = await answer_within(ANSWER_SECONDS, client, "GET", "/v1/operations")
                if status != httpx2.codes.OK:
                    continue
                report = ServiceReport.model_validate_json(content)
            except (TimeoutError, httpx2.HTTPError, OSError):
                continue
            except ValueError:
                why = "unsound"
                continue
            if report.service == service and self._is_known(report.process, service):
                return report
            why = "unsound"
        return why

    def _is_known(self, process: str, service: str) -> bool:
        """Whether it is one of the service's processes, of which there is room for so many a day."""
        others = sum(key[0] == service for key in self._answers.keys() - {(service, process)})
        return process.split("-")[0] == service and others < PROCESSES_MAX

    def _note(self, found: Mapping[str, ServiceReport | WhyNot], at: datetime) -> None:
        silent: dict[str, WhyNot] = {
            name: one for name, one in found.items() if not isinstance(one, ServiceReport)
        }
        for name in silent.keys() | self._silent.keys():
            if silent.get(name) != self._silent.get(name):
                log().warning("service_seen", peer=name, state=silent.get(name, "answers"))
        self._silent = silent
        unsound = [name for name, why in silent.items() if why == "unsound"]
        self._unsound_since = {name: self._unsound_since.get(name, at) for name in unsound}
        for report in found.values():
            if isinstance(report, ServiceReport):
                key = (report.service, report.process)
                last = self._answers.get(key)
                is_anew = last is not None and last.report.started_at != report.started_at
                self._answers[key] = Answer(report, at, (last.restarts if last else 0) + is_anew)
        self._answers = {key: one for key, one in self._answers.items() if at - one.at < DAY}

    async def _seen_by_brokers(self) -> BrokersSight | None:
        """One question at a time; one that is not answered in time goes on behind."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look_at_brokers))
        done, _ = await asyncio.wait({self._looking}, timeout=BROKERS_SECONDS)
        try:
            if done:
                return self._looking.result()
            log().warning("brokers_not_seen", error_class="TimeoutError")
        except FAILURES as error:
            log().warning("brokers_not_seen", error_class=type(error).__name__)
        return None

    def _newest(self) -> dict[str, Answer]:
        """What each service said last, whichever of its processes did."""
        return {one.report.service: one for one in sorted(self._answers.values(), key=lambda one: one.at)}

    def _stays_for(self, group: str, partition: Partition, following: int, at: datetime) -> float:
        known, since = self._moved.get((group, partition), (following, at))
        since = since if known == following else at
        self._moved[group, partition] = (following, since)
        return max(0.0, (at - since).total_seconds())

    def _ends_told(self) -> Ends:
        """Where writers saw their logs end, while the brokers do not say."""
        return {
            (one.topic, one.partition): (one.topic_id, one.next)
            for answer in self._newest().values()
            for one in answer.report.log_ends
            if one.topic in self._written.get(answer.report.service, ())
        }

    async def _judge(self, at: datetime, before: BrokersSight | None, were_silent: Mapping[str, str]) -> None:
        brokers = self._brokers
        look = StreamsLook(
            at,
            {name: (one.report, one.at) for name, one in self._newest().items()},
            self._silent,
            were_silent,
            brokers,
            before,
            brokers.ends if brokers else self._ends_told(),
            partial(self._stays_for, at=at),
        )
        sights = [look.sight_of(one, is_asked=one.service in self._services) for one in self._read]
        async with self._open_store() as store:
            if brokers:
                ends = [(*one, topic_id, end) for one, (topic_id, end) in brokers.ends.items()]
                await store.keep_ends(ends, at)
            beyond = await store.first_beyond({place for sight in sights for place in sight.waits_at})
            waited = {one: max(0.0, (at - since).total_seconds()) for one, since in beyond.items()}
            standings = [
                self._standing(stream, sight, waited, at)
                for stream, sight in zip(self._read, sights, strict=True)
            ]
            await store.keep(standings, at)
            for one in [one for one in self._answers.values() if one.at == at]:
                await store.keep_answer(one.report, at)
        self._show(standings, at)

    def _standing(
        self, stream: GroupStream, sight: GroupSight, waited: Mapping[Place, float], at: datetime
    ) -> StreamStanding:
        seen, floor = sight.with_lag(waited), floor_of(stream.service)
        rule = judge(seen, floor)
        last = self._standings.get((stream.group, stream.topic))
        points = self._points(stream.group, stream.topic)
        began = datetime.fromtimestamp(at.timestamp() // HISTORY_SECONDS * HISTORY_SECONDS, UTC)
        lag = None if seen.lag_seconds is None else round(seen.lag_seconds)
        if points and points[-1][0] == began:
            _, longest = points.pop()
            points.append((began, max((one for one in (longest, lag) if one is not None), default=None)))
        else:
            points.append((began, lag))
        return StreamStanding(
            group=stream.group,
            service=stream.service,
            topic=stream.topic,
            verdict=rule.verdict,
            rule=rule.name,
            words=told(rule, seen, floor),
            since=last.since if last and last.verdict == rule.verdict else at,
            lag_seconds=lag,
            lag_messages=seen.lag_messages,
            commit_age_seconds=None if sight.commit_age is None else round(sight.commit_age),
            members=seen.members,
            history=tuple(points),
        )

    def _show(self, standings: Sequence[StreamStanding], at: datetime) -> None:
        self._standings = {(one.group, one.topic): one for one in standings}
        newest = self._newest()
        if self._brokers:
            self._ends.append((at, {one: end for one, (_, end) in self._brokers.ends.items()}))
        outboxes = [
            OutboxStanding(name, waits.pending, round(waits.oldest_seconds))
            if name not in self._silent
            else OutboxStanding(name, None, None)
            for name, answer in sorted(newest.items())
            if (waits := answer.report.outbox)
        ]
        figures = [one.report.figures for name, one in newest.items() if name not in self._silent]
        self.probe_seen_at = max((one.probe_seen_at for one in figures if one.probe_seen_at), default=None)
        self.streams = StreamsStanding(at, standings, outboxes, self._rates())
        backups = [one.report.last_backup_at for one in newest.values() if one.report.last_backup_at]
        checkpoint = [one.checkpoint_age_seconds for one in figures if one.checkpoint_age_seconds is not None]
        offer = [one.oldest_offer_seconds for one in figures if one.oldest_offer_seconds is not None]
        self.parts = PartsStanding(
            at,
            [*self._part_rows(newest, at)],
            self._brokers.disk_bytes if self._brokers else None,
            self._brokers.disk_free_bytes if self._brokers else None,
            round(checkpoint[0]) if checkpoint else None,
            round(offer[0]) if offer else None,
            max(backups, default=None),
        )

    def _rates(self) -> list[TopicRate]:
        """By the logs' ends of a minute ago; None before there are any."""
        if len(self._ends) < 2:
            return []
        (then, before), (now, after) = self._ends[0], self._ends[-1]
        minutes = (now - then).total_seconds() / 60
        came: Counter[str] = Counter({one[0]: 0 for one in after})
        for one, end in after.items():
            came[one[0]] += max(0, end - before.get(one, end))
        return [TopicRate(topic, round(count / minutes)) for topic, count in sorted(came.items())]

    def _part_rows(self, newest: Mapping[str, Answer], at: datetime) -> Iterator[PartStanding]:
        for service in sorted(self._services):
            why: Literal["answers", "silent", "unsound"] = self._silent.get(service, "answers")
            processes = [one for one in self._answers.values() if one.report.service == service]
            if not processes:
                yield PartStanding(service, why, None)
            for one in sorted(processes, key=lambda one: one.report.process):
                if one is not newest[service] and at - one.at > GONE_FOR:
                    continue
                report = one.report
                yield PartStanding(
                    report.process,
                    why,
                    one.at,
                    report.version,
                    report.started_at,
                    one.restarts,
                    report.certificate_ends_at,
                    [FiringRule(alarm.rule, alarm.where, alarm.since) for alarm in report.alarms],
                )
