"""`/ops`: streams, dead letters with what mends them, and parts; each list also as CSV."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Self

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from schemas.ids import PlanId
from services.operations.acts_api import LetterId, PlanWord, ServiceName
from services.operations.console import rows, tables
from services.operations.console.entry import NAME, operator_in
from services.operations.console.figures import LettersFigures, OneLetter, PlanFigures
from services.operations.console.rows import LETTERS_PATH, AnyFigures, Reading
from services.operations.console.terms import signal, term
from services.operations.domain.plans import MAY_BE
from services.operations.domain.streams import PartsStanding, StreamsStanding
from services.runtime.clock import Clock
from services.runtime.consoles.console import ConsoleEntry
from services.runtime.consoles.routes import SIGN_OUT
from services.runtime.errors import NotFound, Refused
from services.runtime.forms import form_of
from services.runtime.pages.answers import CONSOLE_HEADERS, script_routes
from services.runtime.pages.console import Freshness, console_page, frame_of
from services.runtime.pages.languages import message as _
from services.runtime.pages.rendering import Pages
from services.runtime.pages.tables import PageTable, Sentence, plain
from services.runtime.tables_csv import csv_text

STREAMS_PATH: Final = "/ops/streams"
PARTS_PATH: Final = "/ops/parts"
PLANS_PATH: Final = f"{LETTERS_PATH}/plans"
TITLES: Final = {STREAMS_PATH: _("Streams"), LETTERS_PATH: _("Dead letters"), PARTS_PATH: _("Parts")}
LETTERS_RENEWED_SECONDS: Final = 10
"""Their page says anew each time as of when there are none, and is read aloud at most so often."""
ROWS_MAX: Final = 200
"""How many rows of a table a page shows; the CSV has all."""
PLANNED_ACTS: Final = ("redrive", "discard")
"""What can be planned here; resets and refills are planned by the command."""
CHOICES: Final = {"service": _("Reader"), "code": _("Code"), "topic": _("Topic"), "type": _("Type")}
"""What the list of letters can be narrowed to, by the name in its URL."""
WORDS_OF_TWO: Final = ("confirmation", "approval")
"""Of an act that needs two persons, what each of them says."""
SAID_TO_SECOND: Final = ("same_person", "plan_of_another")
SAID_ON_THE_PAGE: Final = (409, 422)
"""Refusals of these kinds are about what a person typed or when; others are pages of their own."""
NOTHING_GIVEN: Final[Mapping[str, str]] = {"reason": "", "count": ""}
VERDICTS: Final = ("ok", "slow", "stalled", "unknown")

Name = Annotated[str, Query(pattern=r"^[a-z0-9._-]{0,249}$")]
Paused = Annotated[Literal["", "yes"], Query()]
Word = Literal["confirmation"] | PlanWord
Form = Annotated[Mapping[str, str], Depends(form_of)]


class ConsoleDoors(Protocol):
    """Where people come in."""

    async def entry_of(self, request: Request) -> ConsoleEntry:
        """Who asks; raises Refused."""

    def check_fresh(self, entry: ConsoleEntry) -> None:
        """Refuse who did not prove a moment ago who they are."""

    async def once(self, request: Request, act: Callable[[], Awaitable[str]]) -> str:
        """Where a form leads, however often it is sent."""


class ConsoleSource(Protocol):
    """Where the pages' figures come from, and where plans are made."""

    async def streams(self) -> StreamsStanding:
        """The newest of streams; waits for the own database alone."""

    async def parts(self) -> PartsStanding:
        """The newest of parts; waits for the own database alone."""

    async def letters(self, at: datetime) -> LettersFigures:
        """Letters that wait, by kind, as of now."""

    async def letter(self, service: str, name: str) -> OneLetter:
        """One letter, as its service tells it; raises NoSuchLetter."""

    async def propose(self, who: ConsoleEntry, asked: Mapping[str, str]) -> str:
        """Try an act without effect and keep it as a plan; gives its id. Raises Refused."""

    async def plan(self, who: ConsoleEntry, name: str) -> PlanFigures:
        """A plan as it stands; raises NoSuchPlan."""

    async def say(self, who: ConsoleEntry, name: str, word: str, given: Mapping[str, str]) -> None:
        """Confirm a plan, approve, pause, resume or cancel it; the word is durable then. Raises Refused."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice on a page: the name in its URL, what can be chosen, and what was."""

    name: str
    title: str
    options: Mapping[str, str]
    chosen: str

    @classmethod
    def among(cls, name: str, title: str, values: Iterable[str | None], chosen: str) -> Self:
        """All that there are, and what was chosen also where there is none of it now."""
        options = {one: rows.title_of(one) for one in sorted({one for one in (*values, chosen) if one})}
        return cls(name, title, options, chosen)


