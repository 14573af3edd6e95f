"""The runs: load, strikes in the order of a table, then peace, and what the checkers say."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from deploy.local import configuration
from deploy.local.databases import DATABASES
from deploy.local.ports import trial_ports
from deploy.local.processes import KAFKA, POSTGRES, usual_ports
from deploy.local.refusals import CannotRun
from deploy.local.supervisor import running
from schemas.topics import SECTORS, SERVICES
from schemas.wire.cloudevents import decode
from schemas.wire.envelope import HEADERS
from services.cli.agency_client import WITHDRAW
from services.cli.demo import checks
from services.cli.demo import trial as demo_trial
from services.cli.demo.agencies import fictional_agencies
from services.cli.demo.collect import Onlooker, looking
from services.cli.demo.pulls import PullBook
from services.cli.demo.trial import MORE, Trial, set_up, until
from services.cli.tokens import token_client
from tests.fault import checkers, strikes
from tests.fault.disks import Disk, why_no_disk
from tests.fault.load import DrivenAgency, History, Load

PEACE_WITHIN_SECONDS: Final = 180.0
"""After the last strike everything is sent, applied and confirmed within this time, or the run has failed."""
DRIVEN: Final = 8
"""So many agencies offer and answer."""
LOSSES_TOLD_MAX: Final = 20
SCALED: Final = (*SECTORS, "referrals", "notifications", "governance", "audit", "audit_sign")

_STEPS: Final = """
SELECT value FROM outbox_sent WHERE topic LIKE '%.steps.%' AND key NOT LIKE 'rcp%'
UNION ALL SELECT value FROM outbox WHERE topic LIKE '%.steps.%' AND key NOT LIKE 'rcp%'"""
_UNCONFIRMED: Final = """
SELECT count(*) FROM sequence_out WHERE topic ~ '[.](steps|inbox)[.]' AND key NOT LIKE 'rcp%'
AND confirmed < last"""
_OUT: Final = "SELECT topic, key, last FROM sequence_out WHERE key NOT LIKE 'rcp%'"
_IN: Final = "SELECT topic, key, last FROM sequence_in WHERE key NOT LIKE 'rcp%'"
_DEAD: Final = "SELECT count(*) FROM dead_letter WHERE state = 'waiting'"
_STATES: Final = "SELECT id, state FROM referral"

Say = Callable[[str], None]
Strike = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """How much befalls a run."""

    kills: int
    beside: int
    """Cases at a time."""
    processes: int = 1
    """Of each service that can have several."""
    pause_seconds: tuple[float, float] = (0.2, 3.0)
    frozen_seconds: float = 20.0
    """Longer than a reader's session."""
    full_seconds: float = 10.0
    cuts: int = 0
    """Power cuts of brokers and database at once."""
    loses_brokers: bool = True
    with_refill: bool = True
    flushes: bool = True

    @property
    def loses(self) -> bool:
        """Whether a control is off, so that the checks must see a loss."""
        return not (self.with_refill and self.flushes)


SHORT: Final = RunPlan(
    kills=3, beside=6, pause_seconds=(0.1, 0.4), frozen_seconds=1.0, full_seconds=0, cuts=1
)
WITHOUT_REFILL: Final = replace(SHORT, kills=0, cuts=0, with_refill=False)
POWER_CUTS: Final = RunPlan(0, 16, cuts=10, loses_brokers=False)
UNFLUSHED: Final = replace(POWER_CUTS, cuts=1, pause_seconds=(4.0, 5.0), flushes=False)
PLANS: Final[Mapping[str, tuple[RunPlan, RunPlan]]] = {
    "R1": (RunPlan(30, 16, processes=2, cuts=2), RunPlan(300, 16, processes=2, cuts=20)),
    "R2": (RunPlan(6, 16, with_refill=False), RunPlan(60, 16, with_refill=False)),
    "power-cuts": (POWER_CUTS, replace(POWER_CUTS, cuts=100)),
    "unflushed": (UNFLUSHED, UNFLUSHED),
}
"""Each run by its name: the plan of an ordinary one, and of one that soaks."""


