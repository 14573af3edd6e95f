"""A record that can never be used stops nothing: it is kept with its reason, and the batch goes on."""

from collections.abc import Collection, Sequence
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.events.referral import AcknowledgeReferral
from schemas.topics import GOVERNANCE_STATE
from schemas.topics import STEPS as TOPICS_OF_STEPS
from schemas.wire.cloudevents import LetterReason
from schemas.wire.envelope import HEADERS, ReadEvent
from services.runtime import consumer, dead_letters, letter_acts, partition_alarms
from services.runtime.errors import Invalid
from services.runtime.ids import new_id
from services.runtime.peers import internal_client
from services.runtime.process import Parts, running
from services.runtime.settings import PortSettings, RuntimeSettings
from services.runtime.subscription import Subscription
from services.runtime.transaction import Transaction
from tests.support.acts import ALONE, BOTH, acted, ordered, rehearsed
from tests.support.kafka import send_raw
from tests.support.platform import Space
from tests.support.poison import HEALTH_STEPS, POISON, POISON_BATCHES, a_good_record
from tests.support.ports import free_port
from tests.support.readers import alarms_of
from tests.support.record_batches import CODECS, a_batch, a_gzip_bomb, a_record, send_batch
from tests.support.waiting import until

BATCH = 500
POLICE_STEPS = TOPICS_OF_STEPS["police"]
STEPS = (HEALTH_STEPS, POLICE_STEPS)


class Reader:
    """A reader of steps and of governance's state that remembers what it was given."""

    def __init__(
        self,
        fails_on: Collection[str] = (),
        error: type[Exception] = RuntimeError,
        *,
        across_gaps: bool = False,
    ) -> None:
        self._across_gaps = frozenset([AcknowledgeReferral.type] if across_gaps else [])
        self.seen: list[str] = []
        self.duties: list[tuple[str, str]] = []
        self._fails_on = set(fails_on)
        self._error = error

    async def take(self, events: Sequence[ReadEvent[Any]], _work: Transaction) -> None:
        if self._fails_on & {event.key for event in events}:
            raise self._error("schema_mismatch") if self._error is Invalid else self._error
        self.seen += [event.key for event in events]
        self.duties += [(event.key, event.body.duty) for event in events if event.topic in STEPS]

    def of(self, key: str) -> list[str]:
        """The duties of the steps about a referral, in order."""
        return [duty for one, duty in self.duties if one == key]

    def wire(self, _runtime: Any, _settings: Any) -> Parts:
        return Parts(
            subscriptions=(
                Subscription((GOVERNANCE_STATE,), self.take),
                Subscription(STEPS, self.take, self._across_gaps),
            )
        )


async def letters(space: Space) -> list[Any]:
    async with space.transaction("referrals") as transaction:
        rows = await transaction.rows(
            "SELECT id, topic, part, key, reason, value, sequence, state FROM dead_letter "
            'ORDER BY first_at, "offset"'
        )
    return list(rows)


async def letter_of(space: Space, key: bytes | None) -> Any:
    return next((row for row in await letters(space) if row.key == key), None)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
async def test_each_kind_of_poison_is_set_aside_and_all_others_are_applied(space: Space, place: str) -> None:
    good = [new_id("referral") for _ in range(BATCH)]
    bad = {reason: new_id("referral") for reason in POISON}
    records = [a_good_record(referral) for referral in good]
    poison = [POISON[reason](referral) for reason, referral in bad.items()]
    batches = [make(new_id("referral")) for make in POISON_BATCHES.values()]
    at = {"first": 0, "middle": BATCH // 2, "last": BATCH}[place]
    before = len(await letters(space))
    reader = Reader()

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), reader.wire) as service:
        topic = HEALTH_STEPS.name(space.namespace)
        await send_raw(space, "health", topic, records[:at] + poison)
        assert [await send_batch(space, "health", topic, batch) for batch in batches] == [0] * len(batches)
        await send_raw(space, "health", topic, records[at:])
        await until(lambda: len(reader.seen) >= BATCH)
        await until(lambda: _count(space, before + len(poison) + len(batches)))
        assert "records_unreadable" in dict(alarms_of(service))

    assert sorted(reader.seen) == sorted(good)
    found = (await letters(space))[before:]
    assert [row.reason for row in found] == [*POISON, *POISON_BATCHES]
    kept = {row.reason: (row.key, row.value) for row in found}
    for reason, (key, _, value) in zip(bad, poison, strict=True):
        assert kept[reason] == (key, (value or b"")[:4096] if reason == "oversize" else value), reason
    assert kept["corrupt_batch"] == kept["too_large_unpacked"] == (None, None)