class OperationsConsole:
    """The pages of `/ops`."""

    def __init__(self, source: ConsoleSource, doors: ConsoleDoors, clock: Clock) -> None:
        """`clock` is that by which streams and parts are looked at."""
        self._source = source
        self._doors = doors
        self._clock = clock
        self._pages = _templates()

    def router(self) -> APIRouter:
        """Every route, with the scripts and the style sheet."""
        router = APIRouter(include_in_schema=False)
        signed_in = [Depends(self._sign_in)]
        looks: Mapping[str, Callable[..., Any]] = {
            "/ops": self._begin,
            STREAMS_PATH: self._streams,
            f"{STREAMS_PATH}/{{table}}.csv": self._streams_table,
            PARTS_PATH: self._parts,
            f"{PARTS_PATH}/{{table}}.csv": self._parts_table,
            LETTERS_PATH: self._letters,
            f"{LETTERS_PATH}/{{table}}.csv": self._letters_table,
            f"{PLANS_PATH}/{{name}}": self._plan,
            f"{PLANS_PATH}/{{name}}/receipt.jws": self._receipt,
            f"{LETTERS_PATH}/{{service}}/{{name}}": self._letter,
        }
        acts: Mapping[str, Callable[..., Any]] = {
            PLANS_PATH: self._propose,
            f"{PLANS_PATH}/{{name}}/{{word}}": self._say,
        }
        for method, answers in (("GET", looks), ("POST", acts)):
            for path, answer in answers.items():
                router.add_api_route(
                    path, answer, methods=[method], dependencies=signed_in, response_model=None
                )
        router.include_router(script_routes())
        return router

    async def _sign_in(self, request: Request) -> None:
        request.state.who = await self._doors.entry_of(request)

    async def _begin(self) -> Response:
        return RedirectResponse(STREAMS_PATH, 303, CONSOLE_HEADERS)

    async def _streams(
        self, request: Request, service: Name = "", verdict: Name = "", paused: Paused = ""
    ) -> Response:
        whole = await self._source.streams()
        reading = self._reading(_chosen_streams(whole, service, verdict))
        values = {
            "choices": (
                Filter.among("service", _("Service"), (one.service for one in whole.groups), service),
                Filter("verdict", _("Verdict"), {one: term(one).text for one in VERDICTS}, verdict),
            ),
            "verdicts": rows.verdicts(reading),
            "probe": rows.probe_told(reading),
            "troubled": rows.troubled(await self._source.parts()),
        }
        is_filtered = bool(service or verdict)
        return self._listed(request, "streams.html", tables.STREAM_TABLES, reading, values, is_filtered)

    async def _streams_table(self, table: str, service: Name = "", verdict: Name = "") -> Response:
        chosen = _chosen_streams(await self._source.streams(), service, verdict)
        return self._csv(table, tables.STREAM_TABLES, chosen)

    async def _parts(self, request: Request, paused: Paused = "") -> Response:
        reading = self._reading(await self._source.parts())
        values = {"boxes": rows.boxes(reading)}
        return self._listed(request, "parts.html", tables.PART_TABLES, reading, values)

    async def _parts_table(self, table: str) -> Response:
        return self._csv(table, tables.PART_TABLES, await self._source.parts())

    async def _letters(
        self, request: Request,
        service: Name = "", code: Name = "", topic: Name = "", type: Name = "",  # noqa: A002  the URL's name
        paused: Paused = "",
    ) -> Response:  # fmt: skip
        whole = await self._source.letters(self._clock.now())
        chosen = {"service": service, "code": code, "topic": topic, "type": type}
        fresh = Freshness(whole.as_of, self._clock.now(), LETTERS_RENEWED_SECONDS)
        reading = Reading(_chosen_letters(whole, chosen), fresh)
        values = {
            "choices": [
                Filter.among(name, title, (getattr(one, name) for one in whole.letters), chosen[name])
                for name, title in CHOICES.items()
            ],
            **self._acts(request),
        }
        is_filtered = any(chosen.values())
        return self._listed(request, "dead_letters.html", tables.LETTER_TABLES, reading, values, is_filtered)

    async def _letters_table(
        self, table: str,
        service: Name = "", code: Name = "", topic: Name = "", type: Name = "",  # noqa: A002
    ) -> Response:  # fmt: skip
        chosen = {"service": service, "code": code, "topic": topic, "type": type}
        return self._csv(
            table,
            tables.LETTER_TABLES,
            _chosen_letters(await self._source.letters(self._clock.now()), chosen),
        )

    async def _letter(self, request: Request, service: ServiceName, name: LetterId) -> Response:
        letter = await self._source.letter(service, name)
        values = {
            "letter": letter,
            "attributes": rows.attributes(letter),
            "chosen": {"service": service, "code": letter.code, "id": letter.id},
            **self._acts(request),
        }
        return self._page(request, "letter.html", values)

    async def _propose(self, request: Request, form: Form) -> Response:
        async def propose() -> str:
            return f"{PLANS_PATH}/{await self._source.propose(request.state.who, form)}"

        return _seen(await self._doors.once(request, propose))

    async def _plan(self, request: Request, name: PlanId, answer: Paused = "") -> Response:
        return await self._shown_plan(request, name, is_answer=bool(answer))

    async def _say(self, request: Request, name: PlanId, word: Word, form: Form) -> Response:
        who, plan = request.state.who, await self._source.plan(request.state.who, name)
        if plan.needs_second and word in WORDS_OF_TWO:
            self._doors.check_fresh(who)
        given = {one: form.get(one, "") for one in NOTHING_GIVEN}

        async def say() -> str:
            await self._source.say(who, name, word, given)
            return f"{PLANS_PATH}/{name}?answer=yes"

        try:
            return _seen(await self._doors.once(request, say))
        except Refused as refused:
            if refused.status not in SAID_ON_THE_PAGE and refused.code not in SAID_TO_SECOND:
                raise
            return await self._shown_plan(request, name, fault=refused, given=given)

    async def _receipt(self, request: Request, name: PlanId) -> Response:
        plan = await self._source.plan(request.state.who, name)
        if plan.receipt is None:
            raise NotFound
        return _file(f"{plan.id}.jws", plan.receipt, "application/jose")

    async def _shown_plan(
        self,
        request: Request,
        name: str,
        *,
        is_answer: bool = False,
        fault: Refused | None = None,
        given: Mapping[str, str] = NOTHING_GIVEN,
    ) -> Response:
        who = request.state.who
        plan = await self._source.plan(who, name)
        values = {
            "plan": plan,
            "at": f"{PLANS_PATH}/{plan.id}",
            "act": term(plan.act),
            "state": signal(plan.state),
            "attributes": rows.plan_attributes(plan),
            "given": given,
            "fault": Sentence(fault.sentence) if fault else None,
            "is_answer": is_answer,
            "words": [term(one) for one in _words(plan)] if operator_in(who).may(plan.act) else (),
        }
        return self._page(request, "plan.html", values, status=fault.status if fault else 200)

    def _page(
        self, request: Request, template: str, values: Mapping[str, Any], *, status: int = 200
    ) -> Response:
        who = request.state.who
        frame = frame_of(request, TITLES, who.person, who.key, f"/{NAME}/{SIGN_OUT}")
        return console_page(self._pages, template, request, {"frame": frame, **values}, status=status)

    def _reading(self, figures: AnyFigures) -> Reading[AnyFigures]:
        return Reading(figures, Freshness(figures.as_of, self._clock.now()))

    def _acts(self, request: Request) -> Mapping[str, Any]:
        return {"plannable": [term(act) for act in PLANNED_ACTS if operator_in(request.state.who).may(act)]}

    def _listed(
        self,
        request: Request,
        template: str,
        listed: Sequence[PageTable[Any]],
        reading: Reading[Any],
        values: Mapping[str, Any],
        is_filtered: bool = False,
    ) -> Response:
        query = f"?{request.url.query}" if is_filtered else ""
        made = tables.made(listed, reading, is_filtered=is_filtered)
        shown = {"reading": reading, "tables": made, "rows_max": ROWS_MAX, "query": query}
        return self._page(request, template, {**shown, **values, "folder": f"{request.url.path}/"})

    def _csv(self, name: str, listed: Sequence[PageTable[Any]], figures: Any) -> Response:
        made = tables.made(listed, self._reading(figures))
        if name not in made:
            raise NotFound
        header = [*made[name].table.columns]
        text = csv_text(header, ([plain(cell) for cell in row] for row in made[name].rows))
        return _file(f"operations-{name}.csv", text, "text/csv")


