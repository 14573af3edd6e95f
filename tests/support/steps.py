"""Counts the steps of a parser instead of its seconds: lines of Python, characters that a method of text or
bytes may look at, and what a backtracking engine tries for each regular expression.

`re` does not tell its steps, so each pattern is tried a second time here, the way it goes itself (leftmost,
greedy or lazy as written, back to the last choice), and counted.
"""

import re
import re._constants as ops  # type: ignore[import-not-found]
import re._parser as syntax  # type: ignore[import-not-found]
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import FrameType
from typing import Any, Final

import pytest

OURS: Final = ("schemas.", "services.")
FROM_ONE_PLACE: Final = ("match", "fullmatch")
SEARCHES: Final = (*FROM_ONE_PLACE, "search", "finditer", "findall", "sub", "split")
ATOMS: Final = (ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN, ops.AT)
WHOLE_END: Final = (ops.AT, ops.AT_END_STRING)
Text = str | bytes


class TooManySteps(Exception):
    """The limit is passed: nobody waits for the rest."""


class StepCounter:
    """Counts the steps of one call after the other."""

    def __init__(self) -> None:
        self._steps = self._limit = 0

    def add(self, count: int = 1) -> None:
        self._steps += count
        if self._steps > self._limit:
            raise TooManySteps

    def steps_of(self, parse: Callable[[], object], limit: int) -> int:
        """The steps of one call, whatever it answers or refuses; raises TooManySteps over the limit."""
        self._steps, self._limit = 0, limit
        real = re._compile  # type: ignore[attr-defined]
        with pytest.MonkeyPatch.context() as patch, tracing(self._line, self._call):
            patch.setattr(re, "_compile", lambda pattern, flags: CountedPattern(real(pattern, flags), self))
            try:
                parse()
            except TooManySteps:
                raise
            except Exception:
                pass  # a refusal is an answer; only its price counts here
        return self._steps

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_globals.get("__name__") == __name__:
            return None
        if event == "line":
            self.add()
        return self._line

    def _call(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and frame.f_globals.get("__name__") != __name__:
            itself = getattr(called, "__self__", None)
            self.add(1 + (len(itself) if isinstance(itself, Text) else 0))


@contextmanager
def tracing(line: Any, call: Any) -> Iterator[None]:
    before = sys.gettrace(), sys.getprofile()
    sys.settrace(line)
    sys.setprofile(call)
    try:
        yield
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])


@contextmanager
def counted_steps() -> Iterator[StepCounter]:
    """A counter that our modules' patterns tell what they try."""
    steps = StepCounter()
    with pytest.MonkeyPatch.context() as patch:
        for module in [module for name, module in sys.modules.items() if name.startswith(OURS)]:
            tables = [
                held for name, held in vars(module).items() if isinstance(held, dict) and name.isupper()
            ]
            for table in (vars(module), *tables):
                for name, held in list(table.items()):
                    if isinstance(held, re.Pattern):
                        patch.setitem(table, name, CountedPattern(held, steps))
        yield steps


class CountedPattern:
    """A pattern that counts what each search tries, and then answers as the real one."""

    def __init__(self, pattern: re.Pattern[Any], steps: StepCounter) -> None:
        self._pattern = pattern
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._pattern, name)
        return partial(self._counted, name, real) if name in SEARCHES else real

    def _counted(self, name: str, real: Callable[..., Any], *given: Any) -> Any:
        text = next(one for one in given if isinstance(one, Text))
        with tracing(None, None):  # the lines of what tries do not count
            nodes = _program(self._pattern, name == "fullmatch")
            at = 0
            while at <= len(text):
                end = _end_of(nodes, text, at, self._steps)
                if name in FROM_ONE_PLACE or (name == "search" and end is not None):
                    break
                at = max(end or 0, at + 1)
        return real(*given)


@cache
def _program(pattern: re.Pattern[Any], is_whole: bool) -> list[Any]:
    tree = syntax.parse(pattern.pattern, pattern.flags)
    return list(_nodes([*tree, WHOLE_END] if is_whole else tree, pattern.flags))


def _nodes(tree: Any, flags: int) -> Iterator[tuple[Any, Any]]:
    """The parser's own tree without its groups; what stands for one place is a test by the real engine."""
    for op, argument in tree:
        if op in ATOMS:
            alone = syntax.SubPattern(syntax.State(), [(op, argument)])
            yield ops.IN, re._compiler.compile(alone, flags).match  # type: ignore[attr-defined]
        elif op is ops.SUBPATTERN:
            yield from _nodes(argument[3], flags)
        elif op is ops.BRANCH:
            yield op, [list(_nodes(branch, flags)) for branch in reversed(argument[1])]
        elif op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
            least, most, inner = argument
            yield op, (least, most, list(_nodes(inner, flags)))
        elif op in (ops.ASSERT, ops.ASSERT_NOT) and argument[0] == 1:
            yield op, list(_nodes(argument[1], flags))
        else:
            raise NotImplementedError(op)  # teach the engine, or write the pattern without it


def _before(nodes: list[Any], rest: Any) -> Any:
    """A chain of nodes to match: the next one, and the chain behind it."""
    for node in reversed(nodes):
        rest = node, rest
    return rest


def _end_of(nodes: list[Any], text: Text, start: int, steps: StepCounter) -> int | None:
    """Where the match ends that begins here."""
    choices = [(_before(nodes, None), start)]
    while choices:
        steps.add()
        chain, at = choices.pop()
        if chain is None:
            return at
        (op, argument), rest = chain
        if op is ops.IN:
            if found := argument(text, at):
                choices.append((rest, found.end()))
        elif op is ops.BRANCH:
            choices += [(_before(branch, rest), at) for branch in argument]
        elif op in (ops.ASSERT, ops.ASSERT_NOT):
            if (_end_of(argument, text, at, steps) is not None) is (op is ops.ASSERT):
                choices.append((rest, at))
        else:
            least, most, inner = argument
            once_more = _before(inner, ((op, (max(least - 1, 0), most - 1, inner)), rest)), at
            ways = [(rest, at)] * (least == 0) + [once_more] * (most > 0)
            choices += ways if op is ops.MAX_REPEAT else ways[::-1]
    return None
