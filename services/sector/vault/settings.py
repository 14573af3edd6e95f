"""What an operator chooses for a vault."""

from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from services.runtime.settings import ProcessSettings, WrongMode

SOCKET: Final = "vault.socket"


class VaultPlaces(BaseModel):
    """Where a vault keeps what it must not forget, and which key it signs with."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    folder: Path
    """Its own folder, 0700, outside of backups: keys, ledger, and the socket that its service asks."""
    signing_key_file: Path
    """The Ed25519 seed, 32 bytes in base64, with which it signs releases and intake keys."""
    key_provider: Literal["file"] | None = None
    """Who holds its key-encryption keys; mode live must say so."""
    settle_within: timedelta = timedelta(seconds=60)
    """How long the publication of an entry that a release rests on may be awaited; then the vault closes."""


class TrailKeys(BaseModel):
    """The keys by which a vault knows the access trail."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    permit_key: str
    """The verifier key (C2SP) that signs permits."""
    log_key: str
    """The verifier key (C2SP) that signs the log's checkpoints; its name is the log's origin."""


class VaultSettings(ProcessSettings):
    """What an operator chooses for a vault."""

    log: str
    """Origin of the access log: `audit.<host>/<jurisdiction>/<year>`."""
    audit: TrailKeys
    governance_keys_file: Path
    """The public keys of governance, key id → `ed25519:…`, as JSON."""
    vault: VaultPlaces

    def check_mode(self) -> None:
        """The rules of every process, and that mode live names who holds the keys."""
        if self.mode == "live" and self.vault.key_provider is None:
            raise WrongMode("mode live names who holds the vault's keys: set CONCERT_VAULT__KEY_PROVIDER")
        super().check_mode()
