"""Why the trail refuses: the codes of its HTTP interface."""

from __future__ import annotations

from services.runtime.errors import Refused, Unavailable


class MalformedRequest(Refused):
    """A body of another shape than the interface has."""

    code = "malformed"
    sentence = "send the body as the interface describes it, without other fields"
    status = 400


class DetailTooLarge(Refused):
    """An entry's detail over its limit."""

    code = "too_large"
    sentence = "an entry's detail is at most 4096 bytes; send less"
    status = 413


class NotYours(Refused):
    """Another caller's intent, another owner's subject, or a route for others."""

    code = "not_yours"
    sentence = (
        "only sectors ask and report for agencies, only the caller that asked reports an outcome, only the "
        "sector that registered a subject an event about it, only the operator opens entries"
    )
    status = 403


class IdemConflict(Refused):
    """The same idem with another body."""

    code = "idem_conflict"
    sentence = "this idem was used for another body; use a new one"
    status = 409


class SubjectUnknown(Refused):
    """Subjects that nobody has registered yet; `pointers` say where they stand in the request."""

    code = "subject_unknown"
    sentence = "the subjects named in errors are not registered yet; leave them out, or ask again once"
    status = 409

    def __init__(self, *pointers: str) -> None:
        super().__init__(*pointers)
        self.pointers = pointers


class SlowDown(Refused):
    """More waits than the trail can hold."""

    code = "slow_down"
    sentence = "too many requests wait for the trail; ask again later"
    status = 429


class NotLeader(Refused):
    """Another process writes this log."""

    code = "not_leader"
    sentence = "another process writes this log; ask at the next address"
    status = 503


class DetailInvalid(Refused):
    """A detail that lacks what its act needs; `pointer` says where."""

    code = "detail_invalid"
    sentence = "give what this act needs at the place named in errors"
    status = 422

    def __init__(self, pointer: str) -> None:
        super().__init__(pointer)
        self.pointer = pointer

    def __str__(self) -> str:
        return f"{self.code}: {self.pointer}"


class TrailClosed(Refused):
    """The trail cannot record now; `reason` says why."""

    code = "trail_closed"
    sentence = "the trail cannot record now, so nothing may be shown; ask again later"
    status = 503

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class DetailDamaged(Refused):
    """The stored detail of an entry is not what the entry commits to; every other entry goes on."""

    code = "detail_damaged"
    sentence = "the stored detail of this entry is damaged, so nothing can rest on it; tell the operator"
    status = 409

    def __init__(self, index: int, why: str) -> None:
        super().__init__(index)
        self.index = index
        self.why = why


class Fenced(Unavailable):
    """Another process has written this log since: start over from the database."""


class TrailDamaged(Exception):
    """What the database holds is not what the log says; `where` names the first entry that fails, or part."""

    def __init__(self, where: str, sentence: str) -> None:
        super().__init__(f"{where}: {sentence}")
        self.where = where
