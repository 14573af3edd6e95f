"""Operators' acts upon a service's readers: letters tried again or given up, partitions let go on."""

from collections import Counter

from services.runtime import dead_letters, operator_acts, partition_alarms, refusals
from services.runtime.acts import (
    LETTERS_MAX,
    ActCounts,
    ActRequest,
    LetterChoice,
    LetterScope,
    PartitionChoice,
    Rehearsal,
    check_second,
)
from services.runtime.batches import Batches, some_of
from services.runtime.crash import crash_point
from services.runtime.database import Database
from services.runtime.logs import log


class LetterActs:
    """What is done by the reader itself: there is no target to name."""

    def __init__(self, database: Database, group: str, batches: Batches) -> None:
        self._database = database
        self._group = group
        self._batches = batches

    async def rehearse(self, chosen: LetterChoice) -> Rehearsal:
        """Which letters are meant, and how many could be read by now; nothing is changed."""
        async with self._database.transaction() as transaction:
            ids = await dead_letters.choose(transaction, chosen, rows_max=LETTERS_MAX)
        if not ids:
            raise refusals.NothingWaits
        looked_at, still = 0, Counter[str]()
        for some in some_of(ids):
            waiting = await self._batches.waiting(some)
            looked_at += len(waiting)
            still.update(self._batches.unreadable_still(waiting))
        figures = {"readable": looked_at - still.total(), **still}
        return Rehearsal(count=len(ids), figures=figures, scope={"ids": ids})

    async def redrive(self, asked: ActRequest[LetterScope]) -> ActCounts:
        """Try letters again, and what waits behind them; asked again it goes on with those that wait."""
        check_second("redrive", asked)
        order, ids = asked.order, asked.scope.ids
        async with self._database.transaction() as transaction:
            # Before the first is applied: the act is on record also where it breaks off.
            if await operator_acts.done_before(transaction, order.plan) is None:
                counts = {"letters": asked.count}
                await operator_acts.record(transaction, "letters_redrive", counts, **dict(order))
        crash_point("acts.recorded")
        await self._batches.redrive_these(ids)
        crash_point("acts.redriven")  # these letters are marked: who asks again is told the same
        async with self._database.transaction() as transaction:
            left = await dead_letters.count_left(transaction, ids)
        log().warning("dead_letters_redriven", count=len(ids), group=self._group)
        return ActCounts(counts={"redriven": len(ids) - sum(left.values()), **left})

    async def discard(self, asked: ActRequest[LetterScope]) -> ActCounts:
        """Give up letters, if all of them still wait: once, or not at all."""
        check_second("discard", asked)
        order, ids = asked.order, asked.scope.ids
        async with self._database.transaction() as transaction:
            done = await operator_acts.done_before(transaction, order.plan)
            if done is None:
                done = {"letters": len(ids)}
                if await self._batches.discard(transaction, ids) != len(ids):
                    raise refusals.OtherCount  # rolls back
                await operator_acts.record(transaction, "letters_discard", done, **dict(order))
        crash_point("acts.discarded")
        log().warning("dead_letters_discarded", count=len(ids), group=self._group)
        return ActCounts(counts={"discarded": done["letters"]})

    async def look(self, chosen: PartitionChoice) -> Rehearsal:
        """What stands over a partition; nothing is changed."""
        async with self._database.transaction() as transaction:
            standing = await partition_alarms.standing(transaction, self._group)
        rules = {alarm.rule: 1 for place, alarm in standing if place == (chosen.topic, chosen.partition)}
        if not rules:
            raise refusals.NothingStands
        return Rehearsal(count=len(rules), figures=rules, scope=dict(chosen))

    async def resume(self, asked: ActRequest[PartitionChoice]) -> ActCounts:
        """End what stands over a partition; its reader looks every few seconds, and goes on."""
        check_second("resume", asked)
        order, place = asked.order, (asked.scope.topic, asked.scope.partition)
        async with self._database.transaction() as transaction:
            done = await operator_acts.done_before(transaction, order.plan)
            if done is None:
                ended = await partition_alarms.end_alarms(transaction, self._group, place, order.reason)
                if not ended:
                    raise refusals.NothingStands
                done = {"alarms": len(ended)}
                await operator_acts.record(transaction, "reader_resume", done, **dict(order))
        log().warning("partition_resumed", topic=place[0], partition=place[1], group=self._group)
        return ActCounts(counts={"ended": done["alarms"]})
