"""The operators' pages over figures that no service told, for persons whom no issuer knows."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from fastapi import FastAPI, Request
from pydantic import TypeAdapter

from schemas.topics import TOPICS
from services.operations.console.entry import GRANT_WORDS
from services.operations.console.routes import OperationsConsole
from services.operations.console.source import InstallationSource
from services.operations.domain.streams import PartsStanding, StreamsStanding
from services.runtime.consoles.console import TOKEN_FIELD, ConsoleEntry
from services.runtime.consoles.routes import EntryPages, show_refusals
from services.runtime.consoles.sessions import SessionKey, SignInNeeded
from services.runtime.errors import Unavailable
from services.runtime.forms import FORM, form_of
from services.runtime.pages.answers import style_routes
from services.runtime.refusals import NoSuchLetter
from services.runtime.web import create_app
from tests.support.clock import NOON, StoppedClock
from tests.support.plans import AService, TableInMemory, plans_over

WATCHED: Final = re.compile(r"police|health\.steps|governance")
"""The topics of the stage: a page of all of them is long to look at."""
LETTER: Final = "dl_7c5f3k2m6qabcdefghijklmnop"
PEOPLE: Final[Mapping[str, ConsoleEntry]] = {
    person: ConsoleEntry(person, role, NOON, SessionKey.new())
    for person, role in (
        ("ada-onlooker", "viewer"), ("bintou-redriver", "redriver"), ("carmen-redriver", "redriver"),
    )
}  # fmt: skip
"""Person → who they are once they are signed in."""
CANARY: Final = "Kivuli-Nyota 0700 555 019"
"""What stands in every field that no page may show."""
WITHHELD: Final = (
    "key", "value", "headers", "event_id", "source", "sequence", "subject", "partitionkey", "correlationid",
    "causationid", "error_class", "referral", "case", "contact", "clinical", "narrative",
)  # fmt: skip
"""Fields of events and letters that nobody may be shown."""
STREAMS, PARTS = TypeAdapter(StreamsStanding), TypeAdapter(PartsStanding)
HIDING: Final[dict[str, Any]] = dict.fromkeys(WITHHELD, CANARY)


def a_day(busy: float) -> list[list[Any]]:
    """A lag every ten minutes of a day, some of them unknown."""
    return [
        [
            (NOON - timedelta(minutes=10 * ago)).isoformat(),
            None if 50 < ago < 60 else busy * (1 + (ago * 7) % 11) / 4,
        ]
        for ago in range(143, -1, -1)
    ]


def some_streams(**more: Any) -> dict[str, Any]:
    """A reader for each topic: most are well, one is slow, one stalled, one unknown."""
    states = {
        "concert.sector.police.inbox.v1": ("stalled", "stands", "Nothing was read for 94 s.", 94.0, 3),
        "concert.sector.health.steps.v1": ("slow", "behind", "Records have waited for 12 s.", 12.0, 240),
        "concert.governance.facts.v1": ("unknown", "silent", "It has not answered for 40 s.", None, None),
    }  # fmt: skip
    groups = []
    for topic in TOPICS:
        name = topic.name()
        for reader in topic.readers[:2] if WATCHED.search(topic.title) else ():
            verdict, rule, words, seconds, messages = states.get(
                name, ("ok", "caught_up", "It has read everything.", 0.0, 0)
            )
            groups.append(
                {
                    "group": reader, "service": reader, "topic": name, "since": NOON.isoformat(),
                    "verdict": verdict, "rule": rule,
                    "words": words, "lag_seconds": seconds, "lag_messages": messages,
                    "commit_age_seconds": seconds and seconds + 1, "members": 1,
                    "history": a_day(seconds or 0.4), **HIDING,
                }
            )  # fmt: skip
    return {
        "as_of": NOON.isoformat(),
        "groups": groups,
        "outboxes": [
            {"service": "police", "pending": 3, "oldest_seconds": 7.0, **HIDING},
            {"service": "governance", "pending": 3, "oldest_seconds": None},
        ],
        "rates": [
            {"topic": topic.name(), "per_minute": 4.0 if topic.is_restricted else 2.0} for topic in TOPICS
        ],
        "probe": {
            "as_of": NOON.isoformat(),
            "pairs": [
                {"owner": "health", "receiver": "police", "succeeded_at": NOON.isoformat(), "seconds": 1.4},
                {"owner": "police", "receiver": "health", "failing_since": NOON.isoformat(), **HIDING},
            ],
            "failed": [{"code": "not_seen_in_time", "count": 2, **HIDING}],
            "facts_seen_at": NOON.isoformat(),
            **HIDING,
        },
        **more,
    }


def some_parts(**more: Any) -> dict[str, Any]:
    """Parts of which one is down and one tells an alarm."""
    since = (NOON - timedelta(minutes=12)).isoformat()
    certificate = (NOON + timedelta(days=200)).isoformat()
    alarm = {"rule": "dead_letters", "where": "concert.sector.police.inbox.v1/2", "since": since}
    soon = (NOON + timedelta(hours=3)).isoformat()
    well = {"state": "answers", "version": "0.1.0", "started_at": since, "restarts": 0,
            "certificate_ends_at": certificate, "alarms": []}  # fmt: skip
    return {
        "as_of": NOON.isoformat(),
        "parts": [
            {"name": "police", **well, "alarms": [alarm]},
            {"name": "referrals", **well, "certificate_ends_at": soon, **HIDING},
            {"name": "notifications", **well, "state": "silent", "restarts": 4},
            {"name": "audit", **well},
        ],
        "disk_bytes": 100, "disk_free_bytes": 61, "oldest_offer_seconds": 61.0,
        "checkpoint_age_seconds": 9.0,
        "last_backup_at": None,
        **more,
    }  # fmt: skip


def some_letters(*counts: int) -> list[dict[str, Any]]:
    """Letters of a topic about people, a kind for each count; and three of one that is not."""
    since = (NOON - timedelta(minutes=41)).isoformat()
    inbox = "concert.sector.police.inbox.v1"
    common = {"service": "police", "since": since, "oldest": LETTER, "type": None, **HIDING}
    kinds = [
        {**common, "topic": inbox, "code": f"code_{chr(97 + place)}", "count": count}
        for place, count in enumerate(counts)
    ]
    other = {"topic": "concert.governance.state.v1", "code": "schema_mismatch", "type": "protocol.current"}
    return [*kinds, {**common, **other, "count": 3}]


A_LETTER: Final[Mapping[str, Any]] = {
    "id": LETTER, "state": "waiting", "topic": "concert.sector.police.inbox.v1", "partition": 2,
    "offset": 1207, "bytes": 2048, "attempts": 2,
    "code": "schema_mismatch", "path": "/data/needs/0", "type": "referral.offered",
    "record_at": NOON.isoformat(), "first_at": NOON.isoformat(), "last_at": NOON.isoformat(), **HIDING,
}  # fmt: skip


@dataclass
class ConsoleStage(AService):
    """What the pages are given, and what was asked of it; its plans are real, and their table in memory."""

    waiting: list[str] = field(default_factory=lambda: ["dl_a", "dl_b", "dl_c"])
    bad: Sequence[str] = ("dl_c",)
    streams_told: Any = field(default_factory=some_streams)
    parts_told: Any = field(default_factory=some_parts)
    letters_told: list[dict[str, Any]] = field(default_factory=lambda: some_letters(1, 2, 3, 4, 5))
    letter_told: dict[str, Any] = field(default_factory=lambda: dict(A_LETTER))
    silent: list[str] = field(default_factory=list)
    fails: Exception | None = None
    checked_fresh: list[str] = field(default_factory=list)
    clock: StoppedClock = field(default_factory=lambda: StoppedClock(NOON + timedelta(seconds=4)))

    home = "/ops"

    def __post_init__(self) -> None:
        self.plans = plans_over(TableInMemory(), self, self.clock)
        doors: Any = self
        self.source = InstallationSource(
            self._streams, lambda: PARTS.validate_python(self.parts_told), self.plans, doors, self.clock
        )
        self.app: FastAPI = create_app("Operations", lambda _: None, forms={("POST", "/ops"): FORM})
        self.app.include_router(OperationsConsole(self.source, self, self.clock).router())
        self.app.include_router(style_routes())
        show_refusals(self.app, EntryPages(doors, GRANT_WORDS))

    async def entry_of(self, request: Request) -> ConsoleEntry:
        if request.cookies.get("person") not in PEOPLE:
            raise SignInNeeded
        return PEOPLE[request.cookies["person"]]

    async def once(self, request: Request, act: Callable[[], Awaitable[str]]) -> str:
        who = await self.entry_of(request)
        who.key.form_of((await form_of(request)).get(TOKEN_FIELD, ""))
        return await act()

    def check_fresh(self, entry: ConsoleEntry) -> None:
        self.checked_fresh.append(entry.person)

    def _streams(self) -> StreamsStanding:
        if self.fails:
            raise self.fails
        return STREAMS.validate_python(self.streams_told)

    async def read_all(self, services: Sequence[str], path: str) -> tuple[list[dict[str, Any]], list[str]]:
        return self.letters_told, self.silent

    async def read(self, service: str, path: str) -> dict[str, Any]:
        if (service, path) != ("police", f"/v1/dead-letters/{LETTER}"):
            raise NoSuchLetter
        return self.letter_told

    async def propose(self, act: str = "redrive") -> str:
        """A plan of the first redriver's; gives its path."""
        asked = {"act": act, "service": "police", "code": "schema_mismatch"}
        return f"/ops/dead-letters/plans/{await self.source.propose(PEOPLE['bintou-redriver'], asked)}"

    async def carry_out(self) -> None:
        """Do what is due."""
        await self.plans.carry_out()
        self.clock.forward(timedelta(seconds=1))


def later(stage: ConsoleStage, seconds: float) -> datetime:
    """Let time pass without a fresh sample."""
    return stage.clock.forward(timedelta(seconds=seconds))


AWAY: Final = Unavailable("the database does not answer")
