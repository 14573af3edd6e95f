"""What an operator chooses for a sector service."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from services.runtime.settings import IssuerSettings, RuntimeSettings, TlsSettings


class AuditSettings(BaseModel):
    """The keys by which this service knows the trail."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    permit_key: str
    """The verifier key (C2SP) that signs permits."""
    log_key: str
    """The verifier key (C2SP) that signs the log's checkpoints; its name is the log's origin."""


class VaultAddress(BaseModel):
    """Where the sector's vault answers, and the key by which this service knows what it signed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    socket: Path
    """Its Unix socket."""
    key: str
    """`ed25519:` and the key in base64."""


class SectorSettings(RuntimeSettings):
    """What an operator chooses for a sector service."""

    tls: TlsSettings
    trail_url: str
    issuer: IssuerSettings
    governance_keys_file: Path
    """The three public keys of which two must have signed what is in force, as a JSON object."""
    log: str
    """Origin of the access log: `audit.<host>/<jurisdiction>/<year>`."""
    audit: AuditSettings
    vault: VaultAddress
    log_size_file: Path | None = None
    """Where the largest signed size of the trail's log is kept, outside of backups."""
    peers: Mapping[str, str]
    """Sector → its internal address, `https://host:port`: where packets that it recorded are pulled."""
    signing_key_file: Path
    """The Ed25519 seed, 32 bytes in base64, with which this service signs consents."""
    reports_max: int = 1_000_000
    """With so many reports waiting for the trail nothing is shown, and nothing written that can wait."""
    report_every_seconds: float = 4.0
    """How often reports to the trail are looked for that no commit of this process announced."""
