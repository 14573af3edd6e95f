"""A restore where nothing is installed yet: refused without the key, and a plan makes nothing."""

from pathlib import Path

import pytest

from deploy.local import configuration
from deploy.local.backups import BackupKey
from deploy.local.refusals import CannotRun
from services.cli.backup import back_up
from services.cli.restore import bring_back
from tests.unit.deploy.test_backups import an_installation, made


async def test_on_a_new_machine_a_plan_makes_nothing(tmp_path: Path) -> None:
    key = BackupKey.create(tmp_path / "key")
    directory = made(an_installation(tmp_path / "old"), key, tmp_path / "backup")
    new = configuration.trial(tmp_path / "new")

    with pytest.raises(CannotRun) as refusal:
        await bring_back(new, directory, None, reason="machine lost")
    assert refusal.value.code == "not_installed"
    with pytest.raises(CannotRun):
        await back_up(new, tmp_path / "another", key)
    outcome = await bring_back(new, directory, "health", reason=None, key=tmp_path / "key")

    assert [*outcome["services"]] == ["health"]
    assert not new.data.exists()
    assert not (tmp_path / "another").exists()
