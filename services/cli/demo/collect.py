"""Gathers the evidence once all is quiet: from agencies' ports, servers, disk and the exported trail."""

import asyncio
import base64
import email
import email.policy
import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from deploy.local.databases import DATABASES
from deploy.local.founding import operator_client
from deploy.local.installation import Installation
from schemas.events.dialogue import DialogueHeld
from schemas.ids import KINDS
from schemas.topics import GOVERNANCE_FACTS, INBOX, REFERRALS_FACTS, SECTORS, SERVICES, TOPICS
from schemas.wire.cloudevents import decode
from schemas.wire.envelope import HEADERS
from schemas.wire.sealing import open_event
from schemas.wire.topic import Topic
from services.cli.agency_client import AgencyClient, NumberedFact
from services.cli.demo.checks import Evidence, Kill, PartyKey, SinkMail
from services.cli.demo.learning_checks import Counts, counts_of
from services.cli.demo.partner_checks import KeptAct, ToldDecision, about
from services.cli.demo.play import Play
from services.cli.demo.search import plant_control, search
from services.cli.demo.trial import Trial, until
from services.cli.trail import download
from services.runtime import administration

_DEAD: Final = "SELECT count(*) FROM dead_letter WHERE state = 'waiting'"
_REFUSED: Final = """
SELECT coalesce(string_agg(DISTINCT kind || ' ' || refused, ', '), '') FROM trail_outbox
WHERE refused IS NOT NULL"""
_UNSENT: Final = "SELECT count(*) FROM outbox"
_UNREPORTED: Final = "SELECT count(*) FROM trail_outbox WHERE refused IS NULL"
_UNTOLD: Final = "SELECT count(*) FROM notice WHERE state IN ('waiting', 'sending')"
_UNSIGNED: Final = "SELECT (SELECT size FROM log_state) - coalesce((SELECT max(size) FROM checkpoint), 0)"
_WAITING: Final = (
    *((service, _UNSENT) for service in DATABASES if service != "audit"),
    *((sector, _UNREPORTED) for sector in SECTORS),
    ("notifications", _UNTOLD),
    ("audit", _UNSIGNED),
)
_SENT: Final = "SELECT topic, value FROM outbox_sent UNION ALL SELECT topic, value FROM outbox"
_ACTS: Final = """
SELECT kind, id, facts FROM act
UNION ALL SELECT kind, id, ARRAY['governance.agency_admitted'] FROM publication WHERE kind = 'agency'"""
_OFFSETS: Final = "SELECT topic, part, next FROM consumer_offset"


async def collect(play: Play, kills: tuple[Kill, ...], folder: Path) -> Evidence:
    """Everything that the checks look at; the folder is a new one, for the exported trail."""
    trial, clients = play.trial, play.trial.clients.values()
    async with looking(trial.installation) as onlooker:
        await onlooker.quiet()
        await plant_control(trial, onlooker.connections["governance"])
        views = await _views(play)
        await onlooker.quiet()
        verdict, entries = await _export(trial, folder)
        addressed, counted = await onlooker.arbiter_sent()
        kept_acts, told_decisions, told_counts = await onlooker.governed()
        traces, searched_bytes = await search(trial, onlooker.connections)
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
            "pulls": tuple(trial.pulls.tried),
            "withdrawn_at": dict(trial.pulls.withdrawn_at),
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
            "undecided": play.undecided,
            "half_signed": play.half_signed,
            **play.learned,
            "kept_acts": kept_acts,
            "told_decisions": told_decisions,
            "told_counts": told_counts,
            "dead_letters": {each: await onlooker.count(each, _DEAD) for each in SERVICES if each != "audit"},
            "refused_reports": {
                each: await onlooker.connections[each].fetchval(_REFUSED) for each in SECTORS
            },
        }


