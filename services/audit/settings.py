"""What an operator chooses for the access trail."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from services.runtime.settings import RuntimeSettings


class LogKeySettings(BaseModel):
    """What is known about the log's key from elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    log_key: str
    """The verifier key that the signer's checkpoints must bear: name+id+key."""


class Settings(RuntimeSettings):
    """What an operator chooses for the sequencer."""

    log: str
    """The log's origin: `audit.<host>/<jurisdiction>/<year>`."""
    permit_key_file: Path
    """The 32-byte seed, in base64, of the key that signs permits."""
    wrap_key_file: Path
    """The 32-byte key, in base64, that wraps the keys of details; it stays out of ordinary backups."""
    audit: LogKeySettings
    unsigned_for_seconds_max: float = 30
    """No permits while a due size waits longer than this for the signer."""


class SignerSettings(RuntimeSettings):
    """What an operator chooses for the signer."""

    log: str
    """The log's origin, which is also the name of its key."""
    log_key_file: Path
    """The 32-byte seed, in base64, of the key that signs checkpoints."""
    high_water_file: Path
    """Where the signer remembers the last head it signed; outside the database and its backups."""
