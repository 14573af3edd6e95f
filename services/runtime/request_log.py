"""Who asks the brokers: their own log of requests, switched on for a moment; blocks, so use a thread."""

import re
from collections.abc import Iterator
from typing import Final

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from services.runtime.errors import Unavailable

_LOGGER: Final = "kafka.request.logger"
_LINE: Final = re.compile(rb'"connection":"[^"]+?:\d+-[^"]+?:(\d+)-[^"]*".*?"principal":"User:([^"]+)"')


def tell_requests(admin: KafkaAdminClient, broker: int, *, wanted: bool) -> None:
    """Make a broker write down each request with its connection and its principal, or stop that."""
    resource = ConfigResource(ConfigResourceType.BROKER_LOGGER, str(broker), {_LOGGER: "DEBUG"})
    change = admin.alter_configs if wanted else admin.reset_configs
    result = change([resource], raise_on_unknown=False)
    if result["broker_logger"][str(broker)] != "OK":
        raise Unavailable("the broker does not tell who asks")


def connections_told(log: bytes) -> Iterator[tuple[int, str]]:
    """Client port and user of each request in a broker's log."""
    for port, user in _LINE.findall(log):
        yield int(port), user.decode()
