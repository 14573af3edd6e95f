"""Starts everything in order, keeps it running, and stops it in the opposite order."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from deploy.local import contents, control, ports
from deploy.local.children import Say, silence
from deploy.local.configuration import Configuration
from deploy.local.deaths import LIVED_LONG_SECONDS
from deploy.local.forks import Forks
from deploy.local.installation import Installation
from deploy.local.kafka import Kafka, KafkaPorts
from deploy.local.lives import PartLife
from deploy.local.parts import READY_WITHIN_SECONDS, Part, ServerPart, ServicePart
from deploy.local.postgres import Postgres
from deploy.local.processes import (
    KAFKA,
    MAIL_SINK,
    POSTGRES,
    PROCESSES,
    Process,
    port_name,
)
from deploy.local.refusals import CannotRun, not_started, part_died
from deploy.local.set_up import install, renew_certificates
from deploy.local.training import train

RENEWED_EVERY_SECONDS: Final = 3600.0

More = Mapping[str, Mapping[str, str]]
"""Variables for single processes besides those of the table, such as `CONCERT_CRASH_AT`."""


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
        self._tell_person = say
        self._restarts = restarts
        self._processes = processes
        self._sockets = {each.name: self._listen(each) for each in processes}
        descriptors = [each.fileno() for sockets in self._sockets.values() for each in sockets.values()]
        self._forks = Forks(self.configuration.logs / "fork_server.log", descriptors)
        self._lives = {part.name: PartLife(part) for part in (*self._servers(), *self._services(more))}
        self._prepared = {KAFKA: asyncio.Event(), POSTGRES: asyncio.Event()}
        self._tasks: list[asyncio.Task[None]] = []
        self._state = "starting"

    # What callers do with a running platform.

    @property
    def names(self) -> tuple[str, ...]:
        """Every part, in the order of start."""
        return tuple(self._lives)

    def pid(self, name: str) -> int | None:
        """The process of a part, or None while it is down."""
        return self._lives[name].part.pid

    async def kill(self, name: str) -> None:
        """SIGKILL, and the part stays down until `start`."""
        life = self._lives[name]
        life.wanted.clear()
        life.part.kill()
        await life.down.wait()

    async def stop(self, name: str) -> None:
        """Stops a part in order; it stays down until `start`."""
        life = self._lives[name]
        life.wanted.clear()
        await life.part.stop()
        await life.down.wait()

    async def start(self, name: str, more: Mapping[str, str] | None = None) -> None:
        """Starts a part that is down and waits until it is ready; `more` replaces its further variables."""
        life = self._lives[name]
        if more is not None and isinstance(life.part, ServicePart):
            life.part.more = more
        life.wanted.set()
        await self._unless_failed(life.ready.wait())

    async def restart(self, name: str, more: Mapping[str, str] | None = None) -> None:
        """Stops a part in order and starts it again."""
        await self.stop(name)
        await self.start(name, more)

    @property
    def failing(self) -> Mapping[str, CannotRun]:
        """The parts that do not become ready, and why."""
        return {name: life.refusal for name, life in self._lives.items() if life.refusal}

    async def died(self, name: str) -> None:
        """Waits until a part is down, for whatever reason."""
        await self._lives[name].down.wait()

    async def ready(self, name: str) -> None:
        """Waits until a part is ready."""
        await self._unless_failed(self._lives[name].ready.wait())

    async def wait(self) -> None:
        """Waits until the platform has to give up; raises why."""
        raise await asyncio.shield(self.failed)

    # Start and stop of everything.

    async def open(self) -> None:
        """Starts all parts, each as soon as what it needs is ready; one that cannot live stops no other."""
        self._tell()
        self._say(f"starting {', '.join(self._lives)}")
        self._tasks = [self._task(self._keep, life) for life in self._lives.values()]
        self._tasks += [self._task(self._fill, name) for name in self._prepared]
        if self._processes:
            self._tasks.append(self._task(self._import_early))
        for event in (*self._prepared.values(), *(life.settled for life in self._lives.values())):
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
        parts = [life.part for life in reversed(self._lives.values())]
        services = [part for part in parts if isinstance(part, ServicePart)]
        self._forks.let_go_on()
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
            yield ServerPart(KAFKA, Kafka(folder / KAFKA, log, three, secrets, cache, say=self._say))
        if not self.configuration.database:
            log = logs / "postgres.log"
            yield ServerPart(POSTGRES, Postgres(folder / POSTGRES, log, numbers["postgres"], secrets, cache))

    def _services(self, more: More) -> Iterator[Part]:
        for each in self._processes:
            sockets = self._sockets[each.name]
            yield ServicePart(each, self.installation, self._forks, sockets, more.get(each.name, {}))

    # One task for each part.

    async def _keep(self, life: PartLife) -> None:
        """Keeps one part running for as long as it is wanted."""
        await life.part.prepare()
        for need in life.part.needs:
            await self._prepared[need].wait()
        while True:
            await life.wanted.wait()
            refusal = await self._live_once(life)
            if not life.wanted.is_set():
                continue
            if self._state == "starting" and not self._may_fail(life):
                raise refusal
            if self._restarts:
                await self._wait_before_next_life(life, refusal)
            else:
                life.wanted.clear()

    def _may_fail(self, life: PartLife) -> bool:
        """Without broker or database nothing goes on; any other part is tried for ever, the rest works."""
        return self._restarts and isinstance(life.part, ServicePart)

    async def _live_once(self, life: PartLife) -> CannotRun:
        """One life of a part, from its start to its end; tells how it ended."""
        life.down.clear()
        life.next_try_at = None
        try:
            await life.part.start()
            if not life.wanted.is_set():
                life.part.kill()
            self._is_now(life, "starting")
            await life.part.wait_ready()
            self._is_now(life, "ready")
            life.ready.set()
            life.settled.set()
            await self._live(life)
        except (CannotRun, OSError) as error:  # the latter for lack of memory, descriptors or disk
            life.part.kill()
            await life.part.wait()
            return error if isinstance(error, CannotRun) else not_started(life.part.name, error)
        finally:
            life.ready.clear()
            life.down.set()
            self._is_now(life, "down")
        return part_died(life.part.name, life.part.log)

    async def _live(self, life: PartLife) -> None:
        """Waits for the end of a part that is ready; its deaths are forgotten once it has lived long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIVED_LONG_SECONDS):
                await life.part.wait()
                return
        if life.refusal:
            self._say(f"{life.part.name} is well again")
        life.deaths.forget()
        life.refusal = None
        self._tell()
        await life.part.wait()

    async def _wait_before_next_life(self, life: PartLife, refusal: CannotRun) -> None:
        name, delay = life.part.name, life.deaths.next_delay()
        is_failing = life.deaths.are_many or (self._may_fail(life) and refusal.code == "not_ready")
        if is_failing and not self._may_fail(life):
            raise CannotRun(
                "part_died", f"{name} died {life.deaths.count} times in a row.", refusal.last_lines
            )
        if is_failing and not life.refusal:  # said once, for it is tried for ever
            self._say(f"{name} cannot live; it is tried on, at least once a minute. See {life.part.log}")
        elif not life.refusal:
            self._say(f"{name} has ended; it is started again in {delay:.1f} s")
        if is_failing:
            life.refusal = refusal
            life.settled.set()
        life.next_try_at = datetime.now(UTC) + timedelta(seconds=delay)
        self._tell()
        await asyncio.sleep(delay)

    async def _fill(self, name: str) -> None:
        """Once a server answers, puts into it what services need."""
        if name in self._lives:
            await self._lives[name].ready.wait()
        if name == KAFKA:
            await contents.make_topology(self.installation)
        else:
            await contents.make_databases(self.installation, self._say)
            await contents.check_high_water(self.installation)
        self._prepared[name].set()

    async def _renew_certificates(self) -> None:
        """Certificates live a day; a service reads its new one when it starts."""
        while True:
            await asyncio.sleep(RENEWED_EVERY_SECONDS)
            try:
                renewed = await asyncio.to_thread(renew_certificates, self.installation)
            except OSError as error:  # the old ones hold for half a day yet
                self._say(f"certificates could not be renewed: {error.strerror}; tried again in an hour")
                continue
            for name in (name for name in renewed if name in self._lives):
                self._say(f"{name} has a new certificate and is started again")
                with contextlib.suppress(TimeoutError):  # one that fails must not keep the others waiting
                    await asyncio.wait_for(self.restart(name), READY_WITHIN_SECONDS)

    async def _import_early(self) -> None:
        # Only time is lost when it fails: the first service to start tries again.
        with contextlib.suppress(OSError):
            await self._forks.start()
            self._tell()

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

    def _is_now(self, life: PartLife, state: str) -> None:
        life.state = state
        self._tell()

    def _tell(self) -> None:
        state = {
            "supervisor": os.getpid(),
            "fork_server": self._forks.pid,
            "state": self._state,
            "cell": self.configuration.cell,
            "origin": self.configuration.origin,
            "ports": dict(self.installation.ports),
            "parts": {name: life.document() for name, life in self._lives.items()},
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
    restarts: bool = True,
    more: More | None = None,
    processes: tuple[Process, ...] = PROCESSES,
) -> AsyncIterator[Platform]:
    """A platform that is ready, for as long as the block; leaving stops everything."""
    with control.locked(configuration.run):
        installation = await asyncio.to_thread(install, configuration, say)
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
) -> bool:
    """Runs a platform until SIGTERM, SIGINT or SIGHUP; false if one came before it was ready.

    Raises if it has to give up.
    """
    signals = _Signals()
    is_ready = False
    try:
        async with running(configuration, say=say, restarts=restarts) as platform:
            is_ready = True
            on_ready(platform)
            await platform.wait()
    except asyncio.CancelledError:
        if not signals.came:
            raise
        signals.task.uncancel()
    return is_ready


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
