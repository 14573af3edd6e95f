"""Fixtures for all tests: the platform once a run, a space of topics and databases once a module."""

import os
from collections.abc import Iterator

import pytest

from tests.support.platform import Space, TestPlatform, started_platform
from tests.support.skips import LIST, Skips, allowed_in


def pytest_configure(config: pytest.Config) -> None:
    """Count skips; where CI is set, an unlisted one fails the run."""
    allowed = allowed_in(LIST.read_text("utf-8"))
    config.pluginmanager.register(Skips(allowed, strict=bool(os.environ.get("CI"))))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def platform() -> Iterator[TestPlatform]:
    """The real broker and the real database server of this run."""
    with started_platform() as platform:
        yield platform


@pytest.fixture(scope="module")
def space(platform: TestPlatform) -> Iterator[Space]:
    """A module's own topics, groups and databases."""
    space = Space(platform)
    yield space
    space.close()
