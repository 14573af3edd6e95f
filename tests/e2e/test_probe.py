"""The probe of an installation: it comes round, tells nobody, counts nowhere, and fails with a reader."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from deploy.local import configuration, control
from deploy.local.databases import DATABASES
from deploy.local.founding import operator_client
from deploy.local.installation import PROBE_OF, Installation
from deploy.local.places import temporary_directory
from deploy.local.ports import HOST, trial_ports
from deploy.local.probes import service_of
from deploy.local.processes import PROCESSES, usual_ports
from deploy.local.supervisor import Platform, running
from services.cli.demo.agencies import fictional_agencies
from services.cli.status import standing_alarms
from services.cli.tokens import token_client
from services.runtime.token_client import TokenClient, TokenRefused
from tests.support.servers import unflushed
from tests.support.waiting import until

PLAYING = ("health", "police")
NEEDED = {
    *("audit", "audit_sign", "governance", "referrals", "notifications", "operations", "issuer", "mail_sink"),
    *PLAYING, *(f"{sector}_vault" for sector in PLAYING),
}  # fmt: skip
pytestmark = pytest.mark.timeout(240)
PAIRS = "SELECT count(*) FROM probe_pair WHERE succeeded_at IS NOT NULL AND failures = 0"
FAILED = "SELECT count(*) FROM probe_round WHERE code IS NOT NULL"
DESK = "INSERT INTO desk (agency, code, mail, language) VALUES ($1, 'duty', 'duty@probe.example', 'en')"


@pytest.fixture
async def probed() -> AsyncIterator[Platform]:
    """Two sectors and what stands between them; pairs play one after the other, without a minute between."""
    with temporary_directory("concert-probe-") as folder, unflushed():
        ports = trial_ports(usual_ports())
        trial = configuration.trial(folder / "installation", chosen_ports=ports, probe=True)
        agencies = {
            sector: {
                "agency": PROBE_OF[sector],
                "service": service_of(sector),
                "url": f"http://{HOST}:{ports[f'{sector}_api']}",
            }
            for sector in PLAYING
        }
        told = {
            "CONCERT_PROBE__AGENCIES": json.dumps(agencies),
            "CONCERT_PROBE__EVERY_SECONDS": "0.5",
            "CONCERT_PROBE__SEEN_WITHIN_SECONDS": "4",
        }
        processes = tuple(each for each in PROCESSES if each.name in NEEDED)
        async with running(trial, processes=processes, more={"operations": told}) as platform:
            yield platform


async def one(its: Installation, service: str, sql: str, *arguments: object) -> Any:
    async with its.server.connection(DATABASES[service].name) as connection:
        return await connection.fetchval(sql, *arguments)


async def rules(its: Installation) -> set[tuple[str, str]]:
    state = control.read_state(its.configuration.run)
    assert state
    return {(alarm.rule, alarm.where) for alarm in await standing_alarms(its.configuration, state)}


async def test_it_comes_round_tells_nobody_counts_nowhere_and_fails_while_the_arbiter_stands(
    probed: Platform,
) -> None:
    its = probed.installation
    for sector in PLAYING:
        await one(its, "notifications", DESK, PROBE_OF[sector])

    async def played(sql: str, least: int) -> bool:
        return bool(await one(its, "operations", sql) >= least)

    async def is_well() -> bool:
        firing = {rule for rule, _ in await rules(its)}
        return await played(PAIRS, len(PLAYING)) and "probe_fails" not in firing

    await until(is_well, 60)
    failed_before_known = await one(its, "operations", FAILED)
    async with httpx2.AsyncClient(trust_env=False) as client:
        port = its.ports["operations_health"]
        metrics = (await client.get(f"http://{HOST}:{port}/metrics")).text
        issuer, own = token_client(its), its.secrets.client_key_file("probe")
        agency = fictional_agencies()[0]
        token = await issuer.token(agency="probe-health", staff="s", role="intake")
        headers = {"Authorization": f"Bearer {token}"}
        listed = await client.get(f"{its.api_url('health')}/v1/services", headers=headers)
    [told] = [line for line in metrics.splitlines() if line.startswith("concert_probe_roundtrip_seconds ")]
    with pytest.raises(TokenRefused):
        await TokenClient(its.issuer.name, "probe", own, ("health",)).token(
            agency=agency.id, staff="s", role="intake"
        )

    async def fails() -> bool:
        return {"probe_fails", "part_down"} <= {rule for rule, _ in await rules(its)}

    await probed.stop("referrals")
    await until(fails, 60)
    await probed.start("referrals")
    await until(is_well, 60)

    async def streams() -> Any:
        async with operator_client(its, "operations") as operator:
            return (await operator.get("/v1/streams")).json()

    async def is_shown() -> bool:
        shown = (await streams())["probe"]
        return bool(shown and shown["facts_seen_at"])

    await until(is_shown, 30)
    shown = (await streams())["probe"]

    assert failed_before_known == 0  # it began before its agencies were admitted
    assert 0 < float(told.split()[1]) < 20
    assert {(pair["owner"], pair["receiver"]) for pair in shown["pairs"]} == {PLAYING, PLAYING[::-1]}
    assert all(pair["succeeded_at"] and 0 < pair["seconds"] < 20 for pair in shown["pairs"])
    assert "not_seen_in_time" in {row["code"] for row in shown["failed"]}
    assert listed.json() == {"data": [], "next": None}
    assert await one(its, "notifications", "SELECT seen_at > now() - interval '5 minutes' FROM probe_sight")
    assert await one(its, "notifications", "SELECT count(*) FROM notice") == 0
    assert [*its.mail_folder.glob("*.eml")] == []
    for table in ("referral_fact", "governance_fact"):
        assert await one(its, "governance", f"SELECT count(*) FROM {table}") == 0, table
