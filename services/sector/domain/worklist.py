"""Whose turn it is, as a table: the worklist of an agency holds the referrals that await it."""

from collections.abc import Mapping
from typing import Final, Literal

Role = Literal["owner", "receiver"]

AWAITED: Final[Mapping[str, Role]] = {
    "offered": "receiver",
    "acknowledged": "receiver",
    "accepted": "receiver",
    "in_service": "receiver",
    "provided": "receiver",
    "feedback_given": "owner",
    "declined": "owner",
    "expired": "owner",
    "withdrawn": "receiver",
}
"""State → who must act next; in a state that is not listed nobody must."""


def awaited(state: str | None, *, feedback_allowed: bool) -> Role | None:
    """Who must act next; without feedback the owner closes as soon as the service was given."""
    if state == "provided" and not feedback_allowed:
        return "owner"
    return AWAITED.get(state) if state else None
