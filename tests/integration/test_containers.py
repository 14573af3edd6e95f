"""The integration tests run on containers too, where an engine has the images of `tests.support.images`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.containers import KAFKA_IMAGE, POSTGRES_IMAGE
from tests.support.servers import CONTAINERS

ROOT = Path(__file__).resolve().parents[2]


def has_images() -> bool:
    """Whether an engine answers and holds both."""
    words = ["docker", "image", "inspect", KAFKA_IMAGE, POSTGRES_IMAGE]
    try:
        return subprocess.run(words, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def test_a_module_runs_on_containers() -> None:
    if not has_images():
        pytest.skip("no engine answers that holds the images of tests.support.images")
    words = [sys.executable, "-m", "pytest", "-q", "tests/integration/test_runtime_relay.py"]
    environment = {**os.environ, CONTAINERS: "1", "PYTHONPATH": str(ROOT)}

    run = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    assert run.returncode == 0, run.stdout[-2_000:]
