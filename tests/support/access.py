"""A look at one referral, as a sector tells the trail of it."""

from typing import Any, Final

from schemas.events.access import Access, Actor

SUBJECT: Final = "ref_" + "a" * 26


def an_access(**changes: Any) -> Access:
    """The words of a look by a caseworker; `changes` are fields, None for those that are left out."""
    words: dict[str, Any] = {
        "act": "view",
        "purpose": "case_work",
        "basis": "referral",
        "actor": Actor(id="st-1", client="cl-1"),
        "agency": "welfare-a",
        "subject": SUBJECT,
        "explain": (),
    }
    return Access(**(words | changes))
