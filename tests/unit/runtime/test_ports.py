"""No port is open that nobody serves, and none to whoever comes."""

import warnings

import pytest

from deploy.local.ports import listen
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


def test_a_port_that_somebody_else_has_leaves_no_socket_open() -> None:
    with listen(0) as taken, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(OSError, match="in use"):
            servers_of(PortSettings(health=taken.getsockname()[1]), health=HEALTH)

    assert [str(one.message) for one in told if one.category is ResourceWarning] == []
