"""What an operator chooses is checked before anything starts, and no secret is ever printed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.runtime.clock import TEST_CLOCK, SystemClock
from services.runtime.settings import (
    ConsoleSettings,
    DatabaseSettings,
    IssuerSettings,
    KafkaSettings,
    RuntimeSettings,
    UnknownSetting,
    WrongMode,
    refuse_unknown,
    secret_from,
)

SECRET = "quillon-of-the-vault"
PLAIN = {
    "CONCERT_MODE": "local",
    "CONCERT_CELL": "test-local",
    "CONCERT_DATABASE__URL": "postgresql+asyncpg://health@127.0.0.1:5432/concert_health",
}


class OwnSettings(RuntimeSettings):
    quiet_hours: int = 8


def from_environment(monkeypatch: pytest.MonkeyPatch, **more: str) -> OwnSettings:
    for name, content in {**PLAIN, **more}.items():
        monkeypatch.setenv(name, content)
    return OwnSettings.from_environment()


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = from_environment(
        monkeypatch,
        CONCERT_KAFKA__BOOTSTRAP="127.0.0.1:9092", CONCERT_KAFKA__USER="health",
        CONCERT_KAFKA__PASSWORD_FILE="/run/secret", CONCERT_QUIET_HOURS="9", CONCERT_PORTS__API="8001",
    )  # fmt: skip

    assert settings.kafka == KafkaSettings(
        bootstrap="127.0.0.1:9092", user="health", password_file=Path("/run/secret")
    )
    assert (settings.quiet_hours, settings.ports.api, settings.outbox_shards) == (9, 8001, 1)


@pytest.mark.parametrize("name", ["CONCERT_MODUS", "CONCERT_QUIET_HOUR", "CONCERT_KAFKAS__USER"])
def test_a_name_that_no_setting_reads_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(UnknownSetting, match=name) as refused:
        from_environment(monkeypatch, **{name: SECRET})

    assert SECRET not in str(refused.value)


def test_a_wrong_name_inside_a_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        from_environment(monkeypatch, CONCERT_DATABASE__ULR="x")


def test_another_services_setting_is_refused() -> None:
    refuse_unknown({"CONCERT_QUIET_HOURS": "9"}, OwnSettings)
    with pytest.raises(UnknownSetting):
        refuse_unknown({"CONCERT_QUIET_HOURS": "9"}, RuntimeSettings)


def test_names_for_others_and_of_others_are_left_alone() -> None:
    refuse_unknown({"CONCERT_SOCKETS": "api=7", "CONCERT_CRASH_AT": "", "PATH": "/bin"}, RuntimeSettings)


def a_choice(**choice: Any) -> RuntimeSettings:
    return RuntimeSettings(database=DatabaseSettings(url="postgresql+asyncpg://x"), **choice)


LOCAL_ISSUER = IssuerSettings(name="http://127.0.0.1:8119/local-issuer", keys_file=Path("keys"))
OWN_ISSUER = IssuerSettings(name="urn:concert:cell-a:issuer", keys_file=Path("keys"))


@pytest.mark.parametrize(
    ("mode", "cell", "issuer"),
    [
        ("live", "test-cell", None),
        ("test", "cell-a", None),
        ("local", "cell-a", None),
        ("test", "test-cell", LOCAL_ISSUER),
        ("live", "cell-a", OWN_ISSUER),
    ],
)
def test_what_does_not_go_with_the_mode_is_refused(mode: Any, cell: str, issuer: Any) -> None:
    with pytest.raises(WrongMode):
        a_choice(mode=mode, cell=cell, issuer=issuer).check_mode()


@pytest.mark.parametrize(
    ("mode", "cell", "issuer"),
    [
        ("local", "test-local", LOCAL_ISSUER),
        ("test", "test-cell", OWN_ISSUER),
    ],
)
def test_what_goes_with_the_mode_is_taken(mode: Any, cell: str, issuer: Any) -> None:
    a_choice(mode=mode, cell=cell, issuer=issuer).check_mode()


@pytest.mark.parametrize(
    ("mode", "address", "issuer", "is_taken"),
    [
        ("local", "http://127.0.0.1:8121", "http://127.0.0.1:8119/local-issuer", True),
        ("test", "https://ops.example", "https://issuer.example", True),
        ("test", "http://ops.example", "https://issuer.example", False),
        ("test", "https://ops.example", "http://issuer.example", False),
    ],
)
def test_people_sign_in_over_https_but_in_mode_local(
    mode: Any, address: str, issuer: str, *, is_taken: bool
) -> None:
    console = ConsoleSettings(address=address, issuer=issuer, client="ops", key_file=Path("key"))
    settings = a_choice(mode=mode, cell="test-cell", console=console)

    if is_taken:
        settings.check_mode()
    else:
        with pytest.raises(WrongMode):
            settings.check_mode()


@pytest.mark.parametrize(
    "address", ["https://ops.example/", "https://a@b", "ftp://ops", "https://ops.example\n"]
)
def test_an_address_of_a_console_is_scheme_host_and_port(address: str) -> None:
    with pytest.raises(ValidationError):
        ConsoleSettings(address=address, issuer="https://i", client="ops", key_file=Path("key"))


def test_the_mode_is_checked_as_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongMode):
        from_environment(monkeypatch, CONCERT_MODE="live")


def test_a_secret_comes_from_its_file_and_shows_in_no_text(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    database = DatabaseSettings(url="postgresql+asyncpg://health@127.0.0.1/x", password_file=file)
    kafka = KafkaSettings(bootstrap="127.0.0.1:9092", user="health", password_file=file)
    settings = RuntimeSettings(mode="local", cell="test-local", database=database, kafka=kafka)

    secret = secret_from(file)

    assert secret.get_secret_value() == SECRET
    for text in (repr(secret), str(secret), repr(settings), str(settings), settings.model_dump_json()):
        assert SECRET not in text


def test_settings_do_not_change_once_read() -> None:
    settings = a_choice(mode="local", cell="test-local")

    with pytest.raises(ValidationError):
        settings.mode = "live"  # type: ignore[misc]


def test_a_tests_clock_runs_ahead_by_what_its_file_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "ahead"
    monkeypatch.setenv(TEST_CLOCK, str(file))

    for days in (30, 3_650):
        file.write_text(str(days * 86_400))
        ahead = SystemClock().now() - datetime.now(UTC)
        assert timedelta(days=days) <= ahead + timedelta(seconds=1) < timedelta(days=days, seconds=2)


def test_a_live_installation_refuses_a_tests_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongMode, match=TEST_CLOCK):
        from_environment(monkeypatch, CONCERT_MODE="live", **{TEST_CLOCK: "ahead"})
