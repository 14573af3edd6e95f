"""A view that was killed comes back at once: it imports, waits for and holds nothing that it need not."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiokafka
import pytest

from services.referrals.views import FIGURES
from services.runtime.settings import KafkaSettings
from services.runtime.views import FETCH_WAIT_MS, ViewSettings, faust_app

FORKED = """
import sys, threading
from pathlib import Path
from deploy.local.fork_server import import_modules

import_modules()
early = {name for name in sys.modules if name.startswith("faust")}
assert threading.active_count() == 1, "only the thread that forks lives on in a child"
from tests.unit.runtime.test_views import an_app

an_app(Path(sys.argv[1]))
late = {name for name in sys.modules if name.startswith("faust")} - early
assert len(late) * 5 < len(early), sorted(late)
"""


def an_app(folder: Path) -> Any:
    password, hold = folder / "password", folder / "hold"
    for file in (password, hold):
        file.touch(0o600)
    settings = ViewSettings(
        mode="local",
        cell="test-local",
        kafka=KafkaSettings(bootstrap="127.0.0.1:1", user="view", password_file=password),
        hold_file=hold,
    )
    app, _ = faust_app(FIGURES, settings)
    return app


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(aiokafka, "AIOKafkaConsumer", aiokafka.AIOKafkaConsumer)  # put back afterwards
    return an_app(tmp_path)


def test_a_process_of_the_fork_server_has_most_of_faust_before_it_starts(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORKED, tmp_path], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr


async def test_its_fetches_are_held_for_as_long_as_we_say(app: Any) -> None:
    app.loop = asyncio.get_running_loop()
    thread = app.consumer._thread
    consumer = thread._create_consumer(app.loop)
    await consumer.stop()
    thread.thread_loop.close()  # else it ends with the thread, which was not started

    assert consumer._fetch_max_wait_ms == FETCH_WAIT_MS


async def test_its_tables_are_read_back_without_a_wait_for_more_of_them(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.loop = asyncio.get_running_loop()
    done = []

    def noted(what: str) -> Any:
        async def note(*_: object) -> None:
            done.append(what)

        return note

    monkeypatch.setattr(app.tables, "sleep", noted("sleep"))
    monkeypatch.setattr(app.tables, "_update_channels", noted("channels"))
    monkeypatch.setattr(app.tables.recovery, "start", noted("recovery"))
    await app.tables.on_start()

    assert done == ["channels", "recovery"]
