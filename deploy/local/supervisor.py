"""Starts everything in order, keeps it running, and stops it in the opposite order."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from deploy.local import control, provisioning
from deploy.local.configuration import Configuration
from deploy.local.fork_client import ForkServer
from deploy.local.founding import publish_services
from deploy.local.installation import Installation, install
from deploy.local.kafka import Kafka
from deploy.local.keeper import PartKeeper
from deploy.local.parts import READY_WITHIN_SECONDS, Part
from deploy.local.postgres import Postgres
from deploy.local.processes import KAFKA, MAIL_SINK, POSTGRES, PROCESSES, Process, usual_ports
from deploy.local.refusals import CannotRun
from deploy.local.service_part import ServicePart
from deploy.local.subprocesses import Say, silence

RENEWED_EVERY_SECONDS: Final = 3600.0

More = Mapping[str, Mapping[str, str]]
"""Variables for single processes besides those of the table, such as `CONCERT_CRASH_AT`."""


class Platform:
    """Everything of one data directory; `running` makes, starts and stops one."""

    def __init__(
        self, installation: Installation, processes: tuple[Process, ...], say: Say, more: More
    ) -> None:
        self.installation = installation
        self.configuration = installation.configuration
        self.failed: asyncio.Future[CannotRun] = asyncio.get_running_loop().create_future()
        self._tell_person = say
        self._processes = processes
        self._fork_server = ForkServer(self.configuration.logs / "fork_server.log")
        self._keepers = {part.name: PartKeeper(part, self._say, self._tell) for part in self._parts(more)}
        self._prepared = {KAFKA: asyncio.Event(), POSTGRES: asyncio.Event()}
        self._tasks: list[asyncio.Task[None]] = []
        self._state = "starting"

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
        self._tell()
        self._say(f"starting {', '.join(self._keepers)}")
        self._tasks = [
            self._task(each.keep([self._prepared[need] for need in each.part.needs]))
            for each in self._keepers.values()
        ]
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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        parts = [each.part for each in reversed(self._keepers.values())]
        services = [part for part in parts if isinstance(part, ServicePart)]
        await asyncio.gather(*(part.stop() for part in services))
        await self._fork_server.stop()
        await asyncio.gather(*(part.stop() for part in parts if part not in services))
        for part in services:
            part.close()

    def _parts(self, more: More) -> Iterator[Part]:
        installation, data = self.installation, self.configuration.data
        logs, cache, numbers = self.configuration.logs, self.configuration.cache, installation.ports
        secrets = installation.secrets
        if not self.configuration.kafka:
            yield Kafka(data / KAFKA, logs / "kafka.log", numbers, secrets, cache, self._say)
        if not self.configuration.database:
            yield Postgres(data / POSTGRES, logs / "postgres.log", numbers["postgres"], secrets, cache)
        for each in self._processes:
            yield ServicePart(each, installation, self._fork_server, more.get(each.name, {}))

    async def _fill(self, name: str) -> None:
        """Once a server answers, puts into it what services need."""
        if name in self._keepers:
            await self._keepers[name].ready.wait()
        if name == KAFKA:
            await provisioning.make_topology(self.installation)
        else:
            await provisioning.make_databases(self.installation, self._say)
            await provisioning.check_high_water(self.installation)
        self._prepared[name].set()

    async def _renew_certificates(self) -> None:
        """Certificates live a day; a service reads its new one when it starts."""
        while True:
            await asyncio.sleep(RENEWED_EVERY_SECONDS)
            try:
                renewed = await asyncio.to_thread(self.installation.renew_certificates)
            except OSError as error:  # the old ones hold for half a day yet
                self._say(f"certificates could not be renewed: {error.strerror}; tried again in an hour")
                continue
            for name in (name for name in renewed if name in self._keepers):
                self._say(f"{name} has a new certificate and is started again")
                with contextlib.suppress(TimeoutError):  # one that fails must not keep the others waiting
                    await asyncio.wait_for(self.restart(name), READY_WITHIN_SECONDS)

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
            "parts": {name: each.document() for name, each in self._keepers.items()},
        }
        try:
            control.write_state(self.configuration.run, state)
        except OSError as error:  # a full disk must not end what still runs
            self._say(f"the state of the parts could not be written: {error.strerror}")

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
    with control.locked(configuration.run):
        installation = await asyncio.to_thread(install, configuration, usual_ports(), say)
        wanted = tuple(each for each in processes if each.name != MAIL_SINK or not configuration.smtp)
        platform = Platform(installation, wanted, say, more or {})
        try:
            await platform.open()
            if platform.installation.holders and "governance" in platform.names:
                await publish_services(platform.installation, say)
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
