"""What an operator of governance may choose."""

from pathlib import Path
from typing import Any

import pytest

from services.governance.settings import Settings
from services.runtime.settings import DatabaseSettings, IssuerSettings, WrongMode


def test_a_live_installation_leaves_a_day_to_object_to_a_protocol_and_for_facts_to_come_in() -> None:
    chosen: dict[str, Any] = {
        "database": DatabaseSettings(url="postgresql+asyncpg://x"),
        "issuer": IssuerSettings(name="urn:example:issuer", keys_file=Path("keys")),
        "governance_keys_file": Path("keys"),
        "areas_file": Path("areas"),
    }

    Settings(mode="test", cell="test-a", protocol_delay_seconds=0, **chosen).check_mode()
    with pytest.raises(WrongMode, match="protocol_delay_seconds of 86400"):
        Settings(mode="live", cell="a", protocol_delay_seconds=86_399, **chosen).check_mode()
    Settings(mode="test", cell="test-a", release_freeze_days=-31, **chosen).check_mode()
    for days in (0, -31):
        with pytest.raises(WrongMode, match="release_freeze_days of 1"):
            Settings(mode="live", cell="a", release_freeze_days=days, **chosen).check_mode()
    with pytest.raises(WrongMode, match="sealed events"):
        Settings(mode="live", cell="a", **chosen).check_mode()
