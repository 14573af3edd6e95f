"""Counts the steps of a parser instead of its seconds: lines of Python, characters that a method of text or
bytes may look at, and what a backtracking engine tries for each regular expression.

`re` does not tell its steps, so each pattern of ours is tried a second time by a small engine that goes the
same way (leftmost, greedy as written, back to the last choice) and counts.
"""

import re
import re._constants as ops  # type: ignore[import-not-found]
import re._parser as syntax  # type: ignore[import-not-found]
import sys
from collections.abc import Callable
from functools import cache, partial
from types import FrameType
from typing import Any, Final, Self

import pytest

OURS: Final = ("schemas.", "services.")
SEARCHES: Final = ("match", "fullmatch", "search", "finditer", "findall", "sub", "split")
Text = str | bytes


class TooManySteps(Exception):
    """The limit is passed: nobody waits for the rest."""


class StepCounter:
    """Counts while it is entered; our modules' patterns tell it what they try."""

    def __init__(self) -> None:
        self.taken = self._limit = 0
        self._patch = pytest.MonkeyPatch()

    def add(self, count: int = 1) -> None:
        self.taken += count
        if self.taken > self._limit:
            raise TooManySteps

    def steps_of(self, parse: Callable[[], object], limit: int) -> int:
        """The steps of one call, whatever it answers or refuses; raises TooManySteps over the limit."""
        self.taken, self._limit = 0, limit
        before = sys.gettrace(), sys.getprofile()
        try:
            sys.settrace(self._line)
            sys.setprofile(self._call)
            parse()
        except TooManySteps:
            raise
        except Exception:
            pass  # a refusal is an answer; only its price counts here
        finally:
            sys.settrace(before[0])
            sys.setprofile(before[1])
        return self.taken

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

    def __enter__(self) -> Self:
        for module in [module for name, module in sys.modules.items() if name.startswith(OURS)]:
            for name, held in list(vars(module).items()):
                if isinstance(held, re.Pattern):
                    self._patch.setattr(module, name, CountedPattern(held, self))
                for key, value in list(held.items()) if isinstance(held, dict) and name.isupper() else ():
                    if isinstance(value, re.Pattern):
                        self._patch.setitem(held, key, CountedPattern(value, self))
        for name in ("match", "fullmatch", "search", "findall"):
            self._patch.setattr(re, name, self._by_source(name))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _by_source(self, name: str) -> Callable[..., Any]:
        def call(pattern: Any, text: Text, flags: int = 0) -> Any:
            return getattr(CountedPattern(re.compile(pattern, flags), self), name)(text)

        return call


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
        tracing = sys.gettrace(), sys.getprofile()
        sys.settrace(None)  # the engine's own lines do not count
        sys.setprofile(None)
        try:
            engine = _Engine(_program(self._pattern, name == "fullmatch"), text, self._steps)
            engine.run(anchored=name in ("match", "fullmatch"), repeats=name not in SEARCHES[:3])
        finally:
            sys.settrace(tracing[0])
            sys.setprofile(tracing[1])
        return real(*given)


CHAR, SPLIT, JUMP, PLACE, LOOK, DONE = range(6)


@cache
def _program(pattern: re.Pattern[Any], whole: bool) -> list[tuple[Any, ...]]:
    code: list[tuple[Any, ...]] = []
    _write(syntax.parse(pattern.pattern, pattern.flags), pattern.flags, code)
    return [*code, *([(PLACE, ops.AT_END_STRING)] if whole else []), (DONE,)]


def _write(tree: Any, flags: int, code: list[tuple[Any, ...]]) -> None:
    for op, argument in tree:
        if op in (ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN):
            code.append((CHAR, _test_of((op, argument), flags), len(code) + 1))
        elif op is ops.SUBPATTERN:
            _write(argument[3], flags, code)
        elif op is ops.BRANCH:
            _write_branches(argument[1], flags, code)
        elif op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
            _write_repeat(*argument, flags=flags, code=code, lazy=op is ops.MIN_REPEAT)
        elif op is ops.AT:
            code.append((PLACE, argument))
        elif op in (ops.ASSERT, ops.ASSERT_NOT):
            inner: list[tuple[Any, ...]] = []
            _write(argument[1], flags, inner)
            assert argument[0] == 1, "this engine looks ahead, not back"
            code.append((LOOK, [*inner, (DONE,)], op is ops.ASSERT))
        else:
            raise NotImplementedError(op)  # teach the engine, or write the pattern without it


def _write_branches(branches: Any, flags: int, code: list[tuple[Any, ...]]) -> None:
    ends = []
    for branch in branches[:-1]:
        split = len(code)
        code.append(())
        _write(branch, flags, code)
        ends.append(len(code))
        code.append(())
        code[split] = (SPLIT, split + 1, len(code))
    _write(branches[-1], flags, code)
    for end in ends:
        code[end] = (JUMP, len(code))


def _write_repeat(
    least: int, most: Any, tree: Any, *, flags: int, code: list[tuple[Any, ...]], lazy: bool
) -> None:
    for _ in range(least):
        _write(tree, flags, code)
    splits = []
    for _ in range(1 if most is ops.MAXREPEAT else most - least):
        splits.append(len(code))
        code.append(())
        _write(tree, flags, code)
    if most is ops.MAXREPEAT:
        code.append((JUMP, splits[0]))
    for split in splits:
        paths = (split + 1, len(code))
        code[split] = (SPLIT, *(paths[::-1] if lazy else paths))


def _test_of(node: Any, flags: int) -> Callable[[Any], bool]:
    """Whether one character fits, as the real engine says; remembered per character."""
    tree = syntax.SubPattern(syntax.State(), [node])
    fits = re._compiler.compile(tree, flags).fullmatch  # type: ignore[attr-defined]
    return cache(lambda char: fits(char) is not None)


class _Engine:
    def __init__(self, program: list[tuple[Any, ...]], text: Text, steps: StepCounter) -> None:
        self._program = program
        self._text = text
        self._steps = steps

    def run(self, *, anchored: bool, repeats: bool) -> None:
        at = 0
        while at <= len(self._text):
            end = self._match(self._program, at)
            if anchored or (end is not None and not repeats):
                return
            at = max(end or 0, at + 1)

    def _match(self, program: list[tuple[Any, ...]], start: int) -> int | None:
        """Where the match ends that begins here."""
        waiting, text = [(0, start)], self._text
        while waiting:
            self._steps.add()
            line, at = waiting.pop()
            op, *rest = program[line]
            if op == CHAR:
                fits, then = rest
                if at < len(text) and fits(text[at : at + 1]):
                    waiting.append((then, at + 1))
            elif op == SPLIT:
                first, second = rest
                waiting += ((second, at), (first, at))
            elif op == JUMP:
                waiting.append((rest[0], at))
            elif op == DONE:
                return at
            elif self._is_at(rest[0], at) if op == PLACE else self._looks(rest, at):
                waiting.append((line + 1, at))
        return None

    def _looks(self, ahead: list[Any], at: int) -> bool:
        inner, wanted = ahead
        return (self._match(inner, at) is not None) is bool(wanted)

    def _is_at(self, where: Any, at: int) -> bool:
        if where in (ops.AT_BEGINNING, ops.AT_BEGINNING_STRING):
            return at == 0
        if where in (ops.AT_END, ops.AT_END_STRING):
            return at == len(self._text)
        assert where is ops.AT_BOUNDARY, where
        around = [self._text[max(place, 0) : place + 1] for place in (at - 1, at)]
        before, after = (char.isalnum() or char in ("_", b"_") for char in around)
        return before != after
