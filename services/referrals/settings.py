"""What an operator chooses for the arbiter; deadlines themselves are the protocol's."""

from pathlib import Path

from services.runtime.settings import RuntimeSettings


class Settings(RuntimeSettings):
    """Settings of the referrals service."""

    governance_keys_file: Path
    """The three public keys of which two must have signed what is in force, as a JSON object."""
    look_for_due_every_seconds: float = 1.0
    """How often deadlines that have passed are looked for."""
