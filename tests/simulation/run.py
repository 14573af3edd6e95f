"""One seed: a while under faults, then healing, then the promises are looked at."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

from schemas.events.life_cycle import TERMINAL, State
from schemas.wire.receipts import receipt_key
from services.referrals.domain.referral import Referral
from services.runtime.errors import Unavailable
from tests.simulation.actors import ARBITER, READ_BY, Party, Process, Service
from tests.simulation.world import Killed, Machine, Violation, World, done
from tests.support.builders import OWNER, RECEIVER, SECTOR_OF, an_id

ACTS: Final = 100
PROCESSES: Final = 2
LEAPS: Final = (-90_000, -3_600, -30, 30, 3_600, 90_000)
ROUNDS_MAX: Final = 60
ROUND: Final = timedelta(seconds=15)
REFERRALS: Final = [an_id("referral", f"simulated {number}") for number in range(3)]
RECEIPTS: Final = receipt_key("").encode()


class Run:
    """The world of one seed, with every process in it."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.services = {name: Service(self.world, name) for name in READ_BY}
        self.parties = [Party(self.services[SECTOR_OF[one]], one) for one in (OWNER, RECEIVER)]
        self.processes = [Process(service) for service in self.services.values() for _ in range(PROCESSES)]
        for service in self.services.values():
            self.rebalance(service)

    def go(self) -> list[str]:
        """Raise Violation if a promise is broken; else say what happened."""
        for _ in range(ACTS):
            self.act()
        self.heal()
        self.check()
        return self.world.told

    def act(self) -> None:
        """One thing happens somewhere."""
        chance, world = self.world.chance, self.world
        world.now += timedelta(seconds=chance.choice((0.1, 1, 5)))
        what, process = chance.random(), chance.choice(self.processes)
        if what < 0.17:
            party, referral = chance.choice(self.parties), chance.choice(REFERRALS)
            self.attempt("asks", process, lambda: party.ask(referral, process.now()))
        elif what < 0.45:
            [first, *_] = [one for one in self.processes if one.service is process.service]  # it has the lock
            self.attempt("sends", first, lambda: first.send(chance.randint(1, 8)))
        elif what < 0.76:
            self.attempt("consumes", process, lambda: process.consume(chance.randint(1, 6)))
        elif what < 0.86:
            self.attempt("looks", process, process.look)
        elif what < 0.92:
            self.attempt("sweeps", process, process.sweep)
        elif what < 0.95:
            self.rebalance(process.service, is_told=chance.random() < 0.7)
        elif what < 0.98 and world.logs:
            world.damage()
        else:
            machine: Machine = chance.choice((process, process.service.database))
            moved = chance.choice(LEAPS)
            machine.ahead += timedelta(seconds=moved)
            what_of = f"{process.service.identity.service}: {type(machine).__name__}"
            world.told.append(f"{what_of}: clock leaps by {moved} s")

    def attempt(self, what: str, process: Process, work: Callable[[], Awaitable[Any]]) -> Any:
        """Let a process do something; killed, it comes back with nothing but its database."""
        name = process.service.identity.service
        result: Any = None
        try:
            result = done(work())  # type: ignore[arg-type]
        except Unavailable:
            result = "unavailable"
        except Killed:
            result = "killed"
            if process in self.processes:
                place = self.processes.index(process)
                self.processes[place] = new = Process(process.service)
                new.ahead = process.ahead
                with suppress(Unavailable, Killed):
                    done(new.assign(sorted(process.client.assigned)))
        if result or not self.world.is_healing:
            self.world.told.append(f"{name}: {what}: {result}")
        return result

    def rebalance(self, service: Service, *, is_told: bool = True) -> None:
        """Share the partitions anew; a process that is not told reads on what is another's now."""
        own = [process for process in self.processes if process.service is service]
        shares: list[list[Any]] = [[] for _ in own]
        for partition in service.partitions:
            self.world.chance.choice(shares).append(partition)
        for process, share in zip(own, shares, strict=True):
            if is_told or self.world.chance.random() < 0.5:
                self.attempt("assigned", process, partial(process.assign, share))

    def heal(self) -> None:
        """No more faults: everything gets on by itself, or says that an operator must look."""
        self.world.is_healing = True
        for service in self.services.values():
            self.rebalance(service)
        self.settle()
        if any(process.unconfirmed.alarms() for process in self.processes):
            self.world.told.append("the operator refills")
            for process in self.processes[::PROCESSES]:
                for topic in process.service.writes:
                    done(process.log_ends.refill(topic.name(), 0))
            self.settle()

    def settle(self) -> None:
        """Let time pass until nothing moves, and everything is confirmed or told to be not."""
        moved = 1
        for _ in range(ROUNDS_MAX):
            self.world.now += ROUND * (1 if moved else 4)
            moved = 0
            for place, process in enumerate(self.processes):
                others = (process.look, process.send, process.consume)
                for work in others if place % PROCESSES else (process.sweep, *others):
                    moved += self.attempt("heals", process, work) or 0
            if not moved and not any(self.missing()):
                return
        if not any(self.missing()):
            raise Violation("nothing is missing, and the same is sent again and again")

    def missing(self) -> Iterator[tuple[str, str, int]]:
        """Events that were written and did not take effect at their reader: topic, key, number."""
        for service in self.services.values():
            for topic in service.writes:
                [reader] = topic.readers
                effects = self.services[reader].database.tables.effects
                for (name, key), (last, _) in service.database.tables.sequence_out.items():
                    if name == topic.name() and not key.startswith(RECEIPTS):
                        for number in range(1, last + 1):
                            if effects.get((name, key.decode(), number)) != 1:
                                yield name, key.decode(), number

    def check(self) -> None:
        """What was promised."""
        if missing := list(self.missing()):
            raise Violation(f"{len(missing)} answered or written events are lost, such as {missing[0]}")
        arbiter = self.services[ARBITER].database.tables.own
        for party in self.parties:
            view = party.service.database.tables.own
            for referral in REFERRALS:
                known: Referral | None = arbiter.get(referral)
                if known and party.agency in known.parties:
                    number, state = view.get(referral, (0, None))
                    if (number, state) != (arbiter.get((referral, party.agency), 0), known.state):
                        raise Violation(f"{party.agency} sees {state}, the arbiter {known.state}")
        withdrawn = Counter(one for one, verb in self.parties[0].answered if verb == "withdraw")
        for referral in withdrawn:
            known = arbiter.get(referral)
            is_told = known and (known.seal_by_at or known.state is State.SEALED)
            if known is None or known.state not in TERMINAL or not is_told:
                raise Violation("a withdrawal that was answered does not stand")
