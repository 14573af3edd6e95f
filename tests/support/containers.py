"""Broker and database in containers, for machines with an engine and images: `CONCERT_TEST_CONTAINERS=1`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from sqlalchemy import make_url
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

from deploy.local.kafka import INTERNAL_USERS, PLAIN, PROPERTIES, SCRAM, scram_credential
from deploy.local.postgres import INITDB
from deploy.local.secrets import Secrets
from schemas.topics import SERVICES
from tests.support.servers import Servers

KAFKA_IMAGE: Final = "apache/kafka:4.2.2"
POSTGRES_IMAGE: Final = "postgres:18"
CLIENT_PORT: Final = 9092
START: Final = "/tmp/start.sh"  # inside the container


class KafkaContainer(DockerContainer):  # type: ignore[misc]
    """The broker with the settings of the embedded one; its outer port is known only once it runs."""

    def __init__(self, made: Secrets) -> None:
        super().__init__(KAFKA_IMAGE)
        self._made = made
        self.with_exposed_ports(CLIENT_PORT)
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
        wait_for_logs(self, "Kafka Server started", timeout=60)
        return self

    def _settings(self) -> str:
        password = self._made.password("kafka", "broker")
        text = PROPERTIES.format(
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
    postgres: Any = PostgresContainer(
        POSTGRES_IMAGE,
        username="postgres",
        password=made.password("database", "postgres"),
        dbname="postgres",
        driver=None,
    )
    postgres.with_env("POSTGRES_INITDB_ARGS", " ".join(INITDB)).with_command("-c max_connections=200")
    with postgres, KafkaContainer(made) as kafka:
        password = made.password("kafka", "admin")
        yield Servers(kafka.bootstrap, "admin", password, make_url(postgres.get_connection_url()))
