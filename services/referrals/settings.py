"""What an operator chooses for the arbiter; deadlines themselves are the protocol's."""

from services.runtime.settings import RuntimeSettings


class Settings(RuntimeSettings):
    """Settings of the referrals service."""

    look_for_due_every_seconds: float = 1.0
    """How often deadlines that have passed are looked for."""
