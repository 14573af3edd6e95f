"""The table of topics: whatever is made from it holds for every topic, and for a sector that comes later."""

import re

import pytest

from schemas.events.referral import FACTS, STEPS
from schemas.publishing import asyncapi
from schemas.publishing.__main__ import BODIES
from schemas.topics import INBOX, REFERRALS_FACTS, SERVICES, TOPICS, inbox_of, steps_of
from schemas.wire.topic import Topic
from services.runtime import administration

OUTSIDE: tuple[str, ...] = ()
"""Readers and writers that are no service of ours; so far there are none."""
JUSTICE = (steps_of("justice"), inbox_of("justice"))


def title(topic: Topic) -> str:
    return topic.title


@pytest.mark.parametrize("topic", TOPICS, ids=title)
def test_a_topic_has_a_writer_and_readers_that_exist(topic: Topic) -> None:
    known = (*SERVICES, *OUTSIDE)

    assert topic.writer in known
    assert topic.readers
    assert set(topic.readers) <= set(known)
    assert len(set(topic.readers)) == len(topic.readers)


def test_every_topic_has_a_name_that_metrics_can_tell_apart() -> None:
    """Kafka writes dots and underscores alike in the names of its own figures."""
    names = [topic.name().replace(".", "_") for topic in TOPICS]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("topic", [*TOPICS, *JUSTICE], ids=title)
def test_a_name_is_an_area_a_kind_and_a_version(topic: Topic) -> None:
    assert re.fullmatch(r"concert(\.[a-z]+(_[a-z]+)*){2,3}\.v[1-9]", topic.name())
    assert topic.name("t1.") == f"t1.{topic.name()}"
    assert len(topic.name("t12345678.")) <= 249


@pytest.mark.parametrize("topic", [*TOPICS, *JUSTICE], ids=title)
def test_what_concerns_a_person_shows_one_outer_type_and_is_not_kept_for_long(topic: Topic) -> None:
    assert bool(topic.outer) == topic.is_restricted
    if topic.is_restricted:
        assert topic.settings()["cleanup.policy"] == "delete"
        assert int(topic.settings()["retention.ms"]) <= 72 * 3_600_000
    if topic.outer:
        assert topic.outer not in BODIES
        assert not any(topic.outer.startswith(kind) for kind in topic.carries)


def test_every_fact_and_step_is_carried() -> None:
    assert set(REFERRALS_FACTS.carries) == FACTS.keys()
    for inbox in INBOX.values():
        assert set(inbox.carries) == FACTS.keys()
    assert {kind for topic in TOPICS for kind in topic.carries} == BODIES.keys()
    assert STEPS.keys() | FACTS.keys() <= BODIES.keys()


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_every_type_has_an_example_and_a_published_schema(kind: str) -> None:
    assert list(asyncapi.examples_of(kind))
    assert list((asyncapi.EXAMPLES.parent / "published").rglob(f"{kind}*.json"))


def rights_of(*topics: Topic) -> set[tuple[str, str, str]]:
    wanted = administration.desired(topics, (), "", local=False)
    return {(right.user, right.operation, right.name) for right in wanted.rights}


def test_rights_are_literal_and_no_wider_than_the_table() -> None:
    wanted = administration.desired(TOPICS, SERVICES, "", local=False)

    assert {right.shape for right in wanted.rights} == {"LITERAL"}
    assert {right.permission for right in wanted.rights} == {"ALLOW"}
    assert {(right.user, right.name) for right in wanted.rights if right.operation == "WRITE"} == {
        (topic.writer, topic.name()) for topic in TOPICS
    }
    assert {
        (right.user, right.name)
        for right in wanted.rights
        if (right.operation, right.resource) == ("READ", "TOPIC")
    } == {(reader, topic.name()) for topic in TOPICS for reader in topic.readers}
    assert {right.name for right in wanted.rights if right.resource == "GROUP"} <= set(SERVICES)


def test_a_fifth_sector_is_two_lines() -> None:
    steps, inbox = JUSTICE

    assert (steps.name(), inbox.name()) == (
        "concert.sector.justice.steps.v1", "concert.sector.justice.inbox.v1",
    )  # fmt: skip
    assert rights_of(*JUSTICE) == {
        ("justice", "WRITE", steps.name()), ("justice", "DESCRIBE", steps.name()),
        ("referrals", "READ", steps.name()), ("referrals", "DESCRIBE", steps.name()),
        ("referrals", "READ", "referrals"),
        ("referrals", "WRITE", inbox.name()), ("referrals", "DESCRIBE", inbox.name()),
        ("justice", "READ", inbox.name()), ("justice", "DESCRIBE", inbox.name()),
        ("justice", "READ", "justice"),
    }  # fmt: skip
    others = [topic for topic in TOPICS if topic.title != steps.title]
    assert not {topic.name() for topic in others} & {steps.name(), inbox.name()}


def test_a_fifth_sector_is_in_the_document_that_others_read() -> None:
    before = asyncapi.document(TOPICS)

    after = asyncapi.document((*TOPICS, *JUSTICE))

    assert after["channels"].keys() - before["channels"].keys() == {topic.title for topic in JUSTICE}
    assert after["operations"].keys() - before["operations"].keys() == {
        "justice_sends_sector.justice.steps", "referrals_receives_sector.justice.steps",
        "referrals_sends_sector.justice.inbox", "justice_receives_sector.justice.inbox",
    }  # fmt: skip
    assert after["components"] == before["components"]
