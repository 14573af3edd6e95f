"""Delivery receipts: readers say what they have applied, writers send again what nobody confirms."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from schemas.wire.body import COUNT_MAX
from schemas.wire.envelope import ReadEvent
from schemas.wire.receipts import PAIRS_MAX, AppliedKey, DeliveryReceipt, receipt_key
from schemas.wire.topic import Topic
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.identity import Identity
from services.runtime.inbox import Stream
from services.runtime.logs import log
from services.runtime.outbox import Outbox
from services.runtime.subscription import OutboxEvent
from services.runtime.transaction import Transaction

UNTOLD_MAX: Final = 5_000
"""So many keys are told at once; fewer wait for the next look."""
SWEEP_SECONDS: Final = 10.0
RESEND_AFTER: Final = (60.0, 300.0)
"""How many seconds after it was sent an event is sent again, and once more, while nobody confirms it."""
ALARM_AFTER: Final = 600.0
LOCK_CLASS: Final = 7_002
"""The advisory lock of the one process that looks after what is unconfirmed."""

_CONFIRM: Final = """
UPDATE sequence_out s SET confirmed = r.sequence
FROM unnest(CAST(:keys AS bytea[]), CAST(:sequences AS bigint[])) AS r (key, sequence)
WHERE s.topic = :topic AND s.key = r.key AND s.confirmed < r.sequence AND r.sequence <= s.last"""
_ASKED: Final = "UPDATE unconfirmed SET resent = 0 WHERE topic = :topic"
_LEAD: Final = "SELECT pg_try_advisory_xact_lock(:lock_class, 0) AS leads"
_CONFIRMED: Final = """
DELETE FROM unconfirmed u USING sequence_out s
WHERE s.topic = u.topic AND s.key = u.key AND s.confirmed >= u.sequence"""
_FIND: Final = """
WITH before AS (SELECT looked, following FROM receipt_look),
now_looked AS (
  UPDATE receipt_look SET looked = following, following = nextval('send_order'), at = now()
  WHERE NOT at BETWEEN now() - make_interval(secs => :seconds) AND now() RETURNING 1)
INSERT INTO unconfirmed AS u (topic, key, sequence, place, since)
SELECT o.topic, o.key, max(o.sequence), min(o.place), least(min(o.sent_at), now())
FROM before, now_looked, outbox_sent o
WHERE o.place >= before.looked AND o.place < before.following
  AND o.topic = ANY(CAST(:topics AS text[])) AND o.sequence > (
    SELECT s.confirmed FROM sequence_out s WHERE s.topic = o.topic AND s.key = o.key)
  AND substring(o.key FOR 4) <> CAST(:receipts AS bytea)
GROUP BY o.topic, o.key
ON CONFLICT (topic, key) DO UPDATE
SET sequence = greatest(u.sequence, excluded.sequence), place = least(u.place, excluded.place)"""
_NOT_YET: Final = "UPDATE unconfirmed SET since = now() WHERE since > now()"
"""Where the clock went back: nobody waits until that time comes again."""
_RESEND: Final = """
WITH due AS (
  UPDATE unconfirmed SET resent = :resent
  WHERE resent < :resent AND since < now() - make_interval(secs => :seconds) RETURNING topic, key, place)
