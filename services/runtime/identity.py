"""Who this process is on the wire."""

from dataclasses import dataclass

from schemas.wire.topic import source_of
from services.runtime.settings import RuntimeSettings


@dataclass(frozen=True, slots=True)
class Identity:
    """A service in its cell; its name is also its Kafka user, its group and its database role."""

    service: str
    cell: str
    mode: str = "local"
    namespace: str = ""
    shards: int = 1

    @property
    def source(self) -> str:
        """The CloudEvents source of what it writes."""
        return source_of(self.cell, self.service)

    @property
    def operator(self) -> str:
        """The URI name in the certificate of the operator's command."""
        return source_of(self.cell, "operator")

    @property
    def group(self) -> str:
        """Its consumer group."""
        return f"{self.namespace}{self.service}"


def identity_of(service: str, settings: RuntimeSettings) -> Identity:
    """The identity that a service's settings give it."""
    namespace = settings.kafka.namespace if settings.kafka else ""
    return Identity(service, settings.cell, settings.mode, namespace, settings.outbox_shards)