async def _count(space: Space, expected: int) -> bool:
    return len(await letters(space)) >= expected


async def test_a_batch_of_a_megabyte_that_unpacks_to_a_gigabyte_does_not_get_past_the_brokers(
    space: Space,
) -> None:
    space.make_topics()
    batch = a_batch([b""], codec="gzip", packed=a_gzip_bomb(1024))

    assert len(batch) > 1_000_000
    assert await send_batch(space, "health", HEALTH_STEPS.name(space.namespace), batch) == 10


async def test_events_are_read_in_every_codec_and_a_flipped_byte_costs_its_own_batch(space: Space) -> None:
    if not space.platform.servers.kafka:
        pytest.skip("the brokers' files are not ours")
    topic, part, reader = POLICE_STEPS.name(space.namespace), 2, Reader()
    events = {codec: new_id("referral") for codec in CODECS}
    for codec, referral in events.items():
        key, headers, value = a_good_record(referral, topic=POLICE_STEPS)
        record = a_record(0, key, [(name.encode(), content) for name, content in headers], value)
        assert await send_batch(space, "police", topic, a_batch([record], codec=codec), part) == 0
    segment = space.platform.servers.kafka.records / f"{topic}-{part}" / f"{0:020}.log"
    struck = events.pop("none").encode()
    place = segment.read_bytes().index(struck)
    with segment.open("r+b") as file:
        file.seek(place)
        file.write(bytes([struck[0] ^ 1]))

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), reader.wire) as service:
        await until(lambda: set(events.values()) <= set(reader.seen))
        alarm = ("records_unreadable", f"{topic}/{part}: corrupt_batch")
        await until(lambda: alarm in alarms_of(service))

    assert [row.reason for row in await letters(space) if row.topic == topic and row.part == part] == [
        "corrupt_batch"
    ]


async def test_the_same_event_with_other_content_is_refused(space: Space) -> None:
    referral, event, reader = new_id("referral"), new_id("event"), Reader()

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), reader.wire):
        first = a_good_record(referral, event=event)
        other = a_good_record(referral, event=event, duty="another")
        await send_raw(space, "health", HEALTH_STEPS.name(space.namespace), [first, first, other])
        letter = await until(lambda: letter_of(space, referral.encode()))

    assert letter.reason == LetterReason.CHANGED_DUPLICATE
    assert reader.seen == [referral]


async def test_a_sealed_record_on_a_plain_topic_is_refused(space: Space) -> None:
    referral, reader = new_id("referral"), Reader()
    key, headers, value = a_good_record(referral)
    plain = (value or b"").replace(b":health", b":governance").replace(b'"restricted"', b'"internal"')

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), reader.wire):
        await send_raw(space, "governance", GOVERNANCE_STATE.name(space.namespace), [(key, headers, plain)])
        letter = await until(lambda: letter_of(space, key))

    assert letter.reason == LetterReason.UNEXPECTED_SEAL


@pytest.mark.parametrize(("error", "reason"), [(RuntimeError, "handler"), (Invalid, "schema_mismatch")])
async def test_a_handlers_failure_is_narrowed_down_to_its_record(
    space: Space, error: type[Exception], reason: str
) -> None:
    good, bad = [new_id("referral") for _ in range(60)], new_id("referral")
    reader = Reader([bad], error)

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), reader.wire):
        records = [a_good_record(referral) for referral in [*good[:37], bad, *good[37:]]]
        await send_raw(space, "health", HEALTH_STEPS.name(space.namespace), records)
        letter = await until(lambda: letter_of(space, bad.encode()))
        await until(lambda: set(good) <= set(reader.seen))

    assert letter.reason == reason
    assert bad not in reader.seen


