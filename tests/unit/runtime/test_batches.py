"""A batch goes to its handlers once, whatever single records in it are worth."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from services.runtime import dead_letters, inbox, offsets
from services.runtime.batches import Batches
from services.runtime.dead_letters import DeadLetter
from services.runtime.identity import Identity
from services.runtime.ids import new_id
from services.runtime.inbox import Taken
from services.runtime.subscription import Received, Subscription
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

    async def keep(_transaction: Any, _group: str, letters: Sequence[DeadLetter], _ids: Any) -> None:
        kept.extend(letters)

    async def take(_transaction: Any, events: Sequence[Any], _across_gaps: Any) -> Taken:
        return Taken(list(events), [], 0)

    async def move(*_: Any) -> set[Any]:
        return set()

    async def handle(steps: Sequence[Received[Any]], _work: Any) -> None:
        calls.append([step.key for step in steps])
        assert all(step.key == step.body.referral for step in steps)

    monkeypatch.setattr(dead_letters, "keep", keep)
    monkeypatch.setattr(inbox, "take", take)
    monkeypatch.setattr(offsets, "move", move)
    name, own = HEALTH_STEPS.name(), [new_id("referral") for _ in range(500)]
    records = []
    for offset, key in enumerate(own):
        about = new_id("referral") if offset % 2 else key
        _, headers, value = a_good_record(about, key=key)
        records.append(a_record(name, 0, offset, key=key.encode(), headers=headers, value=value))
    batches = Batches(
        NoDatabase(),  # type: ignore[arg-type]
        Identity("referrals", CELL),
        [Subscription((HEALTH_STEPS,), handle)],
        lambda transaction: transaction,
    )
    batches.topic_ids, batches.expected = {name: UUID(int=1)}, {(name, 0): 0}

    await batches.apply(records)

    assert calls == [own[::2]]
    assert [letter.record.offset for letter in kept] == [*range(1, 500, 2)]
    assert {(letter.reason, letter.path) for letter in kept} == {("key_mismatch", "referral")}
    assert batches.expected == {(name, 0): 500}
