"""No port is open that nobody serves, and none to whoever comes."""

import pytest

from services.runtime.ports import WrongPorts, servers_of
from services.runtime.settings import PortSettings
from services.runtime.web import caller_of, create_app

HEALTH = create_app("health", caller_of)


def test_an_internal_port_without_a_certificate_refuses_the_start() -> None:
    with pytest.raises(WrongPorts, match="certificate"):
        servers_of(PortSettings(), health=HEALTH, internal=create_app("any", caller_of))


def test_a_socket_that_nobody_serves_refuses_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCERT_SOCKETS", "api=7")

    with pytest.raises(WrongPorts, match="nobody serves api"):
        servers_of(PortSettings(), health=HEALTH)
