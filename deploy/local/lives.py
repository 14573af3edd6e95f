"""The lives of a part, one after the other, as the supervisor counts and tells them."""

import asyncio
from datetime import datetime
from typing import Any

from deploy.local.deaths import Deaths
from deploy.local.parts import Part
from deploy.local.refusals import CannotRun


class PartLife:
    """A part and what the supervisor knows about it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.state = "waiting"
        self.deaths = Deaths()
        self.refusal: CannotRun | None = None
        """Why it counts as failing, until it has lived long."""
        self.next_try_at: datetime | None = None
        self.wanted = asyncio.Event()
        self.wanted.set()
        self.ready = asyncio.Event()
        self.settled = asyncio.Event()
        """Ready once, or known to be failing: a start waits no longer for it."""
        self.down = asyncio.Event()
        self.down.set()

    def document(self) -> dict[str, Any]:
        """What others are told about it; after many deaths a short life does not prove it well."""
        return {
            "state": "failing" if self.refusal else self.state,
            "pid": self.part.pid,
            "deaths": self.deaths.count,
            "next_try_at": self.next_try_at.isoformat(timespec="seconds") if self.next_try_at else None,
        }
