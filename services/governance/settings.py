"""What an operator chooses for governance."""

from pathlib import Path

from services.runtime.settings import RuntimeSettings


class Settings(RuntimeSettings):
    """Settings of the governance service."""

    governance_keys_file: Path
    """The three public keys of which two must have signed what is published, as a JSON object."""
