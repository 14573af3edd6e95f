"""Puts operations together."""

from schemas.topics import written_by
from services.operations.settings import Settings
from services.runtime.process import Parts, Runtime
from services.runtime.web import caller_of, create_app


def wire(runtime: Runtime, settings: Settings) -> Parts:
    """Operations answers its operators; it reads no topic, and holds no key of any packet."""
    return Parts(api=create_app("Operations", caller_of), writes=written_by("operations"))