SELECT send_again(array_agg(topic), array_agg(key), min(place), NULL) AS rows, count(*) AS streams FROM due
HAVING count(*) > 0"""
_OVERDUE: Final = """
SELECT topic, count(*) AS streams, min(since) AS since FROM unconfirmed
WHERE since < now() - make_interval(secs => :seconds) GROUP BY topic ORDER BY topic"""


class Receipts:
    """What a reader has applied and not yet told the writers: told late or never, it costs a resend."""

    def __init__(self, identity: Identity, writes: Sequence[Topic], outbox: Outbox, clock: Clock) -> None:
        """`writes` are the topics of this service, one of which leads back from each that is confirmed."""
        self._outbox = outbox
        self._clock = clock
        self._key = receipt_key(identity.service)
        self._writes = {topic.title: topic for topic in writes}
        self._confirmed_by = {topic.leads_back: topic.name(identity.namespace) for topic in writes}
        self._untold: dict[Topic, dict[str, int]] = {}

    def note(self, topics: Iterable[Topic], last: Mapping[Stream, int]) -> None:
        """Remember how far each key of these topics is, for repeats too: nobody may have been told."""
        backs = {topic.title: self._writes.get(topic.leads_back or "") for topic in topics}
        for (title, _, key), applied in last.items():
            if (back := backs.get(title)) and 1 <= applied <= COUNT_MAX:
                self._untold.setdefault(back, {})[key] = applied

    @property
    def are_many(self) -> bool:
        """Whether they are to be told now."""
        return sum(map(len, self._untold.values())) >= UNTOLD_MAX

    async def tell(self, database: Database) -> None:
        """Write what is untold to the writers; they learn of several batches at once."""
        told, self._untold = self._untold, {}
        events = [self._event(topic, pairs) for topic, keys in told.items() for pairs in _pairs(keys)]
        if events:
            async with database.transaction() as transaction:
                await self._outbox.add(transaction, events)

    async def ask_again(self, transaction: Transaction, topics: Iterable[Topic]) -> None:
        """Ask the writers of these topics for all that is not confirmed."""
        backs = [self._writes[topic.leads_back] for topic in topics if topic.leads_back in self._writes]
        await self._outbox.add(transaction, [self._event(back, ()) for back in backs])

    def _event(self, topic: Topic, pairs: Sequence[AppliedKey]) -> OutboxEvent:
        return OutboxEvent(topic, DeliveryReceipt(reader=self._key, applied=tuple(pairs)), self._clock.now())

    async def confirm(self, transaction: Transaction, events: Sequence[ReadEvent[Any]]) -> None:
        """Keep what readers of this service's topics have confirmed."""
        found: dict[str, dict[str, int]] = {}
        for event in events:
            if name := self._confirmed_by.get(event.topic.title):
                keys = found.setdefault(name, {})
                for one in event.body.applied:
                    keys[one.key] = max(one.sequence, keys.get(one.key, 0))
                if not event.body.applied:
                    await transaction.run(_ASKED, topic=name)
        for name, keys in sorted(found.items()):
            ordered = sorted(keys)  # one order for all writers: no deadlock
            await transaction.run(
                _CONFIRM,
                topic=name,
                keys=[key.encode() for key in ordered],
                sequences=[keys[key] for key in ordered],
            )


def _pairs(keys: Mapping[str, int]) -> list[list[AppliedKey]]:
    pairs = [AppliedKey(key=key, sequence=sequence) for key, sequence in keys.items()]
    return [pairs[at : at + PAIRS_MAX] for at in range(0, len(pairs), PAIRS_MAX)]


class UnconfirmedEvents:
    """Sends again, with its old bytes, what nobody has confirmed in time, and says what never is."""

    def __init__(
        self, database: Database, identity: Identity, writes: Sequence[Topic], wake: Callable[[], None]
    ) -> None:
        self._database = database
        self._topics = [topic.name(identity.namespace) for topic in writes if topic.leads_back]
        self._wake = wake
        self._alarms: list[Alarm] = []

    def alarms(self) -> list[Alarm]:
        """What was not confirmed ten minutes after it was first sent."""
        return self._alarms

    async def sweep(self) -> bool:
        """Look once; where another process does so already, it is enough."""
        async with self._database.transaction() as transaction:
            [lead] = await transaction.rows(_LEAD, lock_class=LOCK_CLASS)
            if not lead.leads:
                self._alarms = []  # the other one's to tell
                return False
            await transaction.run(_CONFIRMED)
            await transaction.run(_NOT_YET)
            # So that rows are found before they are due, and few that are only on their way.
            await transaction.run(
                _FIND, seconds=RESEND_AFTER[0] / 4, topics=self._topics, receipts=receipt_key("").encode()
            )
            for resent, seconds in reversed([*enumerate(RESEND_AFTER, 1)]):
                for row in await transaction.rows(_RESEND, resent=resent, seconds=seconds):
                    log().warning("unconfirmed_resent", count=row.rows, streams=row.streams)
            overdue = await transaction.rows(_OVERDUE, seconds=ALARM_AFTER)
            transaction.after_commit.append(self._wake)
        self._alarms = [Alarm("unconfirmed", f"{row.topic} ({row.streams})", row.since) for row in overdue]
        return False
