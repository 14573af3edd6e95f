"""Problem documents (RFC 9457): a stable code, a sentence of ours, and never a value that was sent."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi.responses import JSONResponse

from services.runtime.errors import Refused
from services.runtime.ids import new_id

RETRY_AFTER_SECONDS: Final = "2"
TITLES: Final[Mapping[int, str]] = {
    400: "Malformed",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "In conflict",
    412: "Overtaken",
    413: "Too large",
    415: "Media type not supported",
    422: "Invalid",
    428: "Precondition missing",
    429: "Too many",
    431: "Headers too large",
    500: "Our fault",
    501: "Not supported",
    503: "Unavailable",
}
"""Ours, because the standard library's words change with its version."""


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = "application/problem+json"


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> ProblemResponse:
    """Say what is wrong and what to do, under a code that never changes; `more` are further members."""
    content = {
        "type": f"urn:concert:problem:{code}",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
        "instance": new_id("request"),
        "code": code,
        **more,
    }
    return ProblemResponse(content, status, headers=dict(headers or {}))


def refusal(refused: Refused, **more: Any) -> ProblemResponse:
    """A refusal as a problem document, with the headers that its status asks for."""
    headers = dict(refused.headers)
    if refused.status in (429, 503):
        headers["retry-after"] = RETRY_AFTER_SECONDS
    if errors := getattr(refused, "errors", None):
        more["errors"] = errors
    return problem(refused.status, refused.code, refused.sentence, headers=headers, **more)
