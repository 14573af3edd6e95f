"""The arbiter's internal port: the operator's command brings the service directory."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from schemas.events.directory import ServiceRegistered
from services.referrals.domain.directory import ENTRIES_MAX, RefusedEntry, judge_entries

Keep = Callable[[Sequence[ServiceRegistered]], Awaitable[int]]
"""Keeps entries and publishes those that are new or changed, durably; says how many those are."""


class DirectoryBatch(BaseModel):
    """Entries as they stand; each is judged for itself."""

    model_config = ConfigDict(extra="forbid")

    entries: list[Any] = Field(min_length=1, max_length=ENTRIES_MAX)


class DirectoryAnswer(BaseModel):
    """What became of a batch."""

    taken: int
    changed: int
    """How many of the taken entries were new or different; only those are published."""
    refused: list[RefusedEntry]


def routes(keep: Keep) -> APIRouter:
    """The operator's routes, over whatever keeping means."""
    router = APIRouter(prefix="/v1")

    @router.post("/directory")
    async def post_directory(batch: DirectoryBatch) -> DirectoryAnswer:
        """Take a batch of directory entries."""
        entries, refused = judge_entries(batch.entries)
        changed = await keep(entries) if entries else 0
        return DirectoryAnswer(taken=len(entries), changed=changed, refused=refused)

    return router
