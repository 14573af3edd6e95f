"""The supervisor's own bookkeeping, while nothing runs."""

import json
from pathlib import Path

import pytest

from deploy.local import configuration
from deploy.local.installation import Installation
from deploy.local.monitoring import write_monitoring
from deploy.local.places import make_directory
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


async def test_prometheus_is_told_where_each_process_shows_figures(tmp_path: Path) -> None:
    scaled = configuration.trial(tmp_path).model_copy(update={"scale": {"health": 2}})
    its = Installation(scaled, trial_ports(usual_ports(scaled.scale)))
    without_figures = ("health_vault", "issuer", "mail_sink")
    wanted = tuple(each for each in PROCESSES if each.name in ("health", *without_figures))
    platform = Platform(its, wanted, silence, {})
    make_directory(scaled.run)
    write_monitoring(scaled.data / "monitoring")

    platform._tell()

    told = json.loads((tmp_path / "monitoring" / "targets.json").read_text())
    assert told == [
        {
            "targets": [f"127.0.0.1:{its.ports[f'{name}_health']}"],
            "labels": {"service": "health", "process": name},
        }
        for name in ("health", "health-2")
    ]
    assert (tmp_path / "monitoring" / "targets.json").stat().st_mode & 0o777 == 0o644
    its.rescale({"health": 1}, usual_ports())
    platform._tell()  # while the one that is taken away still stands
    await platform.close()
