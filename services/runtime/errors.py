"""The three kinds of failure; `web` makes problem documents of them, `consumer` dead letters or retries."""

from collections.abc import Mapping
from typing import ClassVar


class Refused(Exception):
    """The rules say no: a stable `code`, a `sentence` on what is wrong and what to do, HTTP's `status`."""

    code: ClassVar[str]
    sentence: ClassVar[str]
    status: ClassVar[int] = 409
    headers: ClassVar[Mapping[str, str]] = {}

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


def define_refusal(module: str, code: str, sentence: str, status: int = 409) -> type[Refused]:
    """A refusal of a module that is no more than its code and sentence; `not_a_party` makes `NotAParty`."""
    name = "".join(word.capitalize() for word in code.split("_"))
    members = {"code": code, "sentence": sentence, "status": status, "__module__": module}
    return type(name, (Refused,), members | {"__doc__": sentence})


class NotFound(Refused):
    """Unknown, or not the caller's: the same answer, so that nobody learns which."""

    code = "not_found"
    sentence = "nothing of that id is known to your agency"
    status = 404


class Invalid(Exception):
    """Can never be used, however often it is tried; `reason` is a code, `path` points at the place."""

    def __init__(self, reason: str, path: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class Unavailable(Exception):
    """Something that is needed does not answer now; the same again later may work."""
