"""The arbiter's internal port: the operator's command brings the service directory."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from schemas.directory import ServiceRegistered
from services.referrals.domain.directory_batch import ENTRIES_MAX, RefusedEntry, sorted_out
from services.runtime.errors import Refused
from services.runtime.web import caller_of

Keep = Callable[[Sequence[ServiceRegistered]], Awaitable[int]]
"""Keeps entries and publishes those that are new or changed, durably; says how many those are."""


class OperatorOnly(Refused):
    """A service that may not write here."""

    code: ClassVar[str] = "operator_only"
    sentence: ClassVar[str] = "only the operator's certificate may change the directory"
    status: ClassVar[int] = 403


class Batch(BaseModel):
    """Entries as they stand; each is judged for itself."""

    model_config = ConfigDict(extra="forbid")

    entries: list[Any] = Field(min_length=1, max_length=ENTRIES_MAX)


class Answer(BaseModel):
    """What became of a batch."""

    taken: int
    changed: int
    """How many of the taken entries were new or different; only those are published."""
    refused: list[RefusedEntry]


def routes(keep: Keep, operator: str) -> APIRouter:
    """The routes, over whatever keeping means; `operator` is the URI name that may write."""
    router = APIRouter(prefix="/v1")

    @router.post("/directory")
    async def post_directory(request: Request, batch: Batch) -> Answer:
        """Take a batch of directory entries."""
        if caller_of(request) != operator:
            raise OperatorOnly
        entries, refused = sorted_out(batch.entries)
        changed = await keep(entries) if entries else 0
        return Answer(taken=len(entries), changed=changed, refused=refused)

    return router