@dataclass
class FaultRun:
    """One installation under load, and what was done to it."""

    trial: Trial
    load: Load
    history: History
    plan: RunPlan
    seed: int
    say: Say
    disks: Mapping[str, Disk] = field(default_factory=dict)
    """Brokers' and database's own, where this machine lets us mount them."""
    done: list[str] = field(default_factory=list)

    async def strike(self) -> None:
        """Everything of the plan, in its order; the same seed strikes the same parts."""
        platform, chosen = self.trial.platform, random.Random(self.seed)
        if self.disks and not self.plan.flushes:
            await strikes.stop_flushing(platform, self.disks)
        for what, strike in self._order():
            await asyncio.sleep(chosen.uniform(*self.plan.pause_seconds))
            await self._do(what, strike)
        lose = partial(strikes.lose_brokers, platform, without_refill=not self.plan.with_refill)
        if self.plan.loses_brokers:
            await self._do("brokers lose their folders", lose)

    def _order(self) -> Iterator[tuple[str, Strike]]:
        """Kills, and at their shares of the whole what else befalls."""
        platform, plan = self.trial.platform, self.plan
        between: list[tuple[float, str, Strike]] = []
        if plan.kills:
            frozen = partial(strikes.freeze, platform, "referrals", plan.frozen_seconds)
            between += [
                (0.25, "the arbiter is frozen", frozen),
                (0.35, "a sector reads all again", partial(strikes.offsets_back, platform, "health")),
                (0.4, "steps and facts go out thrice", partial(strikes.rows_again, platform)),
            ]
        if self.disks and plan.kills and plan.full_seconds:
            for share, whose, name in ((0.5, "the database's", POSTGRES), (0.55, "the brokers'", KAFKA)):
                full = partial(strikes.fill_disk, self.disks[name], plan.full_seconds)
                between.append((share, f"{whose} disk is full", full))
        if self.disks:
            cut = partial(strikes.cut_power, platform, self.disks)
            shares = [0.6 + 0.3 * number / plan.cuts for number in range(plan.cuts)]
            between += [(share, "power is cut", cut) for share in shares]
        for number, name in enumerate(islice(strikes.drawn(self.seed, platform.names), plan.kills)):
            while between and between[0][0] * plan.kills <= number:
                yield between.pop(0)[1:]
            yield f"{name} is killed", partial(strikes.kill, platform, name)
        for one in between:
            yield one[1:]

    async def _do(self, what: str, strike: Strike) -> None:
        began = time.monotonic()
        await strike()
        self.done.append(f"{what} ({time.monotonic() - began:.1f} s)")
        self.say(self.done[-1])

    async def judged(self) -> Mapping[str, list[str]]:
        """By check: what does not hold, once all is quiet."""
        async with looking(self.trial.installation) as onlooker:
            if not self.plan.flushes:
                answered = list(self.history.entries)
                return {"loss": checkers.answered_once(answered, await _recorded(onlooker))}
            await onlooker.quiet()
            if not self.plan.with_refill:
                addressed, _ = await onlooker.arbiter_sent()
                return {"loss": checks.every_step_answered(self._sent, addressed)}
            await until(partial(_is_confirmed, onlooker), "every step and fact is confirmed")
            return await self._judged(onlooker)

    async def _judged(self, onlooker: Onlooker) -> Mapping[str, list[str]]:
        clients, played = self.trial.clients, self.load.played
        addressed, counted = await onlooker.arbiter_sent()
        received = [event for client in clients.values() for event in await client.whole_feed()]
        states = dict(await onlooker.connections["referrals"].fetch(_STATES))
        last_states = {(event.referral, event.agency): str(event.state) for event in received}
        withdrawn = {one.referral for one in self._sent if one.fact == WITHDRAW.fact}
        letters: dict[str, int] = {}
        behind: list[str] = []

        async def is_applied() -> bool:
            behind[:] = checkers.applied_in_turn(*await _sequences(onlooker))
            # What waits behind a hole is taken up by itself once the hole is filled.
            letters.update({name: await onlooker.count(name, _DEAD) for name in SERVICES if name != "audit"})
            return not behind and not any(letters.values())

        with suppress(CannotRun):  # a clock may have told something meanwhile: it is on its way, or lost
            await until(is_applied, "every reader is at the end of every key")
        return {
            "loss": [
                *checkers.answered_once(self.history.entries, await _recorded(onlooker)),
                *checks.every_step_answered(self._sent, addressed),
            ],
            "multiplicity": checks.nothing_twice(addressed, counted),
            "order": [
                *checks.facts_numbered(addressed, received),
                *behind,
            ],
            "agreement": checks.states_agree(played, states, last_states),
            "withdrawals": checkers.withdrawals_stand(withdrawn, played, states, last_states),
            "letters": checks.nothing_dead(letters, {}),
            "load": self.load.failures,
        }

    @property
    def _sent(self) -> list[Any]:
        return [sent for client in self.trial.clients.values() for sent in client.sent]


