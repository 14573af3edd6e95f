"""What one group of drafts becomes: entries, counters and an answer for each, over what was read for it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.events.access import Opening
from schemas.trail.bytes import SALT_BYTES, canonical, commitment, leaf, stamped, tag
from services.audit.domain.drafts import Draft, Words
from services.audit.domain.keyring import DataKey, Keyring, Subject
from services.audit.domain.records import NewEntry
from services.audit.domain.refusals import (
    DetailInvalid,
    IdemConflict,
    NotYours,
    SubjectErased,
    SubjectUnknown,
)
from services.runtime.errors import Refused

PAD: Final[Words] = {"kind": "pad"}
BLOCK: Final = 16
"""Signed sizes are multiples of this, so that the size tells little."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What an outcome needs of the entry it belongs to."""

    caller: str | None
    kind: str
    subject: str | None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A new entry's place and what opens it, and the leaves of the items before it."""

    index: int
    opening: Opening
    items: tuple[bytes, ...]


Answer = LogEntry | int | Refused
"""A number is the place where the same request was recorded before."""


@dataclass(slots=True)
class Group:
    """Gives places to drafts in the order they came; a refused one leaves no trace."""

    keyring: Keyring
    start: int
    at: str
    log_key: DataKey
    """The key of entries that are about no registered subject."""
    known: dict[tuple[str, bytes], tuple[int, bytes]]
    """Caller and idem → where that request was recorded, and its body."""
    subjects: Mapping[str, Subject]
    intents: Mapping[int, Intent | Refused]
    """A refused one is an intent whose detail is damaged."""
    entries: list[NewEntry] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)
    """Subjects without keys: those of before, and those that this group erases."""
    erases: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    """The counters that moved, by subject."""

    def add(self, draft: Draft) -> Answer:
        """The place of one draft, or why it gets none."""
        if (draft.caller, draft.idem) in self.known:
            index, body = self.known[draft.caller, draft.idem]
            return index if body == draft.body else IdemConflict()
        words = self._with_subject(draft)
        if isinstance(words, Refused):
            return words
        if gone := list(self._named(draft, words, self.erased)):
            return SubjectErased(*gone)
        asked = draft.subjects | ({words["subject"]} if "subject" in words else set())
        if unknown := list(self._named(draft, words, asked - self.subjects.keys())):
            return SubjectUnknown(*unknown)
        if draft.erases:
            return self._erase(draft, draft.erases)
        subject = words.get("subject")
        # Consent and erasure are the word of whoever registered the subject.
        if words["kind"] == "event" and subject and self.subjects[subject].owner != draft.caller:
            return NotYours()
        return self._write(draft, words)

    def add_padding(self, *, begins: bool = False) -> None:
        """Fill up to the next whole block; where a lead begins, with one entry at least, that nobody knew."""
        while self._next % BLOCK or (begins and not self.entries):
            self._seal(PAD, None)

    @property
    def _next(self) -> int:
        return self.start + len(self.entries)

    def _named(self, draft: Draft, words: Words, subjects: Collection[str]) -> Iterator[str]:
        """Where the request names one of these subjects; all places, so that one more request does."""
        for number, item in enumerate(draft.items):
            if item["subject"] in subjects:
                yield f"/items/{number}/subject"
        if words.get("subject") in subjects:
            yield "/access/subject" if draft.intent is None else "/intent"
        if draft.erases in subjects:
            yield "/subject"

    def _erase(self, draft: Draft, subject: str) -> Answer:
        own = self.subjects[subject]
        if own.owner != draft.caller:
            return NotYours()
        self.erased.add(subject)
        self.erases.append(subject)
        return self._write(draft, {**draft.words, "entries": self.numbers.get(subject, own.number)})

    def _with_subject(self, draft: Draft) -> Words | Refused:
        """The words of the answering entry; an outcome is about whoever its intent was about."""
        if draft.intent is None:
            return draft.words
        intent = self.intents.get(draft.intent)
        if isinstance(intent, Refused):
            return intent
        if intent is None or intent.kind != "intent":
            return DetailInvalid("/intent")
        if intent.caller != draft.caller:
            return NotYours()
        return {**draft.words, "subject": intent.subject} if intent.subject else draft.words

    def _write(self, draft: Draft, words: Words) -> LogEntry:
        for item in draft.items:
            self._seal(self._stamped(item), item["subject"])
        leaves = tuple(entry.leaf for entry in self.entries[len(self.entries) - len(draft.items) :])
        index = self._next
        detail = self._stamped(words, leaves if draft.names_items else None)
        opening = self._seal(detail, words.get("subject"), draft)
        self.known[draft.caller, draft.idem] = index, draft.body
        return LogEntry(index, opening, leaves)

    def _stamped(self, words: Words, item_leaves: Sequence[bytes] | None = None) -> Words:
        subject, number = words.get("subject"), None
        if subject is not None:
            number = self.numbers.get(subject, self.subjects[subject].number) + 1
            self.numbers[subject] = number
        return stamped(words, at=self.at, number=number, item_leaves=item_leaves)

    def _seal(self, words: Words, subject: str | None, draft: Draft | None = None) -> Opening:
        """Add an entry; what opens it."""
        detail, salt = canonical(words), self.keyring.random(SALT_BYTES)
        owner = self.subjects[subject] if subject is not None else None
        mark = tag(owner.tag_key, words["n"]) if owner else self.keyring.random(16)
        key = owner.data_key if owner else self.log_key
        sealed = self.keyring.sealed_detail(key, salt, detail, self._next)
        asked = (draft.caller, draft.idem, draft.body) if draft else ()
        self.entries.append(NewEntry(leaf(mark, commitment(salt, detail)), key.name, sealed, *asked))
        return Opening(detail=detail, salt=salt, tag=mark)
