"""Starts everything in order, keeps it running, and stops it in the opposite order."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from deploy.local import configuration as configurations
from deploy.local import contents, control, ports
from deploy.local.certificates import Certificates
from deploy.local.children import Say, silence
from deploy.local.configuration import Configuration
from deploy.local.deaths import Deaths
from deploy.local.forks import Forks
from deploy.local.installation import Installation
from deploy.local.kafka import Kafka, KafkaPorts
from deploy.local.parts import Part, ServerPart, ServicePart
from deploy.local.places import make_directory
from deploy.local.postgres import Postgres
from deploy.local.processes import (
    KAFKA,
    MAIL_SINK,
    OPERATOR,
    POSTGRES,
    PROCESSES,
    Process,
    port_name,
    usual_ports,
)
from deploy.local.refusals import CannotRun, part_died
from deploy.local.secrets import Secrets
from deploy.local.training import train
from schemas.topics import SERVICES

RENEWED_EVERY_SECONDS: Final = 3600.0

More = Mapping[str, Mapping[str, str]]
"""Variables for single processes besides those of the table, such as `CONCERT_CRASH_AT`."""


class Kept:
    """A part and what the supervisor knows about it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.state = "waiting"
        self.deaths = Deaths()
        self.wanted = asyncio.Event()
        self.wanted.set()
        self.ready = asyncio.Event()
        self.down = asyncio.Event()
        self.down.set()


