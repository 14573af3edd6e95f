"""A name that gets into a log call by any way comes out by none."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog

from services.runtime.logs import ALLOWED, LINE_CHARACTERS_MAX, configure, log, tell_end

NAME = "Amina Quillon"


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    """Logging as in a service; what pytest had set up comes back."""
    root = logging.getLogger()
    handlers, level, tells = list(root.handlers), root.level, logging.raiseExceptions
    levels = {name: one.level for name, one in _loggers().items()}
    yield
    root.handlers, root.level, logging.raiseExceptions = handlers, level, tells
    for name, one in _loggers().items():
        one.setLevel(levels.get(name, logging.NOTSET))
    structlog.reset_defaults()


def _loggers() -> Mapping[str, logging.Logger]:
    known = logging.Logger.manager.loggerDict
    return {name: one for name, one in known.items() if isinstance(one, logging.Logger)}


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a service would write to its standard output."""
    output = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", output)
        configure("health")
    return output


@pytest.fixture
def lines(output: io.StringIO, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    def read() -> list[dict[str, Any]]:
        assert capsys.readouterr().err == ""
        assert NAME not in output.getvalue()
        return [json.loads(line) for line in output.getvalue().splitlines()]

    return read


class NameInside(Exception):
    """Holds what no log may show."""


def raised() -> None:
    raise NameInside(f"no case for {NAME}")


Lines = Callable[[], list[dict[str, Any]]]


def test_a_line_has_its_time_level_service_and_the_fields_on_the_list(lines: Lines) -> None:
    log().info("service_started", count=3, partition=1)

    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "service_started", "level": "info", "service": "health", "count": 3, "partition": 1,
    }  # fmt: skip


@pytest.mark.parametrize("field", ["name", "body", "value", "key", "case", "detail", "message", "error"])
def test_a_field_that_is_not_on_the_list_is_dropped(lines: Lines, field: str) -> None:
    log().info("service_started", **{field: NAME})

    (line,) = lines()
    assert line.keys() <= ALLOWED


def test_an_exception_becomes_the_name_of_its_class(lines: Lines) -> None:
    try:
        raised()
    except NameInside as error:
        log().error("sweep_failed", exc_info=True)
        log().error("sweep_failed", exc_info=error)
        log().exception("sweep_failed")

    assert [line["error_class"] for line in lines()] == ["NameInside"] * 3


def test_a_librarys_text_arguments_and_extras_are_lost(lines: Lines) -> None:
    library = logging.getLogger("some.library")
    library.warning("bad record: %s", NAME)
    library.warning(NAME)
    library.warning("bad record", extra={"record": NAME, "count": NAME, "detail": NAME})

    for line in lines():
        assert line.pop("timestamp")
        assert line == {
            "event": "library_message", "level": "warning", "service": "health", "logger": "some.library",
        }  # fmt: skip


def test_a_librarys_exception_becomes_the_name_of_its_class(lines: Lines) -> None:
    try:
        raised()
    except NameInside:
        logging.getLogger("uvicorn.error").exception("request of %s failed", NAME, stack_info=True)

    (line,) = lines()
    assert (line["event"], line["error_class"]) == ("library_message", "NameInside")


@pytest.mark.parametrize(
    "name", ["aiokafka.consumer", "uvicorn.lifespan", "httpx2", "sqlalchemy.engine", "asyncio"]
)
def test_talk_of_libraries_below_an_error_of_theirs_shows_no_text(lines: Lines, name: str) -> None:
    logging.getLogger(name).info("GET /v1/cases?name=%s", NAME)
    logging.getLogger(name).error("GET /v1/cases?name=%s", NAME)

    assert {line["event"] for line in lines()} == {"library_message"}


def test_a_librarys_slip_in_its_own_text_shows_nothing_either(lines: Lines) -> None:
    logging.getLogger("some.library").warning("record %d", NAME)

    assert [line["event"] for line in lines()] == ["library_message"]


def test_an_output_that_is_gone_gets_no_text_on_the_other(
    output: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    output.close()
    log().info("service_started", error_code=NAME)
    logging.getLogger("some.library").warning("record %s", NAME)

    assert capsys.readouterr().err == ""


def test_a_line_has_a_length_that_it_does_not_pass(lines: Lines) -> None:
    log().info("service_started", route="x" * (LINE_CHARACTERS_MAX + 1))

    assert len(lines()[0]["route"]) == LINE_CHARACTERS_MAX


def test_the_last_words_of_a_process_are_classes_and_places(
    output: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        raised()
    except NameInside as error:
        tell_end(ExceptionGroup(NAME, [error, ExceptionGroup(NAME, [ValueError(NAME)])]))

    said = capsys.readouterr().err
    assert [json.loads(line)["error_class"] for line in output.getvalue().splitlines()] == [
        "NameInside", "ValueError",
    ]  # fmt: skip
    assert "in raised" in said
    assert NAME not in said + output.getvalue()
