"""Starts everything in order, keeps it running, and stops it in the opposite order."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from deploy.local import control, database_copies, monitoring, provisioning
from deploy.local.configuration import Configuration
from deploy.local.fork_client import ForkServer
from deploy.local.founding import publish_services
from deploy.local.installation import Installation, install
from deploy.local.kafka import Kafka
from deploy.local.keeper import PartKeeper
from deploy.local.log_files import rotate
from deploy.local.parts import READY_WITHIN_SECONDS, Part
from deploy.local.postgres import Postgres
from deploy.local.probes import admit_probes
from deploy.local.processes import (
    ISSUER_PROCESS,
    KAFKA,
    MAIL_SINK,
    POSTGRES,
    PROCESSES,
    Process,
    check_scale,
    part_name,
    usual_ports,
)
from deploy.local.refusals import CannotRun
from deploy.local.service_part import ServicePart
from deploy.local.subprocesses import Say, silence
from services.runtime import administration
from services.runtime.clock import SystemClock

RENEWED_EVERY_SECONDS: Final = 3600.0
FILLED_AGAIN_AFTER_SECONDS: Final = 2.0
LOGS_LOOKED_AT_EVERY_SECONDS: Final = 10.0

More = Mapping[str, Mapping[str, str]]
"""Variables besides those of the table, such as `CONCERT_CRASH_AT`: for all processes of a service by its
name, or for one by its own."""


def more_of(more: More, service: str, number: int) -> Mapping[str, str]:
    """The variables of one process."""
    return {**more.get(service, {}), **more.get(part_name(service, number), {})}


class Platform:
    """Everything of one data directory; `running` makes, starts and stops one."""

    def __init__(
        self, installation: Installation, processes: tuple[Process, ...], say: Say, more: More
    ) -> None:
        self.installation = installation
        self.failed: asyncio.Future[CannotRun] = asyncio.get_running_loop().create_future()
        self._tell_person = say
        self._processes = processes
        self._fork_server = ForkServer(self.configuration.logs / "fork_server.log")
        self._more = more
        self._keepers = {part.name: PartKeeper(part, self._say, self._tell) for part in self._parts()}
        self._prepared = {KAFKA: asyncio.Event(), POSTGRES: asyncio.Event()}
        self._kept: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._scaling = asyncio.Lock()
        self._scraped: dict[str, tuple[str, int]] = {}
        self._state = "starting"

    @property
    def configuration(self) -> Configuration:
        """What the operator and this supervisor chose."""
        return self.installation.configuration

    # What callers do with a running platform.

    @property
    def names(self) -> tuple[str, ...]:
        """Every part, in the order of start."""
        return tuple(self._keepers)

    def pid(self, name: str) -> int | None:
        """The process of a part, or None while it is down."""
        return self._keepers[name].part.pid

    async def stop(self, name: str) -> None:
        """Stops a part in order; it stays down until `start`."""
        keeper = self._keepers[name]
        keeper.wanted.clear()
        await keeper.part.stop()
        await keeper.down.wait()

    async def start(self, name: str) -> None:
        """Starts a part that is down and waits until it is ready."""
        self._keepers[name].wanted.set()
        await self.ready(name)

    async def restart(self, name: str) -> None:
        """Stops a part in order and starts it again."""
        await self.stop(name)
        await self.start(name)

    async def scale(self, scale: Mapping[str, int]) -> None:
        """Lets other numbers of some services' processes run, and waits until those that come are settled."""
        async with self._scaling:
            table = {each.name: each for each in self._processes}
            wanted = {**self.configuration.scale, **scale}
            check_scale(self.configuration.model_copy(update={"scale": wanted}))
            # Counted, not looked up: a scaling that broke off has written down what does not run.
            running = Counter(each.part.service for each in self._keepers.values())
            before = {name: running[name] for name in scale if name in table}
            await asyncio.to_thread(self.installation.rescale, wanted, usual_ports(wanted))
            come = [
                self._kept_running(table[name], number)
                for name, count in before.items()
                for number in range(count + 1, wanted[name] + 1)
            ]
            for name, count in before.items():
                for number in range(count, wanted[name], -1):
                    await self._take_away(name, number)
            for each in come:
                await self._unless_failed(each.settled.wait())
            self._tell()

    @property
    def failing(self) -> Mapping[str, CannotRun]:
        """The parts that do not become ready, and why."""
        return {name: each.refusal for name, each in self._keepers.items() if each.refusal}

    async def died(self, name: str) -> None:
        """Waits until a part is down, for whatever reason."""
        await self._keepers[name].down.wait()

    async def ready(self, name: str) -> None:
        """Waits until a part is ready."""
        await self._unless_failed(self._keepers[name].ready.wait())

    async def wait(self) -> None:
        """Waits until the platform has to give up; raises why."""
        raise await asyncio.shield(self.failed)

    # Start and stop of everything.

    async def open(self) -> None:
        """Starts all parts, each as soon as what it needs is ready; one that cannot live stops no other."""
        asyncio.get_running_loop().add_signal_handler(control.SCALE_SIGNAL, self._scale_as_asked)
        self._tasks.append(self._task(self._rotate_logs()))
        monitoring.write_monitoring(self.configuration.data / "monitoring")
        self._tell()
        self._say(f"starting {', '.join(self._keepers)}")
        self._kept = {name: self._task(self._keep(each)) for name, each in self._keepers.items()}
        self._tasks += [self._task(self._fill(name)) for name in self._prepared]
        if self._processes:
            self._tasks.append(self._task(self._import_early()))
        for event in (*self._prepared.values(), *(each.settled for each in self._keepers.values())):
            await self._unless_failed(event.wait())
        self._state = "ready"
        self._tell()
        self._tasks.append(self._task(self._renew_certificates()))

    async def close(self) -> None:
        """Stops the services, then the servers that they need; kills what does not stop."""
        self._state = "stopping"
        tasks = [*self._tasks, *self._kept.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        parts = [each.part for each in reversed(self._keepers.values())]
        services = [part for part in parts if isinstance(part, ServicePart)]
        await asyncio.gather(*(part.stop() for part in services))
        await self._fork_server.stop()
        await asyncio.gather(*(part.stop() for part in parts if part not in services))
        for part in services:
            part.close()

    def _parts(self) -> Iterator[Part]:
        installation, data = self.installation, self.configuration.data
        logs, cache, numbers = self.configuration.logs, self.configuration.cache, installation.ports
        secrets = installation.secrets
        if not self.configuration.kafka:
            yield Kafka(data / KAFKA, logs / "kafka.log", numbers, secrets, cache, self._say)
        if not self.configuration.database:
            yield Postgres(data / POSTGRES, logs / "postgres.log", numbers["postgres"], secrets, cache)
        for each in self._processes:
            first = None
            for number in range(1, self.configuration.scale.get(each.name, 1) + 1):
                yield (part := self._part(each, number, first))
                first = first or part

    def _part(self, process: Process, number: int, first: ServicePart | None = None) -> ServicePart:
        more = more_of(self._more, process.name, number)
        return ServicePart(process, self.installation, self._fork_server, more, number=number, first=first)

    def _keep(self, keeper: PartKeeper) -> Coroutine[Any, Any, None]:
        return keeper.keep([self._prepared[need] for need in keeper.part.needs])

    def _kept_running(self, process: Process, number: int) -> PartKeeper:
        first = self._keepers[process.name].part
        assert isinstance(first, ServicePart)  # noqa: S101  no other part has a number
        part = self._part(process, number, first)
        keeper = self._keepers[part.name] = PartKeeper(part, self._say, self._tell)
        self._kept[part.name] = self._task(self._keep(keeper))
        return keeper

    async def _take_away(self, service: str, number: int) -> None:
        """Stops a process for good; the others have its partitions at once, not only after its session."""
        name = part_name(service, number)
        await self.stop(name)
        part = self._keepers.pop(name).part
        self._kept.pop(name).cancel()
        assert isinstance(part, ServicePart)  # noqa: S101  no other part has a number
        part.close()
        with contextlib.suppress(*administration.FAILURES):
            await asyncio.to_thread(provisioning.remove_member, self.installation, service, number)

    def _scale_as_asked(self) -> None:
        if self._state != "stopping":
            self._tasks.append(self._task(self._scale_by_file()))

    async def _scale_by_file(self) -> None:
        try:
            await self.scale(control.asked_scale(self.configuration.run))
        except (CannotRun, OSError, ValueError) as error:  # what runs goes on as it is
            self._say(f"scaled nothing: {error.sentence if isinstance(error, CannotRun) else 'unreadable'}")

    async def _fill(self, name: str) -> None:
        """Once a server answers, puts into it what services need."""
        if name in self._keepers:
            await self._keepers[name].ready.wait()
        if name == KAFKA:
            await provisioning.make_topology(self.installation)
        else:
            await provisioning.make_databases(self.installation, self._say)
            await provisioning.check_high_water(self.installation)
            await database_copies.drop_replaced(self.installation, SystemClock().now())
        self._prepared[name].set()
        if name == KAFKA and name in self._keepers:
            await self._fill_brokers_again(self._keepers[name])

    async def _fill_brokers_again(self, keeper: PartKeeper) -> None:
        """Makes topics and rights anew where brokers come back without: their writers send all again."""
        is_filled = True
        while True:
            if is_filled:
                await keeper.down.wait()
            await keeper.ready.wait()
            is_filled = True
            try:
                await provisioning.make_topology(self.installation)
            except CannotRun as refusal:
                self._say(refusal.sentence)
            except administration.FAILURES:  # down again, or not quite there
                is_filled = False
                await asyncio.sleep(FILLED_AGAIN_AFTER_SECONDS)

    async def _renew_certificates(self) -> None:
        """Certificates live a day; a service reads its new one when it starts."""
        while True:
            await asyncio.sleep(RENEWED_EVERY_SECONDS)
            try:
                renewed = await asyncio.to_thread(self.installation.renew_certificates)
            except OSError as error:  # the old ones hold for half a day yet
                self._say(f"certificates could not be renewed: {error.strerror}; tried again in an hour")
                continue
            for name in [name for name, each in self._keepers.items() if each.part.service in renewed]:
                self._say(f"{name} has a new certificate and is started again")
                with contextlib.suppress(TimeoutError):  # one that fails must not keep the others waiting
                    await asyncio.wait_for(self.restart(name), READY_WITHIN_SECONDS)

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.to_thread(rotate, self.configuration.logs, self._say)
            await asyncio.sleep(LOGS_LOOKED_AT_EVERY_SECONDS)

    async def _import_early(self) -> None:
        # Only time is lost when it fails: the first service to start tries again.
        with contextlib.suppress(OSError):
            await self._fork_server.start()
            self._tell()

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever a task cannot go on from ends the platform."""
        if not task.cancelled() and (error := task.exception()) and not self.failed.done():
            if not isinstance(error, CannotRun):
                error = CannotRun("failed", f"{type(error).__name__}: {error}")
            self.failed.set_result(error)

    async def _unless_failed(self, work: Any) -> None:
        waiting = asyncio.ensure_future(work)
        await asyncio.wait({waiting, self.failed}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise self.failed.result()
        await waiting

    def _tell(self) -> None:
        state = {
            "supervisor": os.getpid(),
            "fork_server": self._fork_server.pid,
            "state": self._state,
            "cell": self.configuration.cell,
            "origin": self.configuration.origin,
            "ports": dict(self.installation.ports),
            "scale": dict(self.configuration.scale),
            "parts": {name: each.document() for name, each in self._keepers.items()},
        }
        try:
            control.write_state(self.configuration.run, state)
            self._tell_monitoring()
        except OSError as error:  # a full disk must not end what still runs
            self._say(f"the state of the parts could not be written: {error.strerror}")

    def _tell_monitoring(self) -> None:
        parts = [each.part for each in self._keepers.values() if isinstance(each.part, ServicePart)]
        scraped = {part.name: (part.service, port) for part in parts if (port := part.scraped_port)}
        if scraped != self._scraped:
            monitoring.write_targets(self.configuration.data / "monitoring", scraped)
            self._scraped = scraped

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nor a terminal or a log that takes no more
            self._tell_person(text)


@asynccontextmanager
async def running(
    configuration: Configuration,
    *,
    say: Say = silence,
    more: More | None = None,
    processes: tuple[Process, ...] = PROCESSES,
) -> AsyncIterator[Platform]:
    """A platform that is ready, for as long as the block; leaving stops everything."""
    check_scale(configuration)
    with control.locked(configuration.run):
        its_ports = usual_ports(configuration.scale)
        installation = await asyncio.to_thread(install, configuration, its_ports, say)
        others = {MAIL_SINK: configuration.smtp, ISSUER_PROCESS: configuration.issuer}
        wanted = tuple(each for each in processes if not others.get(each.name))
        platform = Platform(installation, wanted, say, more or {})
        try:
            await platform.open()
            if platform.installation.holders and "governance" in platform.names:
                await publish_services(platform.installation, say)
            if installation.is_probed and "operations" in platform.names:
                await admit_probes(platform.installation, say)
            yield platform
        finally:
            await platform.close()


async def serve(
    configuration: Configuration, *, on_ready: Callable[[Platform], None], say: Say = silence
) -> bool:
    """Runs a platform until SIGTERM, SIGINT or SIGHUP; false if one came before it was ready."""
    task = asyncio.current_task()
    assert task  # noqa: S101  a coroutine runs in a task
    is_stopping = is_ready = False

    def stop() -> None:
        nonlocal is_stopping
        if not is_stopping:  # later signals change nothing
            is_stopping = True
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        async with running(configuration, say=say) as platform:
            is_ready = True
            on_ready(platform)
            await platform.wait()
    except asyncio.CancelledError:
        if not is_stopping:
            raise
        task.uncancel()
    return is_ready
