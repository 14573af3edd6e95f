"""What an operator chooses for operations."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import AgencyId, ServiceId
from services.runtime.settings import KafkaSettings, RuntimeSettings, TlsSettings


class ProbeAgency(BaseModel):
    """A probe: its id, its service in the directory, and where its sector answers agencies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agency: AgencyId
    service: ServiceId
    url: str


class ProbeSettings(BaseModel):
    """Between whom referrals show that all works, and how operations proves for whom it asks."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    issuer: str
    """Who gives tokens."""
    client: str
    """The client of the issuer that speaks for probes alone."""
    key_file: Path
    """The client's private key."""
    agencies: Mapping[str, ProbeAgency]
    """Sector → its probe."""
    every_seconds: float = Field(default=60, gt=0)
    """How often a pair plays, the one that waits longest."""
    seen_within_seconds: float = Field(default=20, gt=0, le=60)
    """A round that takes longer has failed."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Owner and receiver: each sector asks the next one, so that every topic is crossed both ways."""
        sectors = list(self.agencies)
        return list(zip(sectors, [*sectors[1:], *sectors[:1]], strict=True))


class Settings(RuntimeSettings):
    """Settings of the operations service."""

    receipt_key_file: Path
    """Holds the 32 bytes of the Ed25519 seed, in base64, that signs receipts of operators' acts."""
    letters_per_second: int = Field(default=5, ge=1, le=500)
    """How many dead letters of a plan are tried again each second."""
    kafka: KafkaSettings
    tls: TlsSettings
    services: Mapping[str, str] = {}
    """Service → where its internal port answers: all of them, this one too."""
    probe: ProbeSettings | None = None
    """Without it no probe plays."""
