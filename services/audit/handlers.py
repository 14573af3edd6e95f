"""One function for each thing that the trail is asked."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

from schemas.events import access as contract
from schemas.trail.bytes import commitment, leaf, request_digest, tag_of
from schemas.trail.notes import Signer
from schemas.trail.permits import NONCE_AGE_SECONDS_MAX, PermitBody, signed_permit
from schemas.trail.tree import leaf_hash
from schemas.wire.body import instant_text
from services.audit.domain.drafts import Draft, EntryWriter
from services.audit.domain.group import Answer, LogEntry
from services.audit.domain.keyring import Keyring
from services.audit.domain.records import Head, StoredCheckpoint, StoredEntry, StoredSubject
from services.audit.domain.refusals import DetailDamaged, IdemConflict, NotYours, SubjectErased
from services.audit.domain.soundness import opened_detail, opening_line
from services.runtime.clock import Clock
from services.runtime.errors import Refused

OPENINGS_PAGE: Final = 1_000
BASIS: Final = "operations"
"""On what the operator's own exports rest."""


class Appender(Protocol):
    """The way into the log; each method raises a refusal when the log is closed."""

    async def append(self, drafts: Sequence[Draft]) -> list[Answer]:
        """Record drafts; waits until each place that it answers is durable."""

    def check_confirmed(self) -> None:
        """Refuse while the log may be an older copy, without waiting."""

    def check_open(self) -> None:
        """Refuse where no permit could follow, without waiting."""

    def prove(self, index: int) -> tuple[Head, contract.Receipt]:
        """The durable head, and how an entry leads to it, without waiting."""

    def prove_published(self, indexes: Sequence[int]) -> contract.PublishedProofs:
        """How entries lead to the newest checkpoint, without waiting; none of one that it does not cover."""


class Store(Protocol):
    """Rows within one transaction; each method waits, and what is written is durable when its block ends."""

    async def entries(self, start: int, stop: int) -> list[StoredEntry]:
        """Entries in order."""

    async def leaves(self, start: int, stop: int) -> list[bytes]:
        """The public bytes of entries."""

    async def untagged(self, caller: str, start: int) -> list[StoredEntry]:
        """The next entries of a caller that are about no subject, in order; none behind the last."""

    async def tiles(self, level: int, start: int, stop: int) -> list[bytes]:
        """Tiles of a level as far as they are filled, from one number to before another."""

    async def newest_checkpoint(self) -> StoredCheckpoint | None:
        """The newest signed head."""

    async def subjects(self, ids: Collection[str]) -> dict[str, StoredSubject]:
        """The registered ones among these."""

    async def add_subject(self, subject: str, owner: str, retention: str, wrapped: bytes) -> bool:
        """Register; false where it is registered already."""

    async def add_data_key(self, name: str, wrapped: bytes) -> None:
        """Keep a new wrapped key."""


@dataclass(frozen=True, slots=True)
class Work:
    """What these functions may touch."""

    appender: Appender
    open_store: Callable[..., AbstractAsyncContextManager[Store]]
    """With `log`, that of a log before this one."""
    writer: EntryWriter
    keyring: Keyring
    permit_signer: Signer
    clock: Clock


async def ask_permit(request: contract.PermitRequest, caller: str, work: Work) -> contract.PermitAnswer:
    """Record the intent, then sign that it is recorded. The order is the promise."""
    entry = await _record_intent(request, caller, work)
    head, receipt = work.appender.prove(entry.index)
    body = PermitBody(
        origin=work.writer.origin,
        audience=caller,
        request=request_digest(request.plain(), caller),
        nonce=request.nonce,
        leaf=leaf_hash(leaf(entry.opening.tag, commitment(entry.opening.salt, entry.opening.detail))),
        index=entry.index,
        count=1 + len(entry.items),
        size=head.size,
        root=head.root,
        expires=instant_text(work.clock.now() + timedelta(seconds=NONCE_AGE_SECONDS_MAX)),
    )
    permit = contract.SignedPermit(**signed_permit(body, work.permit_signer))
    return contract.PermitAnswer(permit=permit, opening=entry.opening, items=entry.items, receipt=receipt)


Result = contract.EntryPlace | Refused


async def report_outcomes(reports: Sequence[contract.OutcomeReport], caller: str, work: Work) -> list[Result]:
    """Record what came of intents; only the caller that asked may say so."""
    return await _report([partial(work.writer.outcome, one, caller=caller) for one in reports], work)


async def report_events(reports: Sequence[contract.EventReport], caller: str, work: Work) -> list[Result]:
    """Record what was done without a permit."""
    return await _report([partial(work.writer.event, one, caller=caller) for one in reports], work)


async def register_subjects(
    subjects: Sequence[contract.SubjectKey], caller: str, work: Work
) -> list[Refused | str]:
    """Keep the keys of subjects for their owner; the same key again is the same registration."""
    if caller not in work.writer.parties["sector"]:
        raise NotYours
    work.appender.check_confirmed()
    async with work.open_store() as store:
        return [await _register(subject, caller, store, work) for subject in subjects]


