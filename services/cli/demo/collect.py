"""Gathers the evidence once all is quiet: from agencies' ports, servers, disk and the exported trail."""

import asyncio
import email
import email.policy
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.topics import SECTORS, SERVICES
from services.cli.demo.agencies import DESK
from services.cli.demo.evidence import Evidence, Kill, Listed, Mail, Told, Verdict, View
from services.cli.demo.founding import until
from services.cli.demo.identities import identities
from services.cli.demo.looking import looking, opened_details
from services.cli.demo.play import Play
from services.cli.demo.search import planted, search, send_control
from services.cli.demo.stage import Stage
from services.cli.installed import operator_client
from services.cli.trail import download

QUIET_WITHIN_SECONDS: Final = 60.0
READ_AT_ONCE: Final = 16
_DEAD: Final = "SELECT count(*) FROM dead_letter"
_REFUSED: Final = "SELECT count(*) FROM trail_outbox WHERE refused IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Acted:
    """What the run itself did and saw."""

    play: Play
    kills: tuple[Kill, ...]
    listed: tuple[Listed, ...]


async def collect(stage: Stage, acted: Acted, trail: Path) -> Evidence:
    """Everything that the checks look at; `trail` is a new directory for the export."""
    async with looking(stage.installation) as onlooker:
        await until(onlooker.is_quiet, "every queue is empty", QUIET_WITHIN_SECONDS)
        await send_control(stage, onlooker)
        views = await read_views(stage)
        seen = await identities(stage, onlooker)
        await until(onlooker.is_quiet, "every queue is empty", QUIET_WITHIN_SECONDS)
        await until(onlooker.is_signed, "the trail is signed", QUIET_WITHIN_SECONDS)
        verdict, entries = await export(stage, trail)
        addressed, counted = await onlooker.arbiter_said()
        traces, searched = await search(stage, onlooker)
        return Evidence(
            played=tuple(stage.book.played),
            failures=tuple(acted.play.failures),
            asked=tuple(stage.book.asked),
            addressed=tuple(addressed),
            received=tuple(await feeds(stage)),
            counted=tuple(counted),
            states=await onlooker.states(),
            views=tuple(views),
            reads=tuple(stage.book.reads),
            entries=tuple(entries),
            verdict=verdict,
            mails=tuple(mails(stage.installation.mail_folder)),
            desks={(agency.id, DESK): agency.mail for agency in stage.agencies},
            names=tuple(name for agency in stage.agencies for name in planted(agency)),
            traces=tuple(traces),
            searched=tuple(searched),
            identities=seen,
            kills=acted.kills,
            races=tuple(acted.play.races),
            listed=acted.listed,
            dead_letters={each: await onlooker.count(each, _DEAD) for each in SERVICES if each != "audit"},
            refused_reports={each: await onlooker.count(each, _REFUSED) for each in SECTORS},
        )


async def feeds(stage: Stage) -> list[Told]:
    """Every agency's feed, from its beginning."""
    each = await asyncio.gather(*(client.whole_feed() for client in stage.clients.values()))
    return [told for feed in each for told in feed]


async def read_views(stage: Stage) -> list[View]:
    """Both parties look at each referral once more."""
    gate = asyncio.Semaphore(READ_AT_ONCE)

    async def read(referral: str, agency: str) -> View:
        async with gate:
            shown = await stage.clients[agency].read_referral(referral, person=1)
        return View(referral, agency, shown["state"], shown["number"])

    pairs = [(each.referral, agency) for each in stage.book.played for agency in (each.owner, each.receiver)]
    return list(await asyncio.gather(*(read(referral, agency) for referral, agency in pairs)))


async def export(stage: Stage, folder: Path) -> tuple[Verdict, list[Any]]:
    """Export the trail with its details, and let the offline verifier judge it in a process of its own."""
    installation = stage.installation
    async with operator_client(installation, "audit") as client:
        await download(client, installation.log_key, folder, purpose="oversight")
    command = [sys.executable, "-m", "services.audit.verifier", "verify", str(folder), "--json"]
    process = await asyncio.create_subprocess_exec(
        *command, "--log-key", installation.log_key, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    details = opened_details((folder / "details.jsonl").read_text())
    return _verdict(process.returncode or 0, told), details


def _verdict(code: int, told: bytes) -> Verdict:
    if not told:
        return Verdict(code, 0, 0, "it could not look")
    verdict = json.loads(told)
    failure = verdict["failure"]
    sentence = f"entry {failure['index']}: {failure['sentence']}" if failure else "sound"
    return Verdict(code, verdict["size"] or 0, verdict["details_checked"], sentence)


def mails(folder: Path) -> Iterable[Mail]:
    """What the sink took: the envelope's recipient is written before the mail itself."""
    for file in sorted(folder.glob("*.eml")):
        envelope, _, content = file.read_bytes().partition(b"\r\n")
        message = email.message_from_bytes(content, policy=email.policy.default)
        body = message.get_body()
        text = f"{message['From']}\n{message['Subject']}\n{body.get_content() if body else ''}"
        to = envelope.decode().partition(": ")[2]
        yield Mail(to, str(message["Message-ID"]), text, len(content))
