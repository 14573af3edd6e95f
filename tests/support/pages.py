"""The partnership's page over a register that no database holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI

from services.governance.domain.figures import Figure
from services.governance.pages.routes import PartnershipPage, page_routes
from services.runtime.web import create_app
from tests.support.stage import Stage


class PageStage:
    """The page of a stage, and how often it looked for news."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.looks = 0
        self.fails: Exception | None = None
        self.figures: list[Figure] = []
        page = PartnershipPage(self._open_work, stage.clock)
        self.app: FastAPI = create_app("Partnership", lambda _: None)
        self.app.include_router(page_routes(page))

    @asynccontextmanager
    async def _open_work(self) -> AsyncIterator[Any]:
        self.looks += 1
        if self.fails:
            raise self.fails
        yield SimpleNamespace(
            acts=SimpleNamespace(register=self._register),
            statistics=SimpleNamespace(public_figures=self._public_figures),
        )

    async def _register(self) -> Any:
        self.stage.register.seen = sum(one.version for one in self.stage.everything())
        return self.stage.register

    async def _public_figures(self) -> list[Figure]:
        return [*self.figures]
