"""Seeds of the simulation: no promise is broken, and each is where the decision that keeps it is left out."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
import structlog

from services.runtime import inbox, relay
from services.runtime.inbox import Turn
from services.runtime.receipts import UnconfirmedEvents
from tests.simulation.quiet import quiet
from tests.simulation.run import Run
from tests.simulation.statements import STATEMENTS
from tests.simulation.world import Violation

SEEDS: Final = 200
MUTANT_SEEDS: Final = 60
Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def no_logs() -> Any:
    """The services' own lines go nowhere."""
    before = structlog.get_config()
    quiet()
    yield
    structlog.configure(**before)


def test_harm_31_kills_lost_logs_and_moved_clocks_lose_nothing_and_do_nothing_twice() -> None:
    for seed in range(SEEDS):
        run = Run(seed)
        try:
            run.go()
        except Violation as broken:
            pytest.fail(f"{broken}; python -m tests.simulation --seed {seed}")


def test_a_seed_replays() -> None:
    assert Run(7).go() == Run(7).go()


def without_the_inbox(patch: pytest.MonkeyPatch) -> None:
    """What was seen before is not looked up."""
    is_old = (Turn.TAKEN, Turn.REPEATED)
    hasty = lambda _events, turns, *_: [Turn.NEXT if turn in is_old else turn for turn in turns]  # noqa: E731
    patch.setattr(inbox, "without_repeats", hasty)


def across_every_gap(patch: pytest.MonkeyPatch) -> None:
    """What comes behind a hole is applied at once."""
    sort_out = inbox.sort_out

    def hasty(*given: Any) -> Any:
        turns, last = sort_out(*given)
        return [Turn.AHEAD if turn is Turn.WAITING else turn for turn in turns], last

    patch.setattr(inbox, "sort_out", hasty)


def without_resends(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks after what is not confirmed."""

    async def sweep(_self: Any) -> bool:
        return False

    patch.setattr(UnconfirmedEvents, "sweep", sweep)


def moved_before_sent(patch: pytest.MonkeyPatch) -> None:
    """The relay takes rows out of the outbox before the brokers hold them, and brokers are not looked at."""
    without_resends(patch)
    patch.setitem(STATEMENTS, relay.NEXT, _taken_at_once)


def _taken_at_once(tables: Any, now: Any, parameters: Any) -> Any:
    rows = _NEXT(tables, now, parameters)
    _MOVE(tables, now, {"ids": [row.id for row in rows], "began": tables.ids["send_order"], **_NOTHING_HELD})
    return rows


_NOTHING_HELD: Final[Mapping[str, list[Any]]] = {"topics": [], "parts": [], "nexts": []}
_NEXT, _MOVE = STATEMENTS[relay.NEXT], STATEMENTS[relay.MOVE]


def in_order_of_time(patch: pytest.MonkeyPatch) -> None:
    """What was sent is told from what comes after by the database's clock, not by a number."""
    for sql, statement in STATEMENTS.items():

        def by_clock(tables: Any, now: Any, parameters: Any, does: Any = statement) -> Any:
            tables.ids["send_order"] = int(now.timestamp() * 1_000)
            return does(tables, now, parameters)

        patch.setitem(STATEMENTS, sql, by_clock)


MUTANTS: Final[Mapping[str, tuple[Patch, str]]] = {
    "no inbox": (without_the_inbox, "twice"),
    "gaps accepted": (across_every_gap, "before what comes first"),
    "no resend": (without_resends, "are lost"),
    "moved before sent": (moved_before_sent, "are lost"),
    "in order of time": (in_order_of_time, "are lost|again and again"),
}


def all_of(seeds: int) -> None:
    """Run so many seeds; Violation ends them."""
    for seed in range(seeds):
        Run(seed).go()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_harm_31_a_seed_is_red_where_a_decision_is_left_out(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out, told = MUTANTS[mutant]
    leave_out(monkeypatch)

    with pytest.raises(Violation, match=told):
        all_of(MUTANT_SEEDS)
