"""Why the trail refuses: the codes of its HTTP interface; and the damage that it finds."""

from functools import partial
from typing import ClassVar, Final

from services.runtime.errors import Refused, define_refusal

_define: Final = partial(define_refusal, __name__)

NotYours: Final = _define(
    "not_yours",
    "only sectors ask and report for agencies, only the caller that asked reports an outcome, only the "
    "sector that registered a subject an event about it, only the operator opens entries",
    403,
)
IdemConflict: Final = _define("idem_conflict", "this idem was used for another body; use a new one")
SlowDown: Final = _define("slow_down", "too many requests wait for the trail; ask again later", 429)
NotLeader: Final = _define("not_leader", "another process writes this log; ask at the next address", 503)
TooLarge: Final = _define("too_large", "an entry's detail is at most 4096 bytes; send less", 413)


class PlaceRefusal(Refused):
    """A refusal that lies at places of the request; `errors` say where."""

    fault: ClassVar[str]

    def __init__(self, *pointers: str) -> None:
        super().__init__(*pointers)
        self.errors = [{"pointer": pointer, "detail": self.fault} for pointer in pointers]


class SubjectUnknown(PlaceRefusal):
    """Subjects that nobody has registered yet."""

    code = "subject_unknown"
    sentence = "the subjects named in errors are not registered yet; leave them out, or ask again once"
    fault = "not_registered"


class SubjectErased(PlaceRefusal):
    """Subjects whose keys are gone."""

    code = "subject_erased"
    sentence = "the subjects named in errors were erased; nothing about them can be asked or told any more"
    status = 410
    fault = "erased"


class DetailInvalid(PlaceRefusal):
    """A detail that lacks what its act needs."""

    code = "detail_invalid"
    sentence = "give what this act needs at the place named in errors"
    status = 422
    fault = "missing_or_wrong"


class TrailClosed(Refused):
    """The trail cannot record now; `reason` says why."""

    code = "trail_closed"
    sentence = "the trail cannot record now, so nothing may be shown; ask again later"
    status = 503

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DetailDamaged(Refused):
    """The stored detail of an entry is not what the entry commits to; every other entry goes on."""

    code = "detail_damaged"
    sentence = "the stored detail of this entry is damaged, so nothing can rest on it; tell the operator"

    def __init__(self, index: int, why: str) -> None:
        super().__init__(index)
        self.index = index
        self.why = why


class TrailDamaged(Exception):
    """What the database holds is not what the log says; `where` names the first entry that fails, or part."""

    def __init__(self, where: str, sentence: str) -> None:
        super().__init__(f"{where}: {sentence}")
        self.where = where
