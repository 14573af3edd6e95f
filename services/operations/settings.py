"""What an operator chooses for operations."""

from collections.abc import Mapping

from services.runtime.settings import RuntimeSettings


class Settings(RuntimeSettings):
    """Settings of the operations service."""

    services: Mapping[str, str] = {}
    """Service → where its internal port answers: all of them, this one too."""
