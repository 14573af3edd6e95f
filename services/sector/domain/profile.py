"""What tells one sector from another; the engine reads nothing else about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """A sector as a value."""

    name: str
    """Its name in `schemas.topics.SECTORS`: also its Kafka user, database role and certificate."""
    calls_itself: str
    """What it calls itself to people."""
    purposes: frozenset[str]
    """What its people may look for; a look for another purpose is refused."""
    decline_reasons: frozenset[str]
    """The reasons for which its agencies may decline a referral."""