async def _views(play: Play) -> dict[PartyKey, str]:
    """Both parties look at each referral once more."""

    async def read_all(client: AgencyClient) -> list[tuple[PartyKey, str]]:
        name = client.agency.id
        mine = [each.referral for each in play.played if name in (each.owner, each.receiver)]
        return [((each, name), (await client.read_referral(each, person=1))["state"]) for each in mine]

    return dict(chain.from_iterable(await asyncio.gather(*map(read_all, play.trial.clients.values()))))


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
    details = [
        {**json.loads(base64.b64decode(line["detail"])), "index": index}
        for index, line in enumerate(lines)
        if "detail" in line
    ]
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


@dataclass(frozen=True, slots=True)
class Onlooker:
    """An administrator's connections to every database."""

    installation: Installation
    connections: Mapping[str, Any]

    async def count(self, service: str, sql: str) -> int:
        """A number from one database."""
        return int(await self.connections[service].fetchval(sql))

    async def quiet(self) -> None:
        """Wait until nothing is in an outbox or on its way to a reader or a desk, and the trail is signed."""
        await until(self._is_quiet, "every queue is empty")

    async def arbiter_sent(self) -> tuple[list[NumberedFact], list[Mapping[str, Any]]]:
        """All that the arbiter addressed to parties, and all that it sent out for statistics."""
        addressed: list[NumberedFact] = []
        counted: list[Mapping[str, Any]] = []
        for topic, fact, cause in await self._sent_by("referrals", *INBOX.values(), REFERRALS_FACTS):
            if topic is REFERRALS_FACTS:
                counted.append(fact)
            else:
                addressed.append(NumberedFact(**fact, agency=fact["to"], caused_by=cause))
        return addressed, counted

    async def governed(self) -> tuple[tuple[KeptAct, ...], tuple[ToldDecision, ...], Mapping[str, Counts]]:
        """What partners and the operator did, as it is kept; all that was sent out of it; who was counted."""
        rows = await self.connections["governance"].fetch(_ACTS)
        acts = tuple(KeptAct(row["kind"], row["id"], tuple(row["facts"])) for row in rows)
        sent = [fact for _, fact, _ in await self._sent_by("governance", GOVERNANCE_FACTS)]
        counts = {one["dialogue"]: counts_of(one) for one in sent if one["type"] == DialogueHeld.type}
        return acts, tuple(about(fact["type"], fact) for fact in sent), counts

    async def _sent_by(self, service: str, *topics: Topic) -> list[tuple[Topic, dict[str, Any], str]]:
        """What a service sent to these topics: the topic, the fact, and what caused it."""
        by_name = {topic.name(self.installation.kafka.namespace): topic for topic in topics}
        sent = []
        for row in await self.connections[service].fetch(_SENT):
            if not (topic := by_name.get(row["topic"])):
                continue
            event = decode(HEADERS, row["value"])
            if str(event.attributes["subject"]).startswith(KINDS["receipt"].prefix):
                continue
            opened = open_event(event, topic, mode=self.installation.configuration.mode)
            full_type = str(opened.attributes["type"])
            fact = {**opened.data, "type": full_type.removeprefix("org.concert.").rpartition(".v")[0]}
            sent.append((topic, fact, str(event.attributes.get("causationid"))))
        return sent

    async def _is_quiet(self) -> bool:
        for service, question in _WAITING:
            if await self.count(service, question):
                return False
        return not await self._is_behind()

    async def _is_behind(self) -> bool:
        """Whether any reader has not applied all that the brokers hold for it."""
        names = {topic.name(self.installation.kafka.namespace): topic for topic in TOPICS}
        with administration.connect(*self.installation.kafka_admin) as admin:
            ends = administration.ends(admin, list(names))
        for reader in {reader for topic in TOPICS for reader in topic.readers}:
            rows = await self.connections[reader].fetch(_OFFSETS)
            applied = {(row["topic"], row["part"]): row["next"] for row in rows}
            if any(
                applied.get(place, 0) < end
                for place, end in ends.items()
                if reader in names[place[0]].readers
            ):
                return True
        return False


@asynccontextmanager
async def looking(installation: Installation) -> AsyncIterator[Onlooker]:
    """Open the connections, and close them."""
    async with AsyncExitStack() as stack:
        connections = {
            service: await stack.enter_async_context(installation.server.connection(database.name))
            for service, database in DATABASES.items()
        }
        yield Onlooker(installation, connections)
