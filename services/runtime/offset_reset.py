"""An operator has a reader go on from another offset: back over what it had, or past what it never had.

The offset in the service's database is the truth. The reader finishes its batch and begins none; the offset
is moved by compare-and-set from where the plan saw it, and the reader finds its place anew. A process that
read the partition meanwhile finds its own compare-and-set refused, and rolls back.
"""

from services.runtime import offsets, operator_acts, refusals
from services.runtime.acts import ActCounts, ActRequest, OffsetChoice, OffsetScope, Rehearsal, check_second
from services.runtime.clock import SystemClock
from services.runtime.consumer import Consumer
from services.runtime.crash import crash_point
from services.runtime.database import Database
from services.runtime.inbox import IDS_KEPT
from services.runtime.logs import log
from services.runtime.siblings import Siblings


class OffsetReset:
    """The door for it, in the one process that reads."""

    def __init__(self, database: Database, group: str, consumer: Consumer, siblings: Siblings) -> None:
        self._database = database
        self._group = group
        self._consumer = consumer
        self._siblings = siblings

    async def rehearse(self, chosen: OffsetChoice) -> Rehearsal:
        """How many records are read once more, or never; nothing is changed."""
        following, to = await self._check(chosen), chosen.to
        scope = OffsetScope(topic=chosen.topic, partition=chosen.partition, to=to, following=following)
        return Rehearsal(
            count=abs(to - following),
            skips=to > following,
            figures={"following": following, "to": to},
            scope=dict(scope),
        )

    async def reset(self, asked: ActRequest[OffsetScope]) -> ActCounts:
        """Move the offset, once; refused where the reader has gone on since the plan."""
        order, scope = asked.order, asked.scope
        skips, partition = scope.to > scope.following, (scope.topic, scope.partition)
        check_second("reset", asked, skips=skips)
        counts = {"skipped" if skips else "back": abs(scope.to - scope.following)}
        async with self._consumer.held(partition):
            async with self._database.transaction() as transaction:
                done = await operator_acts.done_before(transaction, order.plan)
            if done is None:
                await self._check(scope)
                async with self._database.transaction() as transaction:
                    if not await offsets.reset(
                        transaction, self._group, partition, scope.following, scope.to
                    ):
                        raise refusals.OffsetMoved
                    await operator_acts.record(transaction, "offset_reset", counts, **dict(order))
            # The reader still thinks that it is where it was; nothing that it applies there is committed.
            crash_point("acts.reset")
        log().warning("offset_reset", topic=scope.topic, partition=scope.partition, group=self._group)
        return ActCounts(counts=done or counts)

    async def _check(self, chosen: OffsetChoice) -> int:
        """Where the reader goes on now; refuses a live sibling, and offsets that it cannot go to."""
        if self._siblings.are_there:
            raise refusals.ReaderElsewhere
        partition = chosen.topic, chosen.partition
        async with self._database.transaction() as transaction:
            stored, _ = await offsets.stored_places(transaction, self._group, [partition])
        if partition not in stored:
            raise refusals.NoSuchOffset
        following = stored[partition][1]
        log_, known = await self._consumer.log_since(partition, SystemClock().now() - IDS_KEPT)
        if not log_.beginning <= chosen.to <= log_.end or chosen.to == following:
            raise refusals.NoSuchOffset
        if chosen.to < min(known, following):
            raise refusals.BeyondInbox
        return following
