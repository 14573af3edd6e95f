"""Problem documents (RFC 9457): a stable code, a sentence of ours, and never a value that was sent."""

from typing import Any, Final

from fastapi.responses import JSONResponse

from services.runtime.errors import Refused
from services.runtime.ids import new_id

RETRY_AFTER_SECONDS: Final = "2"


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = "application/problem+json"


def refusal(refused: Refused, **more: Any) -> ProblemResponse:
    """What is wrong and what to do, with the headers that its status asks for; `more` are further members."""
    headers = dict(refused.headers)
    if refused.status in (429, 503):
        headers["retry-after"] = RETRY_AFTER_SECONDS
    if errors := getattr(refused, "errors", None):
        more["errors"] = errors
    more |= getattr(refused, "members", {})
    content = {
        "type": f"urn:concert:problem:{refused.code}",
        "title": refused.code.replace("_", " ").capitalize(),
        "status": refused.status,
        "detail": refused.sentence,
        "instance": new_id("request"),
        "code": refused.code,
        **more,
    }
    return ProblemResponse(content, refused.status, headers)