def _words(plan: PlanFigures) -> list[str]:
    """What whoever looks at a plan can say to it: one person confirms, another approves."""
    others = "approval" if plan.is_first else "confirmation"
    return [word for word, states in MAY_BE.items() if plan.state in states and word != others]


@cache
def _templates() -> Pages:
    return Pages(Path(__file__).parent)


def _seen(path: str) -> Response:
    """Where the outcome is shown; to load that page again does nothing again."""
    return RedirectResponse(path, 303, CONSOLE_HEADERS)


def _file(name: str, text: str, media_type: str) -> Response:
    headers = {**CONSOLE_HEADERS, "content-disposition": f'attachment; filename="{name}"'}
    return Response(text, 200, headers, media_type)


def _chosen_streams(figures: StreamsStanding, service: str, verdict: str) -> StreamsStanding:
    """Those of one service, of one verdict."""
    groups = [one for one in figures.groups if verdict in ("", one.verdict) and service in ("", one.service)]
    return replace(figures, groups=groups)


def _chosen_letters(figures: LettersFigures, chosen: Mapping[str, str]) -> LettersFigures:
    """Those that a filter leaves."""
    letters = [
        one
        for one in figures.letters
        if all(getattr(one, name) == value for name, value in chosen.items() if value)
    ]
    return figures.model_copy(update={"letters": letters})
