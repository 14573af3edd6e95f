"""Readers that start and stop quickly; a sector on its real stores, without brokers or other services."""

from collections.abc import AsyncIterator, Iterator

import pytest

from services.runtime import kafka
from services.runtime.database import Database
from services.social_services.profile import PROFILE
from tests.support.builders import SECTOR_OF
from tests.support.intake import an_intake_key
from tests.support.platform import Space
from tests.support.sector import StoredSector


@pytest.fixture(scope="session", autouse=True)
def short_fetches() -> Iterator[None]:
    """A reader starts and stops behind a fetch that the brokers hold while nobody writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka, "FETCH_WAIT_MS", 100)
        yield


@pytest.fixture(scope="module")
async def stores(space: Space) -> AsyncIterator[Database]:
    """The database of a sector, empty."""
    database = space.database("health")
    yield database
    await database.close()


@pytest.fixture
async def sector(stores: Database) -> AsyncIterator[StoredSector]:
    """The owner's sector, the agencies of the builders admitted; what a test does is rolled back."""
    async with stores.session() as session:
        await session.transaction().start()  # ends with the session
        sector = StoredSector(PROFILE, session)
        await sector.admit(*SECTOR_OF)
        await sector.work.packets.keep_intake([an_intake_key(PROFILE.name)])
        yield sector
