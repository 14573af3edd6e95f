"""A batch goes to its handlers once, whatever single records in it are worth."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID

import pytest

from schemas.topics import DIRECTORY_STATE, GOVERNANCE_STATE, STEPS
from schemas.wire.envelope import ReadEvent
from services.runtime import dead_letters, inbox, offsets
from services.runtime.batches import Batches, halves, shares, still_to_do
from services.runtime.dead_letters import DeadLetter
from services.runtime.identity import Identity
from services.runtime.ids import new_id
from services.runtime.inbox import Turn
from services.runtime.subscription import Subscription
from tests.support.builders import a_step, an_agency, an_event
from tests.support.platform import CELL
from tests.support.poison import HEALTH_STEPS, a_good_record
from tests.support.records import a_record


class NoDatabase:
    """Opens transactions in which nothing is stored."""

    def __init__(self) -> None:
        self.after_commit: list[Any] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        yield self


async def test_250_of_500_steps_under_others_keys_cost_themselves_and_the_handler_is_called_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[DeadLetter] = []
    calls: list[list[str]] = []
    moves: list[tuple[Any, ...]] = []

    async def keep(_transaction: Any, _group: str, letters: Sequence[DeadLetter], _ids: Any) -> None:
        kept.extend(letters)

    async def take(
        _transaction: Any, events: Sequence[Any], _across_gaps: Any, _now: Any, *, has_failed: bool
    ) -> Any:
        return [Turn.NEXT] * len(events), {}

    async def move(*arguments: Any) -> set[Any]:
        moves.append(tuple(dict(one) for one in arguments[-3:-1]))
        return set()

    async def handle(steps: Sequence[ReadEvent[Any]], _work: Any) -> None:
        calls.append([step.key for step in steps])
        assert all(step.key == step.body.referral for step in steps)

    async def crowded(*_: Any) -> dict[Any, Any]:
        return {}

    monkeypatch.setattr(dead_letters, "keep", keep)
    monkeypatch.setattr(dead_letters, "crowded", crowded)
    monkeypatch.setattr(inbox, "take", take)
    monkeypatch.setattr(offsets, "move", move)
    name, own = HEALTH_STEPS.name(), [new_id("referral") for _ in range(500)]
    records = []
    for offset, key in enumerate(own, 7):  # behind a hole, as compaction leaves them
        about = new_id("referral") if offset % 2 == 0 else key
        _, headers, value = a_good_record(about, key=key)
        records.append(a_record(name, 0, offset, key=key.encode(), headers=headers, value=value))
    batches = Batches(
        NoDatabase(),  # type: ignore[arg-type]
        Identity("referrals", CELL),
        [Subscription((HEALTH_STEPS,), handle)],
        lambda transaction: transaction,
        Mock(ask_again=AsyncMock()),
    )
    batches.topic_ids, batches.expected = {name: UUID(int=1)}, {(name, 0): 0}

    await batches.apply(records)

    assert calls == [own[::2]]
    assert [letter.record.offset for letter in kept] == [*range(8, 507, 2)]
    assert {(letter.reason, letter.path) for letter in kept} == {("key_mismatch", "referral")}
    assert moves == [({(name, 0): 0}, {(name, 0): 507})]
    assert batches.expected == {(name, 0): 507}


def test_subscriptions_get_their_events_in_the_order_of_the_table() -> None:
    agency, health, police = an_agency("north-clinic"), *(a_step("acknowledge") for _ in range(2))
    state = Subscription((GOVERNANCE_STATE,), ignore)
    unused = Subscription((DIRECTORY_STATE,), ignore)
    asked = Subscription((STEPS["health"], STEPS["police"]), ignore)
    bodies: Any = ((STEPS["health"], health), (GOVERNANCE_STATE, agency), (STEPS["police"], police))
    fresh = [an_event(topic, body) for topic, body in bodies]

    given = [(one, [event.body for event in own]) for one, own in shares(fresh, (state, unused, asked))]

    assert given == [(state, [agency]), (asked, [health, police])]


async def ignore(_events: Sequence[ReadEvent[Any]], _work: Any) -> None:
    """A handler that no test here calls."""


def test_records_of_before_and_of_others_are_left_out() -> None:
    before, ours, others = a_record(offset=4), a_record(offset=5), a_record(partition=1, offset=5)

    assert still_to_do([before, ours, others], expected={("t", 0): 5}) == [ours]


def test_halves_keep_the_order_and_lose_nothing() -> None:
    records = [a_record(offset=offset) for offset in range(5)]

    assert halves(records) == (records[:2], records[2:])