async def erase_subjects(
    erasures: Sequence[contract.SubjectErasure], caller: str, work: Work
) -> list[Result]:
    """Destroy the keys of subjects for their owner: their entries stay in the tree, and nobody reads them."""
    if caller not in work.writer.parties["sector"]:
        raise NotYours
    return await _report([partial(work.writer.erasure, one, caller=caller) for one in erasures], work)


async def open_entries(
    idem: bytes, purpose: str, size: int, caller: str, work: Work, log: str | None = None
) -> AsyncIterator[bytes]:
    """The details of the first entries, for the operator's export, which is itself an entry first."""
    is_earlier = log is not None and log != work.writer.origin
    named = (contract.Explanation(code="earlier_log", ref=log),) if is_earlier else ()
    access = contract.Access(
        act="trail_read", purpose=purpose, basis=BASIS, actor=contract.Actor(client=caller), explain=named
    )
    request = contract.PermitRequest(idem=idem, nonce=idem, access=access)
    intent = (await _record_intent(request, caller, work)).index
    last = intent
    if is_earlier:
        async with work.open_store(log=log) as store:
            newest = await store.newest_checkpoint()
        last = newest.size if newest else 0
    return _opened(min(size, last), intent, caller, work, log)


async def closures_told(start: int, caller: str, work: Work) -> tuple[list[contract.ToldClosure], int | None]:
    """What a sector told of its ledger, from an index on; and where the next page begins."""
    work.appender.check_confirmed()
    async with work.open_store() as store:
        entries = await store.untagged(caller, start)
    found = []
    for entry in entries:
        try:
            salt, detail, words = opened_detail(entry, work.keyring)
        except DetailDamaged:
            continue  # the row that it told of is missing then, and that shows
        if words.get("act") == "closure":
            opening = contract.Opening(detail=detail, salt=salt, tag=tag_of(entry.leaf))
            found.append(contract.ToldClosure(index=entry.index, opening=opening))
    return found, entries[-1].index + 1 if entries else None


async def _record_intent(request: contract.PermitRequest, caller: str, work: Work) -> LogEntry:
    """The entry of an intent, durable; the one before where the same request comes again."""
    draft = work.writer.permit(request, caller=caller)
    work.appender.check_open()  # refuse before anything is written, if no permit could follow
    answer = (await work.appender.append([draft]))[0]
    if isinstance(answer, Refused):
        raise answer
    return await _reopened(answer, work) if isinstance(answer, int) else answer


async def _reopened(index: int, work: Work) -> LogEntry:
    """What was written for the same request before."""
    async with work.open_store() as store:
        entry = (await store.entries(index, index + 1))[0]
        salt, detail, words = opened_detail(entry, work.keyring)
        items = await store.entries(index - words.get("items", {}).get("count", 0), index)
    opening = contract.Opening(detail=detail, salt=salt, tag=tag_of(entry.leaf))
    return LogEntry(index, opening, tuple(item.leaf for item in items))


async def _report(writers: Sequence[Callable[[], Draft]], work: Work) -> list[Result]:
    """Record what can be recorded; each refusal is answered in its place."""
    results: list[Answer | Draft] = []
    for write in writers:
        try:
            results.append(write())
        except Refused as refused:
            results.append(refused)
    good = [draft for draft in results if isinstance(draft, Draft)]
    answers = iter(await work.appender.append(good) if good else [])
    return [_result(next(answers) if isinstance(one, Draft) else one, work) for one in results]


def _result(answer: Answer, work: Work) -> Result:
    if isinstance(answer, Refused):
        return answer
    index = answer if isinstance(answer, int) else answer.index
    return contract.EntryPlace(origin=work.writer.origin, index=index)


async def _register(subject: contract.SubjectKey, caller: str, store: Store, work: Work) -> Refused | str:
    wrapped = work.keyring.wrapped_tag_key(subject.id, subject.key)
    if await store.add_subject(subject.id, caller, subject.retention, wrapped):
        await store.add_data_key(subject.id, work.keyring.new_key(subject.id)[1])
        return subject.id
    stored = (await store.subjects([subject.id]))[subject.id]
    if stored.owner != caller:
        return NotYours()
    if stored.is_erased:
        return SubjectErased("/id")
    known = work.keyring.subject(stored)
    return subject.id if known is not None and known.tag_key == subject.key else IdemConflict()


async def _opened(size: int, intent: int, caller: str, work: Work, log: str | None) -> AsyncIterator[bytes]:
    keyring = replace(work.keyring, origin=log or work.writer.origin)
    for start in range(0, size, OPENINGS_PAGE):
        async with work.open_store(log=log) as store:
            entries = await store.entries(start, min(start + OPENINGS_PAGE, size))
        yield b"".join(opening_line(entry, keyring) for entry in entries)
    released = contract.OutcomeReport(
        idem=work.keyring.random(16),
        origin=work.writer.origin,
        intent=intent,
        result="released",
        happened=instant_text(work.clock.now()),
    )
    await report_outcomes([released], caller, work)
