"""What callers send, as entries that have no place, time or counter yet."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from schemas.events import access as contract
from schemas.trail.bytes import canonical, stamped, trail_words
from schemas.wire.body import COUNT_MAX
from services.audit.domain.refusals import DetailInvalid, NotYours, TooLarge

Words = Mapping[str, Any]
_NUMBER_MAX: Final = 2**53 - 1
_LONGEST_TIME: Final = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Draft:
    """One request's entries: its items, then the entry that answers it.

    `body` is the digest of the whole request, by which a repeated idem is known as the same request.
    """

    caller: str
    idem: bytes
    body: bytes
    words: Words
    items: tuple[Words, ...] = ()
    names_items: bool = False
    intent: int | None = None
    erases: str | None = None
    """The subject whose keys go with this entry, which does not name it."""

    @property
    def count(self) -> int:
        """How many entries it becomes."""
        return 1 + len(self.items)

    @property
    def subjects(self) -> set[str]:
        """The subjects that its own words name."""
        named = {words["subject"] for words in (*self.items, self.words) if "subject" in words}
        return named | ({self.erases} if self.erases else set())


@dataclass(frozen=True, slots=True)
class EntryWriter:
    """Writes drafts for one log; `parties` are the names in their certificates, by what `ACTS` calls them."""

    origin: str
    parties: Mapping[str, frozenset[str]]

    def permit(self, request: contract.PermitRequest, *, caller: str) -> Draft:
        """The intent of a permit request, with its items before it."""
        access = request.access
        self._check(access, "intent", caller)
        lists = contract.ACTS[access.act].lists
        if access.times is not None:
            raise DetailInvalid("/access/times")
        if request.items and not lists:
            raise DetailInvalid("/items")
        said = request.plain()
        words, item = said["access"], said["access"] | self._words("item", "before", caller)
        return _fitting(
            Draft(
                caller=caller,
                idem=request.idem,
                body=_digest("permit", said),
                words=words | self._words("intent", "before", caller),
                items=tuple(item | row for row in said["items"]),
                names_items=lists,
            )
        )

    def event(self, report: contract.EventReport, *, caller: str) -> Draft:
        """Something that was done."""
        self._check(report.access, "event", caller)
        _check_instants(report)
        said = report.plain()
        words = said["access"] | self._words("event", report.mode, caller)
        words |= {name: said[name] for name in ("happened", "until") if name in said}
        return _fitting(Draft(caller, report.idem, _digest("event", said), words))

    def outcome(self, report: contract.OutcomeReport, *, caller: str) -> Draft:
        """What came of an intent; the intent's subject is added when it is read, unless an earlier log of
        the year has it, or had."""
        if _year_of(report.origin) != _year_of(self.origin):
            raise DetailInvalid("/origin")
        _check_instant(report.happened, "/happened")
        if report.result != "released" and report.reason is None:
            raise DetailInvalid("/reason")
        said = report.plain()
        words = {name: one for name, one in said.items() if name not in ("idem", "origin")}
        words |= {"v": 1, "kind": "outcome", "service": caller, "site": self.origin}
        words["intent"] = {"origin": report.origin, "index": report.intent}
        here = report.intent if report.origin == self.origin else None
        return _fitting(Draft(caller, report.idem, _digest("outcome", said), words, intent=here))

    def erasure(self, report: contract.SubjectErasure, *, caller: str) -> Draft:
        """That a subject is erased; it says how many entries were about it, and not whose they were."""
        said = report.plain()
        words = {"v": 1, "kind": "erasure", "service": caller, "site": self.origin, "reason": report.reason}
        return _fitting(Draft(caller, report.idem, _digest("erasure", said), words, erases=report.subject))

    def _check(self, access: contract.Access, kind: Literal["intent", "event"], caller: str) -> None:
        """Refuse an access that lacks what its act needs, or is another party's to ask for."""
        missing = contract.missing_field(access, kind)
        if missing is not None:
            raise DetailInvalid("/access" + missing)
        if caller not in self.parties[contract.ACTS[access.act].party]:
            raise NotYours

    def _words(self, kind: str, mode: str, caller: str) -> dict[str, Any]:
        return trail_words(kind, mode, service=caller, site=self.origin)


def _check_instants(report: contract.EventReport) -> None:
    """Refuse instants that do not exist, an end before its beginning, and a count without an end."""
    _check_instant(report.happened, "/happened")
    until, times = report.until, report.access.times
    _check_instant(until or report.happened, "/until")
    if (until is None) != (times is None) or (until or report.happened) < report.happened:
        raise DetailInvalid("/until")
    if times is not None and not 1 <= times <= COUNT_MAX:
        raise DetailInvalid("/access/times")


def _check_instant(text: str, at: str) -> None:
    """Refuse what no calendar has: the shape alone lets a year 0000 and a 30 February through."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise DetailInvalid(at) from None


def _year_of(origin: str) -> str:
    """A log's name without the number that it bears where the year had one before."""
    return re.sub(r"-[0-9]+$", "", origin)


def _digest(kind: str, body: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(kind.encode() + b"\n" + canonical(body)).digest()


def _fitting(draft: Draft) -> Draft:
    """Refuse a detail that could exceed its limit, whatever time and counter it gets."""
    for words in (*draft.items, draft.words):
        longest = stamped(words, at=_LONGEST_TIME, number=_NUMBER_MAX, item_leaves=())
        if len(canonical(longest)) > contract.DETAIL_BYTES_MAX - _SUBJECT_BYTES:
            raise TooLarge
    return draft


_SUBJECT_BYTES: Final = len('"subject":"",') + 30
"""Room for the subject that an outcome gets from its intent."""
