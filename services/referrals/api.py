"""The arbiter's internal port: the operator's command brings the service directory."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from services.referrals.domain.directory import ENTRIES_MAX, RefusedEntry, judge_entries
from services.referrals.handlers import Work


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


def routes(open_work: Callable[[], AbstractAsyncContextManager[Work]]) -> APIRouter:
    """The operator's routes, over whatever wiring opens."""
    router = APIRouter(prefix="/v1")

    @router.post("/directory")
    async def post_directory(batch: DirectoryBatch) -> DirectoryAnswer:
        """Take a batch of directory entries."""
        entries, refused = judge_entries(batch.entries)
        async with open_work() as work:
            changed = await work.store.keep_entries(entries, work.clock.now())
        return DirectoryAnswer(taken=len(entries), changed=changed, refused=refused)

    return router
