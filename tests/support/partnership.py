"""Governance as its tests run it: with the local issuer, and the areas that the project ships."""

from pathlib import Path
from typing import Any, Final

from services.governance.settings import Settings
from services.runtime.settings import IssuerSettings
from tests.support.platform import CELL, Space

ISSUER: Final = f"urn:concert:{CELL}:local-issuer"
AREAS: Final = Path(__file__).parents[2] / "deploy/local/areas.csv"


def partnership_settings(space: Space, **more: Any) -> Settings:
    """Settings of governance in this space."""
    issuer = IssuerSettings(name=ISSUER, keys_file=space.platform.secrets.issuer_public_file())
    return space.settings(Settings, "governance", issuer=issuer, areas_file=AREAS, **more)