async def test_events_behind_a_hole_wait_and_other_keys_go_on(space: Space) -> None:
    stuck, free, reader = new_id("referral"), new_id("referral"), Reader()

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), reader.wire):
        records = [a_good_record(stuck, sequence=2), a_good_record(free, sequence=1)]
        await send_raw(space, "health", HEALTH_STEPS.name(space.namespace), records)
        letter = await until(lambda: letter_of(space, stuck.encode()))
        await until(lambda: free in reader.seen)

    assert (letter.reason, letter.sequence) == (LetterReason.SEQUENCE_GAP, 2)
    assert stuck not in reader.seen


async def test_what_waits_behind_a_failure_goes_on_in_order_once_that_is_mended_or_not_needed(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(consumer, "POLL_MS", 200)
    mended, unneeded, free = (new_id("referral") for _ in range(3))
    topic, port = HEALTH_STEPS.name(space.namespace), free_port()
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))
    first = [a_good_record(key) for key in (mended, unneeded)]
    later = [a_good_record(key, number, duty=str(number)) for number in (2, 3) for key in (mended, unneeded)]
    failing, reader = Reader([mended, unneeded], Unfit), Reader()

    async with running("referrals", settings, failing.wire):
        await send_raw(space, "health", topic, first)
        await until(lambda: letter_of(space, unneeded.encode()))
    async with running("referrals", settings, reader.wire), a_caller(space, port, "operations") as operations:
        await send_raw(space, "health", topic, [*later, a_good_record(free)])
        await until(lambda: free in reader.seen)
        assert not reader.of(mended) + reader.of(unneeded)

        await send_raw(space, "health", topic, first[:1])  # as its writer sends again what nobody confirms
        await until(lambda: len(reader.of(mended)) == 3)
        assert reader.of(mended) == ["intake", "2", "3"]
        assert not reader.of(unneeded)
        await until(lambda: _waiting(space, mended, 0))

        shown = (await operations.get("/v1/dead-letters")).json()["data"]
        count = sum(one["count"] for one in shown if one["code"] == "handler")
        assert await acted(operations, "discard", code="handler") == (200, {"discarded": count})
        await until(lambda: _waiting(space, unneeded, 0))
    assert reader.of(unneeded) == ["2", "3"]


class Unfit(Exception):
    """What no handler should raise."""


async def _waiting(space: Space, referral: str, expected: int) -> bool:
    async with space.transaction("referrals") as transaction:
        rows = await transaction.rows(
            "SELECT count(*) AS letters FROM dead_letter WHERE key = :key AND state = 'waiting'",
            key=referral.encode(),
        )
    return bool(rows[0].letters == expected)


