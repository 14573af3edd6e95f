"""The table of topics: whatever is made from it holds for every topic."""

import re

import pytest

from schemas.publishing.__main__ import BODIES
from schemas.topics import SECTORS, SERVICES, TOPICS, VIEWS
from schemas.wire.topic import Topic
from services.governance import subscriptions as governance
from services.notifications import subscriptions as notifications
from services.referrals import subscriptions as referrals
from services.runtime import administration
from services.sector.domain.profile import Profile
from services.sector.subscriptions import subscriptions

OUTSIDE: tuple[str, ...] = ()
"""Readers and writers that are no service of ours; so far there are none."""

READ_BY_NOBODY_YET = ("operations.facts",)


def title(topic: Topic) -> str:
    return topic.title


@pytest.mark.parametrize("topic", TOPICS, ids=title)
def test_a_topic_has_a_writer_and_readers_that_exist(topic: Topic) -> None:
    known = (*SERVICES, *OUTSIDE)

    assert topic.writer in known
    assert topic.readers or topic.title in READ_BY_NOBODY_YET
    assert set(topic.readers) <= set(known)
    assert len(set(topic.readers)) == len(topic.readers)


def test_every_topic_has_a_name_that_metrics_can_tell_apart() -> None:
    """Kafka writes dots and underscores alike in the names of its own figures."""
    names = [topic.name().replace(".", "_") for topic in TOPICS]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("topic", TOPICS, ids=title)
def test_a_name_is_an_area_a_kind_and_a_version(topic: Topic) -> None:
    assert re.fullmatch(r"concert(\.[a-z]+(_[a-z]+)*){2,3}\.v[1-9]", topic.name())
    assert topic.name("t1.") == f"t1.{topic.name()}"
    assert len(topic.name("t12345678.")) <= 249


@pytest.mark.parametrize("topic", TOPICS, ids=title)
def test_what_concerns_a_person_shows_one_outer_type_and_is_not_kept_for_long(topic: Topic) -> None:
    assert bool(topic.outer) == topic.is_restricted
    if topic.is_restricted:
        assert topic.settings()["cleanup.policy"] == "delete"
        assert int(topic.settings()["retention.ms"]) <= 72 * 3_600_000
    if topic.outer:
        assert topic.outer not in BODIES
        assert not any(topic.outer.startswith(kind) for kind in topic.carries)


def test_rights_are_literal_and_no_wider_than_the_table() -> None:
    wanted = administration.topology(TOPICS, SERVICES, "", local=False)

    right = administration.right

    assert wanted.rights == {
        *(
            right(topic.writer, what, "TOPIC", topic.name())
            for topic in TOPICS
            for what in ("WRITE", "DESCRIBE")
        ),
        *(
            right(reader, what, "TOPIC", topic.name())
            for topic in TOPICS
            for reader in topic.readers
            for what in ("READ", "DESCRIBE")
        ),
        *(right(reader, "READ", "GROUP", reader) for topic in TOPICS for reader in topic.readers),
    }


def test_a_view_may_read_its_source_and_keep_its_tables_and_nothing_else() -> None:
    [view] = VIEWS
    wanted = administration.topology((), (), "t1.", local=False, views=VIEWS)

    right = administration.right

    tables = [f"t1.concert.referrals.views-{table}-changelog" for table in view.tables]
    assert wanted.users == {"referrals_views"}
    assert wanted.rights == {
        right("referrals_views", "READ", "GROUP", "t1.concert.referrals.views"),
        *(right("referrals_views", what, "TOPIC", view.source.name("t1.")) for what in ("READ", "DESCRIBE")),
        *(
            right("referrals_views", what, "TOPIC", table)
            for table in tables
            for what in ("READ", "WRITE", "DESCRIBE")
        ),
    }
    assert {name: wanted.settings(name)["cleanup.policy"] for name in wanted.topics} == dict.fromkeys(
        tables, "compact"
    )
    assert {wanted.partitions(name) for name in tables} == {view.source.partitions}


HANDLED = {
    "referrals": referrals.SUBSCRIPTIONS,
    "notifications": notifications.SUBSCRIPTIONS,
    "governance": governance.SUBSCRIPTIONS,
    **{sector: subscriptions(Profile(sector, sector, frozenset(), frozenset())) for sector in SECTORS},
}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_handles_just_the_topics_that_it_may_read(service: str) -> None:
    handled = [topic.title for one in HANDLED.get(service, ()) for topic in one.topics]

    assert sorted(handled) == sorted(topic.title for topic in TOPICS if service in topic.readers)
