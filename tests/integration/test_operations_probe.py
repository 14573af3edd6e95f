"""The probe of a new installation waits for its agencies to be known, and not for ever."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from services.operations.probe import BEGINS_WITHIN_SECONDS, Probe
from services.operations.settings import ProbeAgency, ProbeSettings
from services.runtime.clock import SystemClock
from services.runtime.refusals import AgencyNotAdmitted
from services.runtime.token_client import TokenClient
from tests.support.consoles import write_console_key
from tests.support.platform import Space
from tests.support.waiting import until

SECTORS = ("health", "police")


def a_probe_agency(sector: str) -> ProbeAgency:
    service = f"00000000-0000-4000-8000-00000000000{SECTORS.index(sector)}"
    return ProbeAgency(agency=f"probe-{sector}", service=service, url=f"http://{sector}")


async def test_a_pair_that_nobody_knows_yet_waits_and_is_told_after_a_minute(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    seconds = 0.0

    async def token(*_: Any, **__: Any) -> str:
        return "token"

    def refuse(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        return httpx2.Response(403, json={"code": AgencyNotAdmitted.code})

    monkeypatch.setattr(TokenClient, "held_token", token)
    settings = ProbeSettings(
        issuer="http://issuer",
        client="probe",
        key_file=write_console_key(tmp_path),
        agencies={sector: a_probe_agency(sector) for sector in SECTORS},
    )
    async with AsyncExitStack() as stack:
        database = space.database("operations")
        stack.push_async_callback(database.close)
        transport = httpx2.MockTransport(refuse)
        probe = Probe(settings, database, SystemClock(), transport, lambda: seconds)
        stack.push_async_callback(probe.close)
        working = asyncio.create_task(probe.run())
        try:
            await until(lambda: len(asked) >= 2)
            waiting = probe.standing
            seconds = BEGINS_WITHIN_SECONDS
            await until(lambda: bool(probe.standing and probe.standing.failed))
        finally:
            probe.stop()
            await working

    assert waiting
    assert not waiting.failed
    assert [pair.failing_since for pair in waiting.pairs] == [None, None]
    assert probe.standing
    assert [row.code for row in probe.standing.failed] == [AgencyNotAdmitted.code]
    assert set(asked) == {"health"}