async def test_a_handler_that_fails_on_everything_stops_its_partition_alone_until_an_operator_has_looked(
    space: Space,
) -> None:
    bad, behind, beside = ([new_id("referral") for _ in range(count)] for count in (60, 5, 5))
    reader, mended = Reader([*bad]), Reader()
    health, police = (topic.name(space.namespace) for topic in (HEALTH_STEPS, POLICE_STEPS))
    port, stopped = free_port(), ("partition_stopped", f"{health}/1: handler")
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))

    async with running("referrals", settings, reader.wire) as service:
        await send_raw(space, "health", health, [a_good_record(key) for key in [*bad, *behind]], 1)
        await until(lambda: stopped in alarms_of(service))
        await send_raw(space, "police", police, [a_good_record(key, topic=POLICE_STEPS) for key in beside])
        await until(lambda: set(beside) <= set(reader.seen))
        assert stopped in alarms_of(service)
    kept = {row.key.decode() for row in await letters(space) if row.key}
    assert set(bad[:51]) <= kept
    assert not kept & {*bad[51:], *behind}

    async with running("referrals", settings, mended.wire) as service:
        await until(lambda: stopped in alarms_of(service))
        await send_raw(space, "police", police, [a_good_record(key, 2, topic=POLICE_STEPS) for key in beside])
        await until(lambda: set(beside) <= set(mended.seen))
        assert not set(mended.seen) & {*bad, *behind}
        place = {"topic": health, "partition": 1}
        async with (
            a_caller(space, port, "health") as caller,
            a_caller(space, port, "operations") as operations,
        ):
            assert await acted(caller, "resume", **place) == (403, "operations_only")
            other = place | {"partition": 2}
            assert await acted(operations, "resume", **other) == (404, "nothing_stands")
            plan = new_id("plan")
            for _ in range(2):  # whoever lost the answer asks again
                answer = await ordered(operations, "resume", place, 1, plan=plan)
                assert answer == (200, {"ended": 1})
            assert await ordered(operations, "resume", place, 1) == (404, "nothing_stands")
        await until(lambda: {*bad[51:], *behind} <= set(mended.seen))
        assert stopped not in alarms_of(service)


def a_caller(space: Space, port: int, who: str) -> httpx2.AsyncClient:
    """Somebody with a certificate of this installation, at the arbiter's internal port."""
    address = f"https://127.0.0.1:{port}"
    return internal_client(space.tls_settings(who), "referrals", base_url=address)


def broken_off_at(monkeypatch: pytest.MonkeyPatch, *places: str) -> None:
    """Each of these lines is the last of one request."""
    left = list(places)

    def break_off(place: str) -> None:
        if place in left:
            left.remove(place)
            raise RuntimeError

    monkeypatch.setattr(letter_acts, "crash_point", break_off)


async def test_letters_are_given_up_as_they_were_shown_or_not_at_all_and_by_two(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off_at(monkeypatch, "acts.discarded")
    port, reader = free_port(), Reader()
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))
    topic = HEALTH_STEPS.name(space.namespace)
    chosen = {"code": "no_value", "topic": topic}

    async with running("referrals", settings, reader.wire), a_caller(space, port, "operations") as operations:
        await send_raw(space, "health", topic, [(b"nobody", [], None)], 2)
        await until(lambda: letter_of(space, b"nobody"))
        shown = (await operations.get("/v1/dead-letters")).json()["data"]
        [row] = [one for one in shown if one["code"] == "no_value"]
        async with a_caller(space, port, "operator") as caller:
            refused = await rehearsed(caller, "discard", **chosen)
        other = await rehearsed(operations, "discard", **chosen, type="another")
        _, found = await rehearsed(operations, "discard", **chosen)
        scope, count, plan = found["scope"], found["count"], new_id("plan")
        alone = await ordered(operations, "discard", scope, count, approved_by=None)
        himself = await ordered(operations, "discard", scope, count, approved_by="command")
        more = await ordered(operations, "discard", {"ids": [*scope["ids"], "dl_another"]}, count + 1)
        done = [await ordered(operations, "discard", scope, count, plan=plan) for _ in range(2)]
        later = await ordered(operations, "discard", scope, count)
        left = (await operations.get("/v1/dead-letters")).json()["data"]

    assert (row["topic"], row["type"], row["count"]) == (topic, None, count)
    assert (refused, other) == ((403, "operations_only"), (404, "nothing_waits"))
    assert alone == himself == (403, "second_person_needed")
    assert more == later == (409, "other_count")
    assert done == [(500, "unexpected"), (200, {"discarded": count})], "as whoever lost the answer is told"
    assert not [one for one in left if one["code"] == "no_value"]


