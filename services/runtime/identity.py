"""Who this process is on the wire."""

from dataclasses import dataclass

from schemas.wire.topic import source_of


@dataclass(frozen=True, slots=True)
class Identity:
    """A service in its cell; its name is also its Kafka user, its group and its database role."""

    service: str
    cell: str
    mode: str = "local"
    namespace: str = ""
    shards: int = 1
    process: int = 1

    @property
    def part(self) -> str:
        """The name of this process among those of its service: the service's own for the first."""
        return self.service if self.process == 1 else f"{self.service}-{self.process}"

    @property
    def source(self) -> str:
        """The CloudEvents source of what it writes."""
        return source_of(self.cell, self.service)

    @property
    def operator(self) -> str:
        """The URI name in the certificate of the operator's command."""
        return source_of(self.cell, "operator")

    @property
    def operations(self) -> str:
        """The URI name in the certificate of the service through which operators act."""
        return source_of(self.cell, "operations")

    @property
    def group(self) -> str:
        """Its consumer group."""
        return f"{self.namespace}{self.service}"
