"""What operators may be shown: names of our own, moments, figures; whatever else comes stands as `*`."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict

_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,248}")
_PATH: Final = re.compile(r"#?(/([a-z][a-z0-9_]{0,39}|[0-9]{1,6}|\*))*")
HIDDEN: Final = "*"
QUIET: Final = ConfigDict(hide_input_in_errors=True)
"""No error repeats what it refused."""


def _word(value: Any) -> Any:
    """What is no name of ours is not shown, whoever let it through."""
    return HIDDEN if isinstance(value, str) and not _WORD.fullmatch(value) else value


def _path(value: Any) -> Any:
    return HIDDEN if isinstance(value, str) and not _PATH.fullmatch(value) else value


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:  # the first and the last day of all calendars, elsewhere
        raise ValueError("no such moment") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Word = Annotated[str, BeforeValidator(_word)]
"""A name of our own: of a service, a topic, a code."""
FieldPath = Annotated[str, BeforeValidator(_path)]
"""A place in an event, named by our own schemas alone."""
