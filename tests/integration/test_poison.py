"""A record that can never be used stops nothing: it is kept with its reason, and the batch goes on."""

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from schemas import governance
from schemas.cloudevents import Reason
from schemas.referral import STEPS
from schemas.topics import GOVERNANCE_STATE
from schemas.topics import STEPS as TOPICS_OF_STEPS
from services.runtime.database import Transaction
from services.runtime.errors import Invalid
from services.runtime.ids import new_id
from services.runtime.peers import internal_client
from services.runtime.process import Parts, running
from services.runtime.settings import PortSettings, RuntimeSettings
from services.runtime.subscription import Received, Subscription
from tests.support.kafka import send_raw
from tests.support.platform import Space
from tests.support.poison import HEALTH_STEPS, POISON, a_good_record
from tests.support.ports import free_port
from tests.support.readers import alarms_of
from tests.support.waiting import until

BATCH = 500
POLICE_STEPS = TOPICS_OF_STEPS["police"]


class Reader:
    """A reader of steps and of governance's state that remembers what it was given."""

    def __init__(self, fails_on: Collection[str] = (), error: type[Exception] = RuntimeError) -> None:
        self.seen: list[str] = []
        self._fails_on = set(fails_on)
        self._error = error

    async def take(self, events: Sequence[Received[Any]], _work: Transaction) -> None:
        if self._fails_on & {event.key for event in events}:
            raise self._error("schema_mismatch") if self._error is Invalid else self._error
        self.seen += [event.key for event in events]

    def wire(self, _runtime: Any, _settings: Any) -> Parts:
        return Parts(
            subscriptions=(
                Subscription((GOVERNANCE_STATE,), governance.BODIES, self.take),
                Subscription((HEALTH_STEPS, POLICE_STEPS), STEPS, self.take),
            )
        )


async def letters(space: Space) -> list[Any]:
    database = space.database("referrals")
    async with database.transaction() as transaction:
        rows = await transaction.rows("SELECT key, reason, value, sequence FROM dead_letter")
    await database.close()
    return list(rows)


async def letter_of(space: Space, key: bytes | None) -> Any:
    return next((row for row in await letters(space) if row.key == key), None)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
async def test_each_kind_of_poison_is_set_aside_and_all_others_are_applied(space: Space, place: str) -> None:
    good = [new_id("referral") for _ in range(BATCH)]
    bad = {reason: new_id("referral") for reason in POISON}
    records = [a_good_record(referral) for referral in good]
    poison = [POISON[reason](referral) for reason, referral in bad.items()]
    at = {"first": 0, "middle": BATCH // 2, "last": BATCH}[place]
    before = len(await letters(space))
    reader = Reader()

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), reader.wire):
        topic = HEALTH_STEPS.name(space.namespace)
        await send_raw(space, "health", topic, records[:at] + poison + records[at:])
        await until(lambda: len(reader.seen) >= BATCH)
        await until(lambda: _count(space, before + len(POISON)))

    assert sorted(reader.seen) == sorted(good)
    reasons = {row.value: row.reason for row in await letters(space)}
    assert [reasons[value] for _, _, value in poison] == list(POISON)


async def _count(space: Space, expected: int) -> bool:
    return len(await letters(space)) >= expected


async def test_the_same_event_with_other_content_is_refused(space: Space) -> None:
    referral, event, reader = new_id("referral"), new_id("event"), Reader()

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), reader.wire):
        first = a_good_record(referral, event=event)
        other = a_good_record(referral, event=event, duty="another")
        await send_raw(space, "health", HEALTH_STEPS.name(space.namespace), [first, first, other])
        letter = await until(lambda: letter_of(space, referral.encode()))

    assert letter.reason == Reason.CHANGED_DUPLICATE
    assert reader.seen == [referral]


async def test_a_sealed_record_on_a_plain_topic_is_refused(space: Space) -> None:
    referral, reader = new_id("referral"), Reader()
    key, headers, value = a_good_record(referral)
    plain = (value or b"").replace(b":health", b":governance").replace(b'"restricted"', b'"internal"')

    async with running("referrals", space.settings(RuntimeSettings, "referrals"), reader.wire):
        await send_raw(space, "governance", GOVERNANCE_STATE.name(space.namespace), [(key, headers, plain)])
        letter = await until(lambda: letter_of(space, key))

    assert letter.reason == Reason.UNEXPECTED_SEAL


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

    assert (letter.reason, letter.sequence) == (Reason.SEQUENCE_GAP, 2)
    assert stuck not in reader.seen


async def test_a_handler_that_fails_on_everything_stops_its_partition_alone_until_an_operator_has_looked(
    space: Space,
) -> None:
    bad, behind, beside = ([new_id("referral") for _ in range(count)] for count in (60, 5, 5))
    reader, mended = Reader([*bad]), Reader()
    health, police = (topic.name(space.namespace) for topic in (HEALTH_STEPS, POLICE_STEPS))
    port = free_port()
    settings = space.settings(RuntimeSettings, "referrals", ports=PortSettings(internal=port))

    async with running("referrals", settings, reader.wire) as service:
        await send_raw(space, "health", health, [a_good_record(key) for key in [*bad, *behind]], 1)
        await until(lambda: alarms_of(service))
        await send_raw(space, "police", police, [a_good_record(key, topic=POLICE_STEPS) for key in beside])
        await until(lambda: set(beside) <= set(reader.seen))
        assert alarms_of(service) == [("partition_stopped", f"{health}/1: handler")]
    kept = {row.key.decode() for row in await letters(space) if row.key}
    assert set(bad[:51]) <= kept
    assert not kept & {*bad[51:], *behind}

    async with running("referrals", settings, mended.wire) as service:
        await until(lambda: alarms_of(service))
        await send_raw(space, "police", police, [a_good_record(key, 2, topic=POLICE_STEPS) for key in beside])
        await until(lambda: set(beside) <= set(mended.seen))
        assert not set(mended.seen) & {*bad, *behind}
        address = f"https://127.0.0.1:{port}"
        assert await resumed(space, address, f"{health}/1", "health") == (403, "operator_only")
        assert await resumed(space, address, f"{health}/2", "operator") == (404, "nothing_stands")
        assert await resumed(space, address, f"{health}/1", "operator") == (
            200,
            {"ended": ["partition_stopped"]},
        )
        await until(lambda: {*bad[51:], *behind} <= set(mended.seen))
        assert not alarms_of(service)


async def resumed(space: Space, address: str, place: str, who: str) -> tuple[int, Any]:
    """What a service's internal port answers to whoever wants a partition to go on."""
    async with internal_client(space.tls_settings(who), "referrals", base_url=address) as client:
        answer = await client.post(f"/v1/readers/{place}/resumption", json={"reason": "handler mended"})
    return answer.status_code, answer.json().get("code") or answer.json()
