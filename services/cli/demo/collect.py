"""Gathers the evidence once all is quiet: from agencies' ports, servers, disk and the exported trail."""

import asyncio
import base64
import email
import email.policy
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from schemas.topics import SECTORS, SERVICES
from services.cli.demo.evidence import Evidence, Kill, PartyKey, SinkMail
from services.cli.demo.onlooker import looking
from services.cli.demo.play import Play
from services.cli.demo.search import plant_control, search
from services.cli.demo.trial import Trial
from services.cli.operator_client import operator_client
from services.cli.trail import download

READ_AT_ONCE: Final = 16
_DEAD: Final = "SELECT count(*) FROM dead_letter"
_REFUSED: Final = "SELECT count(*) FROM trail_outbox WHERE refused IS NOT NULL"


async def collect(play: Play, kills: tuple[Kill, ...], folder: Path) -> Evidence:
    """Everything that the checks look at; the folder is a new one, for the exported trail."""
    trial, clients = play.trial, play.trial.clients.values()
    async with looking(trial.installation) as onlooker:
        await onlooker.quiet()
        await plant_control(trial, onlooker)
        views = await _views(play)
        await onlooker.quiet()
        verdict, entries = await _export(trial, folder)
        addressed, counted = await onlooker.arbiter_sent()
        traces, searched_bytes = await search(trial, onlooker)
        states = await onlooker.connections["referrals"].fetch("SELECT id, state FROM referral")
        feeds = await asyncio.gather(*(client.whole_feed() for client in clients))
        return {
            "played": tuple(play.played),
            "failures": tuple(play.failures),
            "sent": tuple(sent for client in clients for sent in client.sent),
            "addressed": tuple(addressed),
            "received": tuple(event for feed in feeds for event in feed),
            "counted": tuple(counted),
            "states": dict(states),
            "views": views,
            "looks": tuple(look for client in clients for look in client.looks),
            "entries": tuple(entries),
            "verdict": verdict,
            "mails": tuple(_mails(trial.installation.mail_folder)),
            "desks": {agency.id: agency.mail for agency in trial.agencies},
            "names": tuple(name for agency in trial.agencies for name in agency.planted),
            "traces": tuple(traces),
            "searched_bytes": searched_bytes,
            "kills": kills,
            "gaps_ms": play.gaps_ms,
            "outsiders": play.outsiders,
            "dead_letters": {each: await onlooker.count(each, _DEAD) for each in SERVICES if each != "audit"},
            "refused_reports": {each: await onlooker.count(each, _REFUSED) for each in SECTORS},
        }


async def _views(play: Play) -> dict[PartyKey, str]:
    """Both parties look at each referral once more."""
    at_once = asyncio.Semaphore(READ_AT_ONCE)

    async def read(referral: str, agency: str) -> tuple[PartyKey, str]:
        async with at_once:
            shown = await play.trial.clients[agency].read_referral(referral, person=1)
        return (referral, agency), shown["state"]

    parties = [(each.referral, agency) for each in play.played for agency in (each.owner, each.receiver)]
    return dict(await asyncio.gather(*(read(*party) for party in parties)))


async def _export(trial: Trial, folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """Export the trail with its details, and let the offline verifier judge it in a process of its own."""
    installation = trial.installation
    async with operator_client(installation, "audit") as client:
        await download(client, installation.log_key, folder, purpose="oversight")
    command = [sys.executable, "-m", "services.audit.verifier", "verify", str(folder), "--json"]
    process = await asyncio.create_subprocess_exec(
        *command, "--log-key", installation.log_key, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    lines = [json.loads(line) for line in (folder / "details.jsonl").read_text().splitlines()]
    details = [json.loads(base64.b64decode(line["detail"])) for line in lines if "detail" in line]
    return {**json.loads(told or "{}"), "exit_code": process.returncode}, details


def _mails(folder: Path) -> Iterable[SinkMail]:
    """What the sink took: the envelope's recipient is written before the mail itself."""
    for file in sorted(folder.glob("*.eml")):
        envelope, _, content = file.read_bytes().partition(b"\r\n")
        message = email.message_from_bytes(content, policy=email.policy.default)
        body = message.get_body()
        text = f"{message['From']}\n{message['Subject']}\n{body.get_content() if body else ''}"
        to = envelope.decode().partition(": ")[2]
        yield SinkMail(to, str(message["Message-ID"]), text, len(content))
