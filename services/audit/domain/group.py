"""What one group of drafts becomes: rows, counters and an answer for each, over what was read for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.trail.bytes import canonical, commitment, leaf, stamped, tag, tag_of
from services.audit.domain.drafts import Draft, Words
from services.audit.domain.refusals import DetailInvalid, IdemConflict, NotYours, SubjectUnknown
from services.audit.domain.sealing import NONCE_BYTES, SALT_BYTES, seal_detail
from services.runtime.errors import Refused

Random = Callable[[int], bytes]
PAD: Words = {"kind": "pad"}
BLOCK: int = 16
"""Signed sizes are multiples of this, so that the size tells little."""


@dataclass(frozen=True, slots=True)
class Key:
    """A data key under the name of its row."""

    name: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Subject:
    """A registered subject: who registered it, the keys of its tags and details, its counter so far."""

    owner: str
    tag_key: bytes = field(repr=False)
    data_key: Key
    number: int


@dataclass(frozen=True, slots=True)
class Known:
    """Where an idem was recorded, and for which body."""

    index: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Intent:
    """What an outcome needs of the entry it belongs to."""

    caller: str | None
    kind: str
    subject: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read for one group."""

    origin: str
    log_key: Key
    known: Mapping[tuple[str, bytes], Known]
    subjects: Mapping[str, Subject]
    intents: Mapping[int, Intent | Refused]
    """A refused one is an intent whose detail is damaged."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as it is stored; only the entry that answers a request carries caller, idem and body."""

    leaf: bytes
    key: str
    sealed: bytes
    caller: str | None = None
    idem: bytes | None = None
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A new entry's place and what opens it."""

    index: int
    detail: bytes
    salt: bytes
    tag: bytes
    items: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same request was recorded before, here."""

    index: int


Answer = Written | Repeated | Refused


class Group:
    """Gives places to drafts in the order they came; a refused one leaves no trace."""

    def __init__(self, seen: Seen, *, start: int, at: str, random: Random) -> None:
        self.rows: list[Row] = []
        self._seen = seen
        self._start = start
        self._at = at
        self._random = random
        self._known = dict(seen.known)
        self._numbers: dict[str, int] = {}

    @property
    def numbers(self) -> Mapping[str, int]:
        """The counters that moved, by subject."""
        return self._numbers

    def add(self, draft: Draft) -> Answer:
        """The place of one draft, or why it gets none."""
        known = self._known.get((draft.caller, draft.idem))
        if known is not None:
            return Repeated(known.index) if known.body == draft.body else IdemConflict()
        words = self._with_subject(draft)
        if isinstance(words, Refused):
            return words
        if unknown := list(self._unknown(draft, words)):
            return SubjectUnknown(*unknown)
        if words["kind"] == "event" and not self._owns(draft.caller, words):
            return NotYours()
        return self._write(draft, words)

    def _unknown(self, draft: Draft, words: Words) -> Iterator[str]:
        """Where the request names subjects that are not registered; all, so that one more request does."""
        for number, item in enumerate(draft.items):
            if item["subject"] not in self._seen.subjects:
                yield f"/items/{number}/subject"
        if not _subject_of(words) <= self._seen.subjects.keys():
            yield "/access/subject" if draft.intent is None else "/intent"

    def _owns(self, caller: str, words: Words) -> bool:
        """Whether nobody else registered whom an event is about: consent and erasure are the owner's word."""
        return all(self._seen.subjects[subject].owner == caller for subject in _subject_of(words))

    def add_padding(self) -> None:
        """Fill up to the next whole block."""
        while (self._start + len(self.rows)) % BLOCK:
            self._seal(PAD, None)

    def _with_subject(self, draft: Draft) -> Words | Refused:
        """The words of the answering entry; an outcome is about whoever its intent was about."""
        if draft.intent is None:
            return draft.words
        intent = self._seen.intents.get(draft.intent)
        if isinstance(intent, Refused):
            return intent
        if intent is None or intent.kind != "intent":
            return DetailInvalid("/intent")
        if intent.caller != draft.caller:
            return NotYours()
        return {**draft.words, "subject": intent.subject} if intent.subject else draft.words

    def _write(self, draft: Draft, words: Words) -> Written:
        items = tuple(self._seal(self._stamped(item), item["subject"])[0] for item in draft.items)
        index = self._start + len(self.rows)
        detail = self._stamped(words, items if draft.names_items else None)
        new_leaf, raw, salt = self._seal(detail, words.get("subject"), draft)
        self._known[draft.caller, draft.idem] = Known(index, draft.body)
        return Written(index, raw, salt, tag_of(new_leaf), items)

    def _stamped(self, words: Words, items: Sequence[bytes] | None = None) -> Words:
        subject = words.get("subject")
        number = None
        if subject is not None:
            before = self._numbers.get(subject, self._seen.subjects[subject].number)
            number = self._numbers[subject] = before + 1
        return stamped(words, at=self._at, number=number, item_leaves=items)

    def _seal(
        self, detail: Words, subject: str | None, draft: Draft | None = None
    ) -> tuple[bytes, bytes, bytes]:
        """Leaf, detail and salt of a new row."""
        index = self._start + len(self.rows)
        raw, salt = canonical(dict(detail)), self._random(SALT_BYTES)
        owner = self._seen.subjects[subject] if subject is not None else None
        mark = tag(owner.tag_key, detail["n"]) if owner is not None else self._random(16)
        key = owner.data_key if owner is not None else self._seen.log_key
        nonce = self._random(NONCE_BYTES)
        sealed = seal_detail(key.key, nonce, salt, raw, origin=self._seen.origin, index=index)
        new_leaf = leaf(mark, commitment(salt, raw))
        if draft is None:
            self.rows.append(Row(new_leaf, key.name, sealed))
        else:
            self.rows.append(Row(new_leaf, key.name, sealed, draft.caller, draft.idem, draft.body))
        return new_leaf, raw, salt


def _subject_of(words: Words) -> set[Any]:
    return {words["subject"]} if "subject" in words else set()
