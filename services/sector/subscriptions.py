"""What a sector listens to: first what is in force, then the facts that rest on it."""

from collections.abc import Sequence

from schemas.topics import DIRECTORY_STATE, GOVERNANCE_STATE, inbox_of
from services.runtime.subscription import Subscription
from services.sector.domain.profile import Profile
from services.sector.handlers.facts import keep_facts, keep_in_force


def subscriptions(profile: Profile) -> Sequence[Subscription]:
    """The three topics of a sector."""
    return (
        Subscription((GOVERNANCE_STATE, DIRECTORY_STATE), handler=keep_in_force),
        Subscription((inbox_of(profile.name),), handler=keep_facts),
    )
