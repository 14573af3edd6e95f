"""Records as the reader gives them."""

from typing import Any

from services.runtime.records import Record


def a_record(topic: str = "t", partition: int = 0, offset: int = 0, **more: Any) -> Record:
    """A record of which, unless told more, only the place matters."""
    return Record(topic, partition, offset, **more)
