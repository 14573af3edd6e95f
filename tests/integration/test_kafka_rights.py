"""Every user, topic and operation is tried on the broker: what the table does not list must fail."""

import asyncio
from functools import partial

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError
from kafka.admin import ConfigResource, ConfigResourceType

from schemas.topics import ONLOOKERS, SERVICES, VIEWS
from schemas.topics import TOPICS as EVENTS
from schemas.wire.topic import Topic
from services.runtime import administration
from services.runtime.kafka import security
from tests.support.kafka import a_bare_reader, a_producer, send_raw
from tests.support.platform import Space
from tests.support.waiting import until

USERS = (*SERVICES, *(view.user for view in VIEWS))
TOPICS: tuple[Topic, ...] = (*EVENTS, *(changelog for view in VIEWS for changelog in view.changelogs))


def readers_of(topic: Topic) -> set[str]:
    return {*topic.readers, *(view.user for view in VIEWS if view.source is topic)}


async def may_write(space: Space, user: str) -> set[str]:
    allowed = set()
    async with a_producer(space, user) as producer:
        for topic in TOPICS:
            try:
                await producer.send_and_wait(topic.name(space.namespace), b"tried", key=b"tried", partition=0)
                allowed.add(topic.title)
            except TopicAuthorizationFailedError:
                continue
    return allowed


def may_describe(space: Space, user: str) -> set[str]:
    """Titles that the broker shows this user at all; reading includes that right."""
    settings = space.kafka_settings(user)
    password = space.platform.secrets.password("kafka", user)
    with administration.connect(settings.bootstrap, user, password) as admin:
        found = admin.describe_topics([topic.name(space.namespace) for topic in TOPICS])
    shown = {topic["name"] for topic in found if topic["error_code"] == 0}
    return {topic.title for topic in TOPICS if topic.name(space.namespace) in shown}


async def may_read(space: Space, user: str) -> set[str]:
    shown, allowed = await asyncio.to_thread(may_describe, space, user), set()
    for topic in TOPICS:
        if topic.title not in shown:
            continue  # clients never even ask for such a topic's records
        async with a_bare_reader(space, user, topic.name(space.namespace)) as reader:
            try:
                await until(partial(reader.getmany, timeout_ms=200))
                allowed.add(topic.title)
            except TopicAuthorizationFailedError:
                continue
    return allowed


@pytest.mark.needs_acl
async def test_each_user_writes_exactly_the_topics_that_name_it_as_writer(space: Space) -> None:
    for user in USERS:
        listed = {topic.title for topic in TOPICS if topic.writer == user}

        assert await may_write(space, user) == listed, user


@pytest.mark.needs_acl
async def test_each_user_reads_exactly_the_topics_that_name_it_as_reader(space: Space) -> None:
    for topic in TOPICS:
        await send_raw(space, topic.writer, topic.name(space.namespace), [(b"tried", (), b"tried")])

    for user in USERS:
        listed = {topic.title for topic in TOPICS if user in readers_of(topic)}

        assert await may_read(space, user) == listed, user


@pytest.mark.needs_acl
async def test_each_user_joins_its_own_group_alone(space: Space) -> None:
    groups = {reader: reader for topic in EVENTS for reader in topic.readers}
    groups |= {view.user: view.group() for view in VIEWS}
    for user in USERS:
        topic = next((topic for topic in TOPICS if user in readers_of(topic)), TOPICS[0])
        for group in (*SERVICES, *(view.group() for view in VIEWS)):
            consumer = AIOKafkaConsumer(
                topic.name(space.namespace),
                group_id=f"{space.namespace}{group}",
                **security(space.kafka_settings(user)),
            )
            try:
                await consumer.start()
                await consumer.getmany(timeout_ms=10)
                joined = True
            except (GroupAuthorizationFailedError, TopicAuthorizationFailedError):
                joined = False
            finally:
                await consumer.stop()

            assert joined == (groups.get(user) == group), (user, group)


@pytest.mark.needs_acl
async def test_no_service_makes_a_topic(space: Space) -> None:
    for user in USERS:
        async with a_producer(space, user) as producer:
            with pytest.raises(KafkaError):
                await producer.send_and_wait(f"{space.namespace}concert.{user}.own.v1", b"tried")


async def test_the_cluster_is_as_the_table_says_and_planted_drift_is_found(space: Space) -> None:
    space.make_topics()
    wanted = administration.topology(
        EVENTS, SERVICES, space.namespace, local=True, views=VIEWS, onlookers=ONLOOKERS
    )

    with space.admin() as admin:
        assert administration.plan(admin, wanted) == []
        less = administration.topology(
            EVENTS[1:], SERVICES, space.namespace, local=True, views=VIEWS, onlookers=ONLOOKERS
        )
        found = {difference.kind for difference in administration.plan(admin, less)}
        name = TOPICS[0].name(space.namespace)
        own = {"max.message.bytes": None}
        admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, name, own)])
        drift = await until(lambda: administration.plan(admin, wanted))
        administration.apply(admin, wanted, lambda user: "")

        assert administration.plan(admin, wanted) == []

    assert found == {"topic_unknown", "right_unknown"}
    subject = f"{name} max.message.bytes"  # what is in force now is the broker's default
    assert drift == [administration.Difference("setting", subject, "262144", "1048588")]
