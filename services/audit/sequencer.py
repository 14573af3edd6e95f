"""The sequencer: gives every entry its place, in groups, one transaction each; one process leads a log.

A lead begins with an entry of chance bytes, and answers nobody before the signer has signed it: a database
that was put back holds no such signature, and its head is another than the one the signer remembers.

Whatever waited while the last group was being committed is the next group. A process that fails to write,
for whatever reason, gives up the lead and starts over from the database, as at start-up.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from schemas.events.access import EntryProof, PublishedProofs, Receipt
from schemas.trail.bytes import TrailFault
from schemas.trail.notes import NamedKey, signed_checkpoint
from schemas.trail.tree import HASH_BYTES, TILE_HASHES, Tree, leaf_hash
from schemas.wire.body import instant_text
from services.audit.domain.drafts import Draft
from services.audit.domain.group import Answer, Group, Intent
from services.audit.domain.keyring import DataKey, Keyring
from services.audit.domain.records import Head, StoredCheckpoint, StoredEntry
from services.audit.domain.refusals import (
    DetailDamaged,
    NotLeader,
    SlowDown,
    SubjectErased,
    TrailClosed,
    TrailDamaged,
)
from services.audit.domain.soundness import Findings, check_entries, opened_detail
from services.audit.lead import LOST, SEQUENCER_LOCK, Lead
from services.audit.store import LogDatabase, TrailStore
from services.runtime.alarms import Alarm
from services.runtime.clock import Clock
from services.runtime.crash import crash_point
from services.runtime.errors import Refused, Unavailable
from services.runtime.logs import log
from services.runtime.sweeper import Sweeper

LEAD_SECONDS: Final = 0.5
"""How often a process that does not lead looks whether the lead is free."""
GROUP_ENTRIES_MAX: Final = 2_000
CALLER_WAITING_MAX: Final = 2_500
"""How many entries of one caller wait: the lists of one sector must not starve the others."""
ANSWER_WITHIN_SECONDS: Final = 2.0
CHECKPOINT_EVERY: Final = timedelta(seconds=1)
UNSIGNED_FOR: Final = timedelta(seconds=10)
"""A due size that waits longer for the signer is an alarm."""
NOTHING_SIGNED: Final = -1
"""The size of no checkpoint: that of an empty log waits to be signed too."""
LOAD_TILES: Final = 10
RETENTION: Final = "standard"
"""The retention class of entries that are about no registered subject."""

_Ticket = tuple[Draft, asyncio.Future[Answer]]
"""A draft that waits for its group, and what its caller waits for."""


@dataclass(slots=True)
class CheckpointLag:
    """The first due size that no checkpoint covers, and since when it waits for the signer."""

    waits_max: timedelta
    waits_since: datetime | None = None
    _size: int = 0

    def look(self, due_size: int, signed_size: int, now: datetime) -> None:
        """Take in what is due and what is signed."""
        if signed_size >= self._size:
            self.waits_since = None
        if self.waits_since is None and due_size > signed_size:
            self._size, self.waits_since = due_size, now

    def is_late(self, now: datetime) -> bool:
        """Whether a size has waited too long: the signer has halted or is gone."""
        return self.waits_since is not None and now - self.waits_since > self.waits_max


class AnotherLeads(Exception):
    """This process led and another does now: it ends, and begins again as one that stands by."""


class Sequencer(Sweeper):
    """Leads one log while it can; `append` is the only way in.

    Its ledger has connections of its own: a storm of requests that read must not keep it waiting.
    """

    def __init__(
        self, ledger: LogDatabase, keyring: Keyring, log_key: NamedKey, waits_max: timedelta, clock: Clock
    ) -> None:
        """`clock` is for what is written; what waits is measured by the sweeper's own, which never leaps."""
        super().__init__("sequencer", LEAD_SECONDS, self.sweep)
        self._wall = clock
        self._ledger = ledger
        self._keyring = keyring
        self._log_key = log_key
        self._lag = CheckpointLag(waits_max)
        self._waiting: deque[_Ticket] = deque()
        self._entries: Counter[str] = Counter()
        """Caller → how many entries of its drafts wait."""
        self._lead = Lead(ledger, SEQUENCER_LOCK)
        self._speaks = asyncio.Event()
        self._is_overtaken = False
        self._head: Head | None = None
        self._began_at = 0
        """The size of the log when this lead began."""
        self._tree = Tree()
        self._closed: Refused = NotLeader()
        self._damage: Alarm | None = None
        self._findings = Findings()
        self._checkpoint: StoredCheckpoint | None = None
        self._due_at: datetime | None = None
        self._is_due = self._looks = False
        self._month_keys: dict[str, DataKey] = {}

    async def append(self, drafts: Sequence[Draft]) -> list[Answer]:
        """Record drafts; an answer that is a place is durable and in the tree."""
        self.check_confirmed()
        asked: Counter[str] = Counter()
        for draft in drafts:
            asked[draft.caller] += draft.count
        after = self._entries + asked
        if any(after[caller] > CALLER_WAITING_MAX for caller in asked):
            raise SlowDown
        self._entries = after
        loop = asyncio.get_running_loop()
        tickets = [(draft, loop.create_future()) for draft in drafts]
        self._waiting.extend(tickets)
        self.wake()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                return list(await asyncio.gather(*(answer for _, answer in tickets)))
        except TimeoutError:
            raise TrailClosed("database") from None

    def check_open(self) -> None:
        """Refuse where nobody could check a permit, or the signer no longer signs."""
        self._signed_head()

    def prove(self, index: int) -> tuple[Head, Receipt]:
        """The durable head, and how an entry leads to it; refuses as `check_open` does."""
        head, checkpoint = self._signed_head()
        path = self._tree.inclusion_proof(index, head.size)
        growth = self._tree.consistency_proof(checkpoint.size, head.size)
        return head, Receipt(path=tuple(path), checkpoint=checkpoint.note, consistency=tuple(growth))

    def prove_published(self, indexes: Sequence[int]) -> PublishedProofs:
        """How entries lead to the newest checkpoint; those that it does not cover yet are left out."""
        checkpoint = self._signed_head()[1]
        covered = [index for index in indexes if index < checkpoint.size]
        proofs = [
            EntryProof(index=index, path=tuple(self._tree.inclusion_proof(index, checkpoint.size)))
            for index in covered
        ]
        return PublishedProofs(checkpoint=checkpoint.note, proofs=tuple(proofs))

    def check_confirmed(self) -> None:
        """Refuse before the signer has signed what this lead began with."""
        self._confirmed_head()

    async def speaks(self) -> None:
        """Wait until this process is the one to ask: it leads, or has found damage."""
        await self._speaks.wait()

    def _confirmed_head(self) -> tuple[Head, StoredCheckpoint]:
        if self._head is None:
            raise self._closed
        if self._checkpoint is None:
            raise TrailClosed("shard")
        if self._checkpoint.size <= self._began_at:
            raise TrailClosed("unconfirmed")
        return self._head, self._checkpoint

    def _signed_head(self) -> tuple[Head, StoredCheckpoint]:
        confirmed = self._confirmed_head()
        if self._lag.is_late(self.clock.now()):
            raise TrailClosed("unsigned")
        return confirmed

    async def run(self) -> None:
        """Sweep until stopped; then give up the lead, so that another process can take it."""
        try:
            await super().run()
        finally:
            await self.resign(NotLeader())
            await self._ledger.close()
        if self._is_overtaken:
            raise AnotherLeads

    async def sweep(self) -> bool:
        """Take the lead if it is free, record one group; says whether more waits."""
        try:
            if self._head is not None and not self._lead.is_held:
                raise Unavailable(LOST)
            if self._head is None:
                await self._take_lead()
            if self._head is not None:
                await self._record(self._head)
            if self._looks:
                await self._read_checkpoint()
        except TrailDamaged as damage:
            await self.resign(TrailClosed("database"))
            self._damage = Alarm("trail_closed", damage.where, self.clock.now())
            self._speaks.set()
            log().error("trail_damaged", state=str(damage))
        except Exception:
            # Committed or not: nobody knows. The database does, so the next round begins with reading it.
            await self.resign(TrailClosed("database"))
            raise
        return bool(self._waiting)

    async def tick(self) -> bool:
        """Show that it lives; once a second make the size due of a log that grows; look for the signature."""
        if self._lead.is_held:
            await self._lead.beat()
        head, now = self._head, self.clock.now()
        if head is None:
            return False
        if head.size > head.due_size and (self._due_at is None or now - self._due_at >= CHECKPOINT_EVERY):
            self._due_at, self._is_due = now, True
        signed_size = self._checkpoint.size if self._checkpoint else NOTHING_SIGNED
        self._lag.look(head.due_size, signed_size, now)
        if self._is_due or signed_size < head.due_size:
            self._looks = True
            self.wake()
        return False

    def alarms(self) -> Iterator[Alarm]:
        """What a person must look at: a damaged trail, damaged details, a signer that is away."""
        yield from super().alarms()
        if self._damage is not None:
            yield self._damage
        yield from self._findings.alarms()
        since = self._lag.waits_since
        if self._head is not None and since and self.clock.now() - since > UNSIGNED_FOR:
            yield Alarm("head_unsigned", f"size {self._head.due_size}", since)

    def checkpoint_age_seconds(self) -> float | None:
        """How long ago the newest checkpoint was signed; None before one was seen."""
        signed_at = self._checkpoint.signed_at if self._checkpoint else None
        return (self._wall.now() - signed_at).total_seconds() if signed_at else None

    async def resign(self, why: Refused) -> None:
        """Give up the lead and answer all that wait."""
        self._head, self._closed, self._checkpoint = None, why, None
        self._tree, self._month_keys, self._is_due = Tree(), {}, False
        while self._waiting:
            _answer(self._waiting.popleft()[1], why)
        self._entries.clear()
        await self._lead.give_up()

    async def _take_lead(self) -> None:
        if self._damage is not None:
            return
        if not await self._lead.take():
            self._closed = NotLeader()
            if self._speaks.is_set():
                self._is_overtaken = True
                self.stop()
            return
        async with self._ledger.open(singly=True) as store:
            head = await store.take_lead()
        self._tree, self._head, self._looks = await self._load(head), head, True
        self._began_at, self._due_at, self._is_due = head.size, None, True
        self._speaks.set()
        log().info("trail_open", count=head.size)

    async def _load(self, head: Head) -> Tree:
        """The tree of all stored entries; TrailDamaged where they are not what the head says."""
        tree, opened = Tree(), 0
        self._findings = Findings()
        span = LOAD_TILES * TILE_HASHES
        for start in range(0, head.size, span):
            stop = min(start + span, head.size)
            async with self._ledger.open(singly=True) as store:
                entries = await store.entries(start, stop)
                tiles = await store.tiles(0, start // TILE_HASHES, -(-stop // TILE_HASHES))
            hashes = b"".join(tiles)
            if len(hashes) != (stop - start) * HASH_BYTES:
                raise TrailDamaged(f"entry {start}", "a tile of this stretch is missing or of another length")
            tree.extend(check_entries(start, entries, hashes))
            opened += sum(entry.is_erased or isinstance(self._intent(entry), Intent) for entry in entries)
        if tree.root() != head.root:
            raise TrailDamaged("the tree", "the entries do not lead to the stored root")
        if head.size and not opened:
            # Single damages spare some: going on would seal new keys under a wrap key of another log.
            raise TrailDamaged("the wrap key", "no detail opens, so it is another log's")
        return tree

    def _intent(self, entry: StoredEntry) -> Intent | Refused:
        """What an outcome needs of a stored entry; a damaged detail is told, and stops nothing."""
        if entry.is_erased:
            return SubjectErased("/intent")
        try:
            words = opened_detail(entry, self._keyring)[2]
        except DetailDamaged as damaged:
            if self._findings.add(damaged.index, self.clock.now()):
                log().error("detail_damaged", state=f"entry {damaged.index}: {damaged.why}")
            return damaged
        return Intent(entry.caller, words["kind"], words.get("subject"))

    async def _read_checkpoint(self) -> None:
        """See what the signer signed last; in turn with commits, so that it is never ahead of our head."""
        async with self._ledger.open(singly=True) as store:
            stored = await store.newest_checkpoint()
        self._looks = False
        if stored is None or self._head is None:
            return
        try:
            signed = signed_checkpoint(stored.note, self._log_key)
        except TrailFault:
            raise TrailDamaged("the checkpoint", "the newest one is not signed by the log's key") from None
        if signed.size > self._head.size or self._tree.root(signed.size) != signed.root:
            raise TrailDamaged("the checkpoint", "the newest one is of another tree")
        self._checkpoint = replace(stored, size=signed.size, root=signed.root)

    async def _record(self, head: Head) -> None:
        """Record all that waits as one group. The order of these lines is the promise.

        One statement writes all of it, and only onto the head that was read: no transaction is needed.
        """
        taken, is_due = self._take(), self._is_due
        if not taken and not is_due:
            return
        try:
            async with self._ledger.open(singly=True) as store:
                group = await self._open_group([draft for draft, _ in taken], head, store)
                answers = [group.add(draft) for draft, _ in taken]
                if is_due:
                    group.add_padding(begins=head.size == self._began_at)
                if group.entries or is_due:
                    _crash_point_of("grouped", taken)  # nothing was written; the idem comes again
                    head = await self._append(store, head, group, is_due=is_due)
        except Exception:
            self._waiting.extendleft(reversed(taken))  # resigning answers them
            raise
        _crash_point_of("committed", taken)  # durable, not answered: the same idem gets the same index
        self._head, self._is_due = head, self._is_due and not is_due
        for (_, waits), answer in zip(taken, answers, strict=True):
            _answer(waits, answer)

    async def _append(self, store: TrailStore, head: Head, group: Group, *, is_due: bool) -> Head:
        self._tree.extend([leaf_hash(entry.leaf) for entry in group.entries])
        size, root = self._tree.size, self._tree.root()
        places = self._tree.tiles_since(head.size)
        tiles = [(level, number, self._tree.tile(level, number)) for level, number in places]
        if not await store.append(head, group, root, tiles, is_due=is_due):
            raise Unavailable("another process has written this log since: start over from the database")
        for subject in group.erases:  # with the entry that says so, or neither
            await store.erase_subject(subject)
        return Head(size, root, head.epoch, size if is_due else head.due_size)

    def _take(self) -> list[_Ticket]:
        taken: list[_Ticket] = []
        entries = 0
        while self._waiting and entries < GROUP_ENTRIES_MAX:
            draft, waits = self._waiting.popleft()
            entries += draft.count
            self._entries -= Counter({draft.caller: draft.count})
            taken.append((draft, waits))
        return taken

    async def _open_group(self, drafts: Sequence[Draft], head: Head, store: TrailStore) -> Group:
        """An empty group over everything that these drafts depend on."""
        known = await store.known({(draft.caller, draft.idem) for draft in drafts}) if drafts else {}
        asked = {draft.intent for draft in drafts if draft.intent is not None}
        stored = await store.entries_at(asked) if asked else []
        intents = {entry.index: self._intent(entry) for entry in stored}
        ids = {subject for draft in drafts for subject in draft.subjects}
        ids |= {one.subject for one in intents.values() if isinstance(one, Intent) and one.subject}
        found = (await store.subjects(ids)).values() if ids else ()
        erased = {one.id for one in found if one.is_erased}
        subjects = {one.id: subject for one in found if (subject := self._keyring.subject(one))}
        key, at = await self._month_key(store), instant_text(self._wall.now())
        return Group(self._keyring, head.size, at, key, known, subjects, intents, erased=erased)

    async def _month_key(self, store: TrailStore) -> DataKey:
        """The key of this month's entries that are about no registered subject; each term makes its own."""
        month = f"{self._wall.now():%Y-%m}/{RETENTION}"
        if month not in self._month_keys:
            key, wrapped = self._keyring.new_key(f"{month}/{self._keyring.random(8).hex()}")
            await store.add_data_key(key.name, wrapped)
            self._month_keys[month] = key
        return self._month_keys[month]


def _crash_point_of(place: str, taken: Sequence[_Ticket]) -> None:
    if taken:  # a test waits for a request's group, not for padding
        crash_point(f"sequencer.{place}")


def _answer(waits: asyncio.Future[Answer], answer: Answer) -> None:
    if not waits.done():
        waits.set_result(answer)
