"""JSON logs of listed fields only: whatever is not on the list is dropped before anything is rendered."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

ALLOWED: Final = frozenset({
    "timestamp", "level", "event", "service", "version", "trace_id", "span_id", "request_id", "agency_id",
    "actor_type", "route", "status", "duration_ms", "error_code", "error_class", "topic", "partition",
    "offset", "group", "count", "attempt", "shard", "logger", "state", "crash_point", "peer",
})  # fmt: skip
NOISY: Final = ("aiokafka", "aiosmtplib", "asyncio", "faust", "httpx2", "kafka", "mode", "uvicorn")
"""Libraries of which only errors are told."""
LINE_CHARACTERS_MAX: Final = 4_000

Event = MutableMapping[str, Any]


def only_allowed(_logger: Any, _method: str, event: Event) -> Event:
    """Drop every key that is not on the list; exceptions become the name of their class."""
    error = event.pop("exc_info", None)
    if error:
        cause = error if isinstance(error, BaseException) else sys.exc_info()[1]
        event["error_class"] = type(cause).__name__
    return {
        key: value[:LINE_CHARACTERS_MAX] if isinstance(value, str) else value
        for key, value in event.items()
        if key in ALLOWED
    }


def foreign(_logger: Any, _method: str, event: Event) -> Event:
    """A library's own line keeps its logger's name alone: its text may hold what it was given."""
    record: logging.LogRecord | None = event.get("_record")
    if record is not None:
        event["event"] = "library_message"
        event["logger"] = record.name
        if record.exc_info and record.exc_info[0]:
            event["error_class"] = record.exc_info[0].__name__
    return event


def configure(service: str, *, level: int = logging.INFO) -> None:
    """Send structlog and every library's logging through one list and one renderer, to standard output."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, foreign],
        processors=[
            lambda _logger, _method, event: {**event, "service": service},
            only_allowed,
            structlog.processors.JSONRenderer(),
        ],
        use_get_message=False,
    )
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(formatter)
    logging.raiseExceptions = False  # else a line that cannot be written shows its arguments on stderr
    root = logging.getLogger()
    root.handlers = [output]
    root.setLevel(level)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)


def log() -> Any:
    """The one logger of our own lines."""
    return structlog.stdlib.get_logger()


def tell_end(error: BaseException) -> None:
    """A process's last words: the classes of its errors and the places in the code, never their texts."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            tell_end(one)
        return
    log().critical("service_failed", error_class=type(error).__name__)
    sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))