async def _recorded(onlooker: Onlooker) -> list[str]:
    return [
        str(decode(HEADERS, row["value"]).attributes["id"])
        for sector in SECTORS
        for row in await onlooker.connections[sector].fetch(_STEPS)
    ]


async def _is_confirmed(onlooker: Onlooker) -> bool:
    return not sum([await onlooker.count(name, _UNCONFIRMED) for name in (*SECTORS, "referrals")])


async def _sequences(onlooker: Onlooker) -> tuple[checkers.Sequences, Mapping[str, checkers.Sequences]]:
    """How far each key was written, and how far each reader is; readers name topics by their titles."""

    def title(name: str) -> str:
        return name.removeprefix(f"{onlooker.installation.kafka.namespace}concert.").rpartition(".v")[0]

    names = [name for name in DATABASES if name != "audit"]
    rows = [row for name in names for row in await onlooker.connections[name].fetch(_OUT)]
    written = {(title(row["topic"]), row["key"]): row["last"] for row in rows}
    applied = {
        name: {(row["topic"], row["key"]): row["last"] for row in await onlooker.connections[name].fetch(_IN)}
        for name in names
    }
    return written, applied


@asynccontextmanager
async def under_load(folder: Path, plan: RunPlan, seed: int, say: Say) -> AsyncIterator[FaultRun]:
    """An installation of all parts with agencies that are at work; leaving stops all of it."""
    demo_trial.WITHIN_SECONDS = PEACE_WITHIN_SECONDS  # type: ignore[misc]
    scale = dict.fromkeys(SCALED, plan.processes)
    chosen_ports = trial_ports(usual_ports(scale))
    chosen = configuration.trial(folder / "installation", chosen_ports=chosen_ports, scale=scale)
    history = History(folder / "history.jsonl")
    async with AsyncExitStack() as stack:
        disks = {}
        if plan.cuts and (why := why_no_disk()):
            say(f"no power is cut and no disk is full: {why}")
        elif plan.cuts:
            disks = stack.enter_context(strikes.own_disks(chosen.data))
        platform = await stack.enter_async_context(running(chosen, more=MORE))
        for refusal in platform.failing.values():
            raise refusal
        its, issuer, agencies = (
            platform.installation,
            token_client(platform.installation),
            fictional_agencies(),
        )
        clients = {one.id: DrivenAgency(one, its.api_url(one.sector), issuer, history) for one in agencies}
        for client in clients.values():
            await stack.enter_async_context(client.http)
        stack.callback(history.close)
        trial = Trial(platform, issuer, agencies, dict(clients), PullBook(its, folder / "opened"))
        await set_up(trial)
        say("agencies are at work")
        load = Load(list(clients.values())[:DRIVEN], seed, plan.beside)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(platform.wait())  # raises when the supervisor gives up
            beside = [watching, *(group.create_task(load.listen(one)) for one in clients.values())]
            try:
                yield FaultRun(trial, load, history, plan, seed, say, disks)
            finally:
                for task in beside:
                    task.cancel()


async def perform(name: str, plan: RunPlan, seed: int, folder: Path, say: Say) -> Mapping[str, Any]:
    """One run from its first case to its verdict."""
    async with under_load(folder, plan, seed, say) as run:
        return await verdict_of(run, name)


async def verdict_of(run: FaultRun, name: str) -> Mapping[str, Any]:
    """Load and strikes, peace, checks; a run whose control is off holds where the loss was seen."""
    began = time.monotonic()
    playing = asyncio.create_task(run.load.run())
    problems: Mapping[str, list[str]]
    try:
        await run.strike()
        run.load.stop()
        if not run.plan.loses:
            async with asyncio.timeout(PEACE_WITHIN_SECONDS):
                await asyncio.shield(playing)
        problems = await run.judged()
    except TimeoutError:
        problems = {"peace": [f"cases were not at their end within {PEACE_WITHIN_SECONDS:.0f} seconds"]}
    except CannotRun as refusal:
        problems = {"peace": [refusal.sentence]}
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    found = {check: told[:LOSSES_TOLD_MAX] for check, told in problems.items() if told}
    holds = list(found) == (["loss"] if run.plan.loses else [])
    return {
        "run": name,
        "seed": run.seed,
        "holds": holds,
        "cases": len(run.load.played),
        "steps": len(run._sent),
        "requests": checkers.counted(run.history.entries),
        "strikes": run.done,
        "power_cuts": "done" if run.disks else f"skipped: {why_no_disk()}" if run.plan.cuts else "none",
        "problems": found,
        "seconds": round(time.monotonic() - began, 1),
        "repeat": f"concert fault {name} --seed {run.seed}",
    }
