"""Records as the brokers give them."""

from dataclasses import dataclass, field


@dataclass
class Record:
    """The parts of a consumer's record that the runtime reads."""

    topic: str = "t"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = field(default_factory=tuple)


def a_record(topic: str = "t", partition: int = 0, offset: int = 0) -> Record:
    """A record of which only the place matters."""
    return Record(topic, partition, offset)
