"""Problem documents (RFC 9457): a stable code, a sentence of ours, and never a value that was sent."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi.responses import JSONResponse

from services.runtime.errors import Refused
from services.runtime.ids import new_id

RETRY_AFTER_SECONDS: Final = "2"


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
        "title": code.replace("_", " ").capitalize(),
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
