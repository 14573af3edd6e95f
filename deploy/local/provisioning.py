"""What broker and database server must hold before services start: topics, rights, databases, schemas."""

import asyncio

from deploy.local.databases import DATABASES
from deploy.local.installation import Installation
from deploy.local.refusals import CannotRun
from deploy.local.secrets import bad_secret
from deploy.local.subprocesses import Say, silence
from schemas.topics import ONLOOKERS, SERVICES, TOPICS, VIEWS
from schemas.trail.bytes import TrailFault
from schemas.trail.notes import Checkpoint, read_checkpoint
from schemas.trail.tree import EMPTY_ROOT
from schemas.wire.topic import Topic, ViewTopics
from services.runtime import administration
from services.runtime.administration import Difference, Topology
from services.runtime.database import Database
from services.runtime.migrate import migrate
from services.runtime.schema import is_current
from services.runtime.settings import DatabaseSettings


def topology(installation: Installation, *more: Topic) -> Topology:
    """What the table of topics, and whatever stands beside it, asks of this installation's brokers."""
    is_local, namespace = installation.configuration.has_one_broker, installation.kafka.namespace
    return administration.topology(
        (*TOPICS, *more), SERVICES, namespace, local=is_local, views=VIEWS, onlookers=ONLOOKERS
    )


def plan_topology(installation: Installation) -> list[Difference]:
    """How the brokers differ from the table. Blocks."""
    with administration.connect(*installation.kafka_admin) as admin:
        return administration.plan(admin, topology(installation))


def apply_topology(installation: Installation, *more: Topic) -> tuple[list[Difference], list[Difference]]:
    """Makes the brokers as the table says: what changed, and what is left for people. Blocks."""
    with administration.connect(*installation.kafka_admin) as admin:
        return administration.apply(
            admin, topology(installation, *more), lambda user: installation.secrets.password("kafka", user)
        )


def reset_view(installation: Installation, view: ViewTopics) -> None:
    """Makes a view's tables anew, while its process waits. Blocks."""
    with administration.connect(*installation.kafka_admin) as admin:
        administration.reset_view(admin, view, topology(installation))


def remove_member(installation: Installation, service: str, number: int) -> None:
    """Lets the other processes of a service have the partitions of one that has left for good. Blocks."""
    group = f"{installation.kafka.namespace}{service}"
    with administration.connect(*installation.kafka_admin) as admin:
        administration.remove_members(admin, group, f"{service}-{number}-")


async def make_topology(installation: Installation) -> None:
    """The same for a start-up, which goes no further on brokers that people have to look at."""
    _, left = await asyncio.to_thread(apply_topology, installation)
    if left:
        raise CannotRun("topology_differs", f"{len(left)} topics need a decision, the first: {left[0]}.")


async def make_databases(installation: Installation, say: Say = silence) -> None:
    """Roles, databases, and schemas where the stored version is another than the code's."""
    await installation.server.apply(installation.database_passwords)
    behind = await asyncio.gather(*(_is_behind(installation, service) for service in DATABASES))
    # One at a time: the migration tool keeps its context in globals.
    for service in (service for service, is_behind in zip(DATABASES, behind, strict=True) if is_behind):
        say(f"making the tables of {service}")
        await migrate(service, _admin_of(installation, service))


async def check_high_water(installation: Installation) -> None:
    """Refuses to start on a high-water mark that cannot belong to the trail which the database holds.

    Without the mark, or with an older one, the signer could not tell a database that was put back.
    """
    file, log = installation.high_water_file, installation.configuration.origin
    newest = "SELECT size, root FROM checkpoint WHERE log = $1 ORDER BY size DESC LIMIT 1"
    async with installation.server.connection(DATABASES["audit"].name) as connection:
        signed = await connection.fetchrow(newest, log)
    head = high_water(installation)
    if head is None:
        if signed:
            raise bad_secret(file, "is gone, though the trail was signed (see `concert trail recover`)")
        return
    size, root = signed or (0, EMPTY_ROOT)
    # It is written before the database: by one signature it may be ahead, but never behind.
    if head.origin != log or head.size < size or (head.size == size and head.root != root):
        raise bad_secret(file, "is not the mark of this trail")


def high_water(installation: Installation) -> Checkpoint | None:
    """The head that the signer signed last, as it remembers it; refused where the file holds none."""
    try:
        return read_checkpoint(installation.high_water_file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (TrailFault, UnicodeDecodeError):
        raise bad_secret(installation.high_water_file, "is no high-water mark") from None


async def _is_behind(installation: Installation, service: str) -> bool:
    database = Database(_admin_of(installation, service), application="concert", pool=1)
    try:
        return not await is_current(database, service)
    finally:
        await database.close()


def _admin_of(installation: Installation, service: str) -> DatabaseSettings:
    url = installation.admin_url(DATABASES[service].name)
    return DatabaseSettings(url=url.render_as_string(hide_password=False))
