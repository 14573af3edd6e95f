"""Broker and database in containers, for machines with an engine and images: `CONCERT_TEST_CONTAINERS=1`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Self

from sqlalchemy import make_url
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from deploy.local import kafka as broker
from deploy.local.kafka import INTERNAL_USERS, PLAIN, SCRAM, scram_credential
from deploy.local.postgres import INITDB, SETTINGS
from deploy.local.secrets import Secrets
from schemas.topics import SERVICES
from tests.support.servers import Servers, unflushed

KAFKA_IMAGE: Final = "apache/kafka:4.2.2"
POSTGRES_IMAGE: Final = "postgres:18"
CLIENT_PORT: Final = 9092
LOOPBACK: Final = "127.0.0.1"
LOOPBACK_ALONE: Final = (LOOPBACK, None)
"""Any port, but not one that other machines reach."""
START: Final = "/tmp/start.sh"  # inside the container
ADDRESSES: Final = ("listen_addresses", "unix_socket_directories")
"""What the image itself settles."""


class KafkaContainer(DockerContainer):  # type: ignore[misc]
    """The broker with the settings of the embedded one; its outer port is known only once it runs."""

    def __init__(self, made: Secrets) -> None:
        super().__init__(KAFKA_IMAGE)
        self._made = made
        self.ports = {CLIENT_PORT: LOOPBACK_ALONE}
        self.with_command(["sh", "-c", f"until [ -f {START} ]; do sleep 0.1; done; sh {START}"])

    @property
    def bootstrap(self) -> str:
        """The address that clients are given."""
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(CLIENT_PORT)}"

    def start(self) -> Self:
        """Start, hand over the settings with the outer address, and wait."""
        super().start()
        self.copy_into_container(self._settings().encode(), "/tmp/server.properties")
        self.copy_into_container(self._script().encode(), START)
        LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(60).wait_until_ready(self)
        return self

    def _settings(self) -> str:
        password = self._made.password("kafka", "broker")
        text = broker.PROPERTIES.format(
            client=CLIENT_PORT, internal=19092, controller=29092, scram=SCRAM, plain=PLAIN, password=password,
            broker=f'username="broker" password="{password}"', records="/tmp/records",
        )  # fmt: skip
        inside = f"CLIENT://127.0.0.1:{CLIENT_PORT}"
        return text.replace(
            f"advertised.listeners={inside}", f"advertised.listeners=CLIENT://{self.bootstrap}"
        ).replace(f"\nlisteners={inside}", f"\nlisteners=CLIENT://0.0.0.0:{CLIENT_PORT}")

    def _script(self) -> str:
        users = " ".join(
            f"--add-scram '{scram_credential(name, self._made.password('kafka', name))}'"
            for name in (*INTERNAL_USERS, *SERVICES)
        )
        folder = "/opt/kafka/bin"
        return (
            f'{folder}/kafka-storage.sh format -t "$({folder}/kafka-storage.sh random-uuid)" --standalone'
            f" -c /tmp/server.properties {users}\n"
            f"exec {folder}/kafka-server-start.sh /tmp/server.properties\n"
        )


@contextmanager
def contained(made: Secrets) -> Iterator[Servers]:
    """Both servers, for as long as the block."""
    testcontainers_config.ryuk_disabled = True  # a third image; the block's end removes both
    testcontainers_config.connection_mode_override = ConnectionMode.docker_host
    testcontainers_config.tc_host_override = LOOPBACK  # tests reach no other, also where they run in one
    with ExitStack() as stack:
        with unflushed():
            postgres = stack.enter_context(_postgres(made))
            kafka = stack.enter_context(KafkaContainer(made))
        password = made.password("kafka", "admin")
        yield Servers(kafka.bootstrap, "admin", password, make_url(postgres.get_connection_url()))


def _postgres(made: Secrets) -> Any:
    container = PostgresContainer(
        POSTGRES_IMAGE,
        username="postgres",
        password=made.password("database", "postgres"),
        dbname="postgres",
        driver=None,
    )
    settings = {name: value for name, value in SETTINGS.items() if name not in ADDRESSES}
    container.with_env("POSTGRES_INITDB_ARGS", " ".join(INITDB))
    container.ports = {container.port: LOOPBACK_ALONE}
    return container.with_command(
        [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    )
