"""No port is open that nobody serves, and none to whoever comes."""

from unittest.mock import Mock

import pytest

from services.runtime.process import WrongPorts, _servers
from services.runtime.settings import DatabaseSettings, RuntimeSettings
from services.runtime.web import caller_of, create_app

SETTINGS = RuntimeSettings(
    mode="local", cell="test-local", database=DatabaseSettings(url="postgresql+asyncpg://x")
)


def test_an_internal_port_without_a_certificate_refuses_the_start() -> None:
    with pytest.raises(WrongPorts, match="certificate"):
        _servers(SETTINGS, None, create_app("any", caller_of), Mock())


def test_a_socket_that_nobody_serves_refuses_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCERT_SOCKETS", "api=7")

    with pytest.raises(WrongPorts, match="nobody serves api"):
        _servers(SETTINGS, None, None, Mock())
