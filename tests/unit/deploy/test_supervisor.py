"""The supervisor's own bookkeeping, while nothing runs."""

from pathlib import Path

import pytest

from deploy.local import configuration
from deploy.local.installation import Installation
from deploy.local.ports import trial_ports
from deploy.local.processes import PROCESSES, usual_ports
from deploy.local.refusals import CannotRun
from deploy.local.subprocesses import silence
from deploy.local.supervisor import Platform


async def test_after_a_scaling_that_broke_off_the_next_one_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = next(each for each in PROCESSES if each.name == "health")
    its = Installation(configuration.trial(tmp_path), trial_ports(usual_ports()))
    platform = Platform(its, (health,), silence, {})

    def taken(*_: object) -> None:
        raise CannotRun("port_taken", "Port 8400 is in use.")

    with monkeypatch.context() as patch:
        patch.setattr(platform, "_kept_running", taken)
        with pytest.raises(CannotRun):
            await platform.scale({"health": 2})
    await platform.scale({"health": 1})

    assert platform.names == ("kafka", "postgres", "health")
    assert configuration.load(tmp_path).scale == {"health": 1}
    await platform.close()