async def test_discarding_a_letter_without_a_number_lets_go_on_what_waits_behind_it(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(consumer, "POLL_MS", 200)
    port, reader, key = free_port(), Reader(), new_id("referral")
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))
    records = [(key.encode(), HEADERS, b'{"is": "harbour'), a_good_record(key, 3, duty="third")]

    async with running("referrals", settings, reader.wire), a_caller(space, port, "operations") as operations:
        await send_raw(space, "health", HEALTH_STEPS.name(space.namespace), records)
        await until(lambda: _waiting(space, key, 2))
        letter = await letter_of(space, key.encode())
        shown = await operations.get(f"/v1/dead-letters/{letter.id}")
        await acted(operations, "discard", code="malformed_json", id=letter.id)
        await until(lambda: _waiting(space, key, 0))

    assert reader.of(key) == ["third"]
    assert (shown.json()["code"], shown.json()["bytes"]) == ("malformed_json", 15)
    assert key not in shown.text
    assert "harbour" not in shown.text


async def test_letters_are_tried_again_by_their_own_reader_in_order_and_only_for_a_reason(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose number nobody could read before, and one that was acted on before its turn: once."""
    key, urgent, bad = (new_id("referral") for _ in range(3))
    topic, port = HEALTH_STEPS.name(space.namespace), free_port()
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))
    numbered = [(one, number) for number in (1, 2, 3) for one in (key, bad)]
    records = [a_good_record(one, number, duty=str(number)) for one, number in numbered]

    async with running("referrals", settings, Reader([key, urgent, bad], Unfit).wire):
        await send_raw(space, "health", topic, [*records, a_good_record(urgent, duty="1")])
        await until(lambda: letter_of(space, urgent.encode()))
        await until(lambda: _waiting(space, bad, 3))
    async with space.transaction("referrals") as transaction:  # as an older release would have kept it
        changed = "UPDATE dead_letter SET reason = 'unknown_type', sequence = NULL, source = NULL"
        where = "WHERE key = :key AND sequence = 2 RETURNING id"
        [unread] = await transaction.rows(f"{changed} {where}", key=key.encode())
    hasty, mended = Reader(across_gaps=True), Reader([bad], Unfit)
    async with running("referrals", settings, hasty.wire):
        await send_raw(space, "health", topic, [a_good_record(urgent, 2, duty="2")])
        await until(lambda: hasty.of(urgent) == ["2"])
    async with running("referrals", settings, mended.wire), a_caller(space, port, "operations") as operations:
        _, planned = await rehearsed(operations, "redrive", code="handler", topic=topic)
        none = await acted(operations, "redrive", code="no_such")
        early = await acted(operations, "redrive", code="unknown_type", id=unread.id)
        assert not mended.of(key)
        many = await ordered(operations, "redrive", planned["scope"], 51, **ALONE, approved_by=None)
        count, plan = planned["count"], new_id("plan")
        broken_off_at(monkeypatch, "acts.recorded", "acts.redriven")
        done = [
            await ordered(operations, "redrive", planned["scope"], count, plan=plan, reason="handler mended")
            for _ in range(3)
        ]

    assert (mended.of(key), mended.of(urgent), mended.of(bad)) == (["1", "2", "3"], ["1"], [])
    assert planned["figures"]["readable"] == planned["count"] >= 3
    assert (none, many) == ((404, "nothing_waits"), (403, "second_person_needed"))
    assert early == (200, {"redriven": 0, "sequence_gap": 1})
    assert done == [(500, "unexpected")] * 2 + [(200, {"redriven": count - 1, "handler": 1})]
    found = {(row.key.decode(), row.state, row.value is None) for row in await letters(space) if row.key}
    assert {one for one in found if one[0] in (key, urgent, bad)} == {
        (key, "redriven", True),
        (urgent, "redriven", True),
        (bad, "waiting", False),
    }
    async with space.transaction("referrals") as transaction:
        acts = await transaction.rows(
            "SELECT counts, plan, actor, approved_by FROM operator_act WHERE reason = 'handler mended'"
        )
    assert [tuple(row) for row in acts] == [(f'{{"letters": {count}}}', plan, *BOTH.values())]


async def test_a_partition_stops_where_too_many_letters_wait_though_sound_records_come_between(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "WAITING_MAX", 2)
    place = POLICE_STEPS.name(space.namespace)
    records = [
        a_good_record(new_id("referral"), sequence, topic=POLICE_STEPS) for sequence in (1, 7, 1, 7, 1, 7, 1)
    ]

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), Reader().wire) as service:
        await send_raw(space, "police", place, records, 0)
        await until(lambda: ("partition_stopped", f"{place}/0: sequence_gap") in alarms_of(service))
    async with space.transaction("referrals") as transaction:  # other tests read it too
        await partition_alarms.end_alarms(transaction, f"{space.namespace}referrals", (place, 0), "a trial")


async def test_letters_that_stay_unusable_keep_no_others_from_being_tried(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letter_acts, "LETTERS_MAX", 1)
    port = free_port()
    key = new_id("referral").encode()  # without numbers nothing has to be before the other
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))
    records = [(key, tuple(HEADERS), b"{")] * 2

    async with (
        running("referrals", settings, Reader().wire),
        a_caller(space, port, "operations") as operations,
    ):
        await send_raw(space, "health", HEALTH_STEPS.name(space.namespace), records)
        await until(lambda: _waiting(space, key.decode(), 2))
        async with space.transaction("referrals") as transaction:
            waiting = await transaction.rows("SELECT 1 FROM dead_letter WHERE reason = 'malformed_json'")
        for _ in waiting:
            await acted(operations, "redrive", code="malformed_json")

    async with space.transaction("referrals") as transaction:
        rows = await transaction.rows("SELECT attempts FROM dead_letter WHERE key = :key", key=key)
    assert min(row.attempts for row in rows) >= 2  # letters of other tests had their tries between


async def scraped(port: int) -> dict[tuple[str, ...], float]:
    """What Prometheus would read there: a name and the values of its labels → a value."""
    async with httpx2.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {(one.name, *one.labels.values()): one.value for one in samples}


COUNTS = """
SELECT (SELECT count(*) FROM inbox) AS taken, (SELECT count(*) FROM outbox) AS pending,
  (SELECT count(*) FROM dead_letter WHERE reason = 'malformed_json' AND state = 'waiting') AS letters,
  (SELECT coalesce(sum(next), 0) FROM consumer_offset WHERE topic = :topic) AS read"""


async def test_a_scrape_says_what_the_database_says(space: Space) -> None:
    group, topic = f"{space.namespace}referrals", HEALTH_STEPS.name(space.namespace)
    keys = [new_id("referral") for _ in range(7)]
    good, port = [a_good_record(key) for key in keys], free_port()
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(health=port))

    async with running("referrals", settings, Reader().wire):
        before = await scraped(port)
        async with space.transaction("referrals") as transaction:
            [known] = await transaction.rows(COUNTS, topic=topic)
        await send_raw(space, "health", topic, [*good, good[0], POISON["malformed_json"](keys[0])])
        await until(lambda: _has_read(space, topic, known.read + 9))
        after = await scraped(port)
        async with space.transaction("referrals") as transaction:
            [now] = await transaction.rows(COUNTS, topic=topic)

    def grown(name: str, *labels: str) -> float:
        return after[name, *labels] - before.get((name, *labels), 0)

    assert grown("concert_consumer_applied_total", group) == now.taken - known.taken == 7
    assert grown("concert_consumer_duplicates_total", group, topic) == 1
    # A start reads the last record of each partition once more, to know it again.
    seen_again = grown("messaging_client_consumed_messages_total", group, topic) - 9
    assert now.read - known.read == 9
    assert 0 <= seen_again <= HEALTH_STEPS.partitions_local
    assert after["concert_dead_letter_depth", "malformed_json"] == now.letters == known.letters + 1
    assert after["concert_outbox_pending",] == now.pending
    assert after["concert_consumer_assigned_partitions", group, topic] == HEALTH_STEPS.partitions_local


async def _has_read(space: Space, topic: str, following: int) -> bool:
    async with space.transaction("referrals") as transaction:
        [found] = await transaction.rows(COUNTS, topic=topic)
    return bool(found.read == following)
