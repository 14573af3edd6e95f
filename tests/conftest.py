"""Fixtures for all tests: the platform once a run, a space of topics and databases once a module."""

from collections.abc import Iterator

import pytest

from tests.support.platform import Space, TestPlatform, started_platform


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
