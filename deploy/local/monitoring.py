"""What Prometheus needs to watch an installation: its settings, the rules, and where each process answers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.local.places import make_directory
from deploy.local.ports import HOST

MADE: Final = Path(__file__).parents[1] / "monitoring"
TARGETS: Final = "targets.json"


def write_monitoring(folder: Path) -> None:
    """Puts settings and rules there, for whoever runs Prometheus to read: they hold no secret."""
    make_directory(folder, 0o755)
    for name in ("prometheus.yml", "rules.yml"):
        _put(folder / name, (MADE / name).read_text("utf-8"))


def write_targets(folder: Path, answering: Mapping[str, tuple[str, int]]) -> None:
    """Tells of each process, by its name, its service and its port for probes."""
    groups = [
        {"targets": [f"{HOST}:{port}"], "labels": {"service": service, "process": name}}
        for name, (service, port) in answering.items()
    ]
    _put(folder / TARGETS, json.dumps(groups, indent=1) + "\n")


def _put(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, "utf-8")
    fresh.chmod(0o644)  # whatever the umask
    fresh.replace(path)