class Platform:
    """Everything of one data directory; `running` makes, starts and stops one."""

    def __init__(
        self,
        installation: Installation,
        processes: tuple[Process, ...],
        say: Say,
        *,
        restarts: bool,
        more: More,
    ) -> None:
        self.installation = installation
        self.configuration = installation.configuration
        self.failed: asyncio.Future[CannotRun] = asyncio.get_running_loop().create_future()
        self._say = say
        self._restarts = restarts
        self._processes = processes
        self._sockets = {each.name: self._listen(each) for each in processes}
        descriptors = [each.fileno() for sockets in self._sockets.values() for each in sockets.values()]
        self._forks = Forks(self.configuration.logs / "fork_server.log", descriptors)
        self._kept = {part.name: Kept(part) for part in (*self._servers(), *self._services(more))}
        self._prepared = {KAFKA: asyncio.Event(), POSTGRES: asyncio.Event()}
        self._tasks: list[asyncio.Task[None]] = []
        self._state = "starting"

    # What callers do with a running platform.

    @property
    def names(self) -> tuple[str, ...]:
        """Every part, in the order of start."""
        return tuple(self._kept)

    def pid(self, name: str) -> int | None:
        """The process of a part, or None while it is down."""
        return self._kept[name].part.pid

    async def kill(self, name: str) -> None:
        """SIGKILL, and the part stays down until `start`."""
        kept = self._kept[name]
        kept.wanted.clear()
        kept.part.kill()
        await kept.down.wait()

    async def stop(self, name: str) -> None:
        """Stops a part in order; it stays down until `start`."""
        kept = self._kept[name]
        kept.wanted.clear()
        await kept.part.stop()
        await kept.down.wait()

    async def start(self, name: str, more: Mapping[str, str] | None = None) -> None:
        """Starts a part that is down and waits until it is ready; `more` replaces its further variables."""
        kept = self._kept[name]
        if more is not None and isinstance(kept.part, ServicePart):
            kept.part.more = more
        kept.wanted.set()
        await self._unless_failed(kept.ready.wait())

    async def restart(self, name: str, more: Mapping[str, str] | None = None) -> None:
        """Stops a part in order and starts it again."""
        await self.stop(name)
        await self.start(name, more)

    async def died(self, name: str) -> None:
        """Waits until a part is down, for whatever reason."""
        await self._kept[name].down.wait()

    async def ready(self, name: str) -> None:
        """Waits until a part is ready."""
        await self._unless_failed(self._kept[name].ready.wait())

    async def wait(self) -> None:
        """Waits until the platform has to give up; raises why."""
        raise await asyncio.shield(self.failed)

    # Start and stop of everything.

    async def open(self) -> None:
        """Starts all parts, each as soon as what it needs is ready, and waits for the last."""
        self._tell()
        self._say(f"starting {', '.join(self._kept)}")
        self._tasks = [self._task(self._keep, kept) for kept in self._kept.values()]
        self._tasks += [self._task(self._fill, name) for name in self._prepared]
        if self._processes:
            self._tasks.append(self._task(self._forks.start))
        for event in (*self._prepared.values(), *(kept.ready for kept in self._kept.values())):
            await self._unless_failed(event.wait())
        self._state = "ready"
        self._tell()
        self._tasks.append(self._task(self._renew_certificates))
        if not self.configuration.kafka:
            self._tasks.append(self._task(self._train))

    async def close(self) -> None:
        """Stops the services, then the servers that they need; kills what does not stop."""
        self._state = "stopping"
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        parts = [kept.part for kept in reversed(self._kept.values())]
        services = [part for part in parts if isinstance(part, ServicePart)]
        await asyncio.gather(*(part.stop() for part in services))
        await self._forks.stop()
        await asyncio.gather(*(part.stop() for part in parts if part not in services))
        for sockets in self._sockets.values():
            for each in sockets.values():
                each.close()

    def _listen(self, process: Process) -> dict[str, socket.socket]:
        numbers = self.installation.ports
        return {kind: ports.listen(numbers[port_name(process.name, kind)]) for kind in process.ports}

    def _servers(self) -> Iterator[Part]:
        installation, folder = self.installation, self.configuration.data
        logs, cache, numbers = self.configuration.logs, self.configuration.cache, installation.ports
        secrets = installation.secrets
        if not self.configuration.kafka:
            three = KafkaPorts(numbers["kafka"], numbers["kafka_internal"], numbers["kafka_controller"])
            log = logs / "kafka.log"
            yield ServerPart(
                KAFKA, Kafka(folder / KAFKA, log, three, secrets, cache, SERVICES, say=self._say)
            )
        if not self.configuration.database:
            log = logs / "postgres.log"
            yield ServerPart(POSTGRES, Postgres(folder / POSTGRES, log, numbers["postgres"], secrets, cache))

    def _services(self, more: More) -> Iterator[Part]:
        for each in self._processes:
            sockets = self._sockets[each.name]
            yield ServicePart(each, self.installation, self._forks, sockets, more.get(each.name, {}))

    # One task for each part.

    async def _keep(self, kept: Kept) -> None:
        """Keeps one part running for as long as it is wanted."""
        await kept.part.prepare()
        for need in kept.part.needs:
            await self._prepared[need].wait()
        while True:
            await kept.wanted.wait()
            refusal = await self._live_once(kept)
            if not kept.wanted.is_set():
                continue
            if self._state == "starting":
                raise refusal
            if self._restarts:
                await self._wait_before_next_life(kept, refusal)
            else:
                kept.wanted.clear()

    async def _live_once(self, kept: Kept) -> CannotRun:
        """One life of a part, from its start to its end; tells how it ended."""
        kept.down.clear()
        try:
            await kept.part.start()
            if not kept.wanted.is_set():
                kept.part.kill()
            self._is_now(kept, "starting")
            await kept.part.wait_ready()
            self._is_now(kept, "ready")
            kept.ready.set()
            await kept.part.wait()
        except CannotRun as refusal:
            kept.part.kill()
            await kept.part.wait()
            return refusal
        finally:
            kept.ready.clear()
            kept.down.set()
            self._is_now(kept, "down")
        return part_died(kept.part.name, kept.part.log)

    async def _wait_before_next_life(self, kept: Kept, refusal: CannotRun) -> None:
        delay = kept.deaths.delay_after(asyncio.get_running_loop().time())
        if delay is None:
            raise CannotRun("part_died", f"{kept.part.name} died five times in a minute.", refusal.last_lines)
        self._say(f"{kept.part.name} ended unexpectedly; it is started again in {delay:.1f} s")
        await asyncio.sleep(delay)

    async def _fill(self, name: str) -> None:
        """Once a server answers, puts into it what services need."""
        if name in self._kept:
            await self._kept[name].ready.wait()
        if name == KAFKA:
            await contents.make_topology(self.installation)
        else:
            await contents.make_databases(self.installation, self._say)
        self._prepared[name].set()

    async def _renew_certificates(self) -> None:
        """Certificates live a day; a service reads its new one when it starts."""
        while True:
            await asyncio.sleep(RENEWED_EVERY_SECONDS)
            for name in await asyncio.to_thread(renew_certificates, self.installation):
                if name in self._kept:
                    self._say(f"{name} has a new certificate and is started again")
                    await self.restart(name)

    async def _train(self) -> None:
        # Only speed is lost when it fails, so nobody has to know.
        with contextlib.suppress(CannotRun, OSError, TimeoutError):
            await train(self.configuration.cache)

    def _task(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> asyncio.Task[None]:
        return asyncio.create_task(self._guard(work, *arguments))

    async def _guard(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Whatever a task cannot go on from ends the platform."""
        try:
            await work(*arguments)
        except CannotRun as refusal:
            self._fail(refusal)
        except Exception as error:
            self._fail(CannotRun("failed", f"{type(error).__name__}: {error}"))

    def _fail(self, refusal: CannotRun) -> None:
        if not self.failed.done():
            self.failed.set_result(refusal)

    async def _unless_failed(self, work: Any) -> None:
        waiting = asyncio.ensure_future(work)
        await asyncio.wait({waiting, self.failed}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise self.failed.result()
        await waiting

    def _is_now(self, kept: Kept, state: str) -> None:
        kept.state = state
        self._tell()

    def _tell(self) -> None:
        parts = {name: {"state": kept.state, "pid": kept.part.pid} for name, kept in self._kept.items()}
        control.write_state(
            self.configuration.run,
            {
                "supervisor": os.getpid(),
                "state": self._state,
                "cell": self.configuration.cell,
                "origin": self.configuration.origin,
                "ports": dict(self.installation.ports),
                "parts": parts,
            },
        )


def install(configuration: Configuration) -> Installation:
    """Makes directories, chooses ports, and makes secrets and certificates that are missing."""
    make_directory(configuration.data, 0o711)
    for folder in (configuration.logs, configuration.data / "audit"):
        make_directory(folder)
    usual = usual_ports()
    ports.wait_until_free({**configuration.chosen_ports, **configuration.ports})
    chosen = ports.choose(usual, configuration.ports, configuration.chosen_ports)
    configuration = configuration.with_ports(chosen)
    configurations.write(configuration)
    secrets = Secrets(configuration.data / "secrets")
    certificates = Certificates(configuration.data / "certificates", configuration.cell)
    installation = Installation(configuration, chosen, secrets, certificates)
    renew_certificates(installation)
    return installation


def renew_certificates(installation: Installation) -> list[str]:
    """New certificates for whoever's has less than half of its life left."""
    return installation.certificates.renew((*SERVICES, OPERATOR))


@asynccontextmanager
async def running(
    configuration: Configuration,
    *,
    say: Say = silence,
    restarts: bool = True,
    more: More | None = None,
    processes: tuple[Process, ...] = PROCESSES,
) -> AsyncIterator[Platform]:
    """A platform that is ready, for as long as the block; leaving stops everything."""
    with control.locked(configuration.run):
        installation = await asyncio.to_thread(install, configuration)
        wanted = tuple(each for each in processes if each.name != MAIL_SINK or not configuration.smtp)
        platform = Platform(installation, wanted, say, restarts=restarts, more=more or {})
        try:
            await platform.open()
            yield platform
        finally:
            await platform.close()


async def serve(
    configuration: Configuration,
    *,
    on_ready: Callable[[Platform], None],
    say: Say = silence,
    restarts: bool = True,
) -> None:
    """Runs a platform until SIGTERM, SIGINT or SIGHUP, also while it starts; raises if it has to give up."""
    signals = _Signals()
    try:
        async with running(configuration, say=say, restarts=restarts) as platform:
            on_ready(platform)
            await platform.wait()
    except asyncio.CancelledError:
        if not signals.came:
            raise
        signals.task.uncancel()


class _Signals:
    """Cancels the current task at the first signal; later ones change nothing."""

    def __init__(self) -> None:
        self.came = False
        task = asyncio.current_task()
        assert task  # noqa: S101  a coroutine runs in a task
        self.task = task
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        if not self.came:
            self.came = True
            self.task.cancel()
