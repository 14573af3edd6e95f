"""Disclosure control: which counts of a period may be shown, so that nobody finds out one person's.

Whoever attacks knows everything that is shown, and that tables of the same total count the same events: in
each area their cells give the same sum, and so do they in all. That is a tree of sums, in which two passes
give the exact bounds of every cell. Cells are hidden until no hidden one is narrower than `WIDTH`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Final, NamedTuple

from services.governance.domain.figures import AREA

THRESHOLD: Final = 11
"""The smallest count that is shown."""
BASE: Final = 5
"""Shown counts are rounded to this."""
WIDTH: Final = 10
"""How wide an interval every hidden cell keeps, whatever else is shown."""
STEP_MIN: Final = 15
"""A correction keeps a number that moved by less."""
CELLS_MAX: Final = 20_000
"""How many cells a release has at most."""
SMALL, STAR, VOID = "<11", "*", "-"
"""Hidden: zero to ten; at least eleven, hidden for another's sake; nothing is said, zero or many."""

_FREE: Final = 10**12
"""No upper bound: more than whatever is counted."""
_BOXES: Final = {SMALL: (0, THRESHOLD - 1), STAR: (THRESHOLD, _FREE), VOID: (0, _FREE)}
_FITS: Final = {SMALL: WIDTH, STAR: THRESHOLD + WIDTH, VOID: WIDTH}
"""Up to where the interval of a hidden cell must reach at least."""

Keys = tuple[str, ...]
Shown = dict[str, dict[Keys, str]]
"""Table → keys → what is shown."""


class CountTable(NamedTuple):
    """The exact counts of one table; keys that are absent count nothing."""

    name: str
    dimensions: tuple[str, ...]
    total: str
    """Tables of one total count the same events; where it names a table, some of its cells' events."""
    counts: Mapping[Keys, int]


class CellGroup(NamedTuple):
    """A sum: the counts of these nodes give that of their parent."""

    parent: int
    nodes: tuple[int, ...]


def rounded(count: int) -> int:
    """The count as it is shown."""
    return (count + BASE // 2) // BASE * BASE


def grid(table: CountTable, codes: Mapping[str, Collection[str]]) -> list[Keys]:
    """Every combination of codes, those that count nothing too: that one is absent would tell."""
    seen: list[set[str]] = [set(codes.get(dimension, ())) for dimension in table.dimensions]
    for keys in table.counts:
        for known, code in zip(seen, keys, strict=True):
            known.add(code)
    return sorted(product(*seen))


def size(tables: Sequence[CountTable], codes: Mapping[str, Collection[str]]) -> int:
    """How many cells these tables have."""
    return sum(len(grid(table, codes)) for table in tables)


def protect(tables: Sequence[CountTable], codes: Mapping[str, Collection[str]]) -> Shown:
    """What is shown of these counts; needs `sums_agree`."""
    tree = SumTree(tables, codes)
    marks = {node: SMALL if count < THRESHOLD else str(rounded(count)) for node, count in tree.counts.items()}
    while narrow := tree.narrow({node: _box(mark) for node, mark in marks.items()}, marks):
        for node, reach in narrow.items():
            tree.hide_for(node, reach, marks)
    return tree.shown(marks)


def correct(
    tables: Sequence[CountTable], codes: Mapping[str, Collection[str]], old: Shown
) -> tuple[Shown, bool]:
    """What a correction shows in place of the old numbers, and whether it would tell what these hid.

    Hidden stays what was hidden, under the same mark. Whoever has both releases learns at most the counts
    that moved: these are taken as known exactly, and then no hidden cell may be too narrow.
    """
    tree = SumTree(tables, codes, old)
    marks: dict[int, str] = {}
    boxes: dict[int, tuple[int, int]] = {}
    reveals = False
    for node, count in tree.counts.items():
        table, keys = tree.cells[node]
        mark = old.get(table, {}).get(keys, SMALL)
        low, high = _box(mark)
        if not mark.isdecimal():
            reveals |= not low <= count <= high
        elif abs(rounded(count) - int(mark)) < STEP_MIN:
            low, high = min(low, count), max(high, count)
        else:
            reveals |= count < THRESHOLD
            mark, low, high = str(rounded(count)), count, count
        marks[node], boxes[node] = mark, (low, high)
    return tree.shown(marks), reveals or bool(tree.narrow(boxes, marks))


def sums_agree(tables: Sequence[CountTable]) -> bool:
    """Whether tables of the same total count the same events, and a table's part never more than it."""
    by_name, sums = {table.name: table for table in tables}, dict[tuple[str, bool], Counter[str]]()
    for table in tables:
        if whole := by_name.get(table.total):
            if any(count > whole.counts.get(keys, 0) for keys, count in table.counts.items()):
                return False
            continue
        for is_local in {False, AREA in table.dimensions}:
            own = Counter[str]()
            for keys, count in table.counts.items():
                own[keys[-1] if is_local else ""] += count
            if sums.setdefault((table.total, is_local), +own) != +own:
                return False
    return True


class SumTree:
    """Cells, areas and totals as nodes, and which sum gives which."""

    def __init__(
        self, tables: Sequence[CountTable], codes: Mapping[str, Collection[str]], old: Shown | None = None
    ) -> None:
        self.cells: dict[int, tuple[str, Keys]] = {}
        self.counts: dict[int, int] = {}
        self._groups: list[CellGroup] = []
        """Each sum after those that its parent is part of."""
        self._part_of: dict[int, int] = {}
        """Node of a cell of which only some events are counted → node of that cell."""
        self._size = 0
        by_name = {table.name: table for table in tables}
        nodes: dict[tuple[str, Keys], int] = {}
        for table in tables:
            for keys in sorted({*grid(table, codes), *(old or {}).get(table.name, ())}):
                nodes[table.name, keys] = node = self._node()
                self.cells[node], self.counts[node] = (table.name, keys), table.counts.get(keys, 0)
        for total in sorted({table.total for table in tables} - by_name.keys()):
            self._add_total([table for table in tables if table.total == total], nodes)
        for table in tables:
            if table.total in by_name:
                for (name, keys), node in list(nodes.items()):
                    if name == table.name and (whole := nodes.get((table.total, keys))) is not None:
                        self._groups.append(CellGroup(whole, (node, self._node())))
                        self._part_of[node] = whole
        self._group_of = {node: group for group in self._groups for node in group.nodes}
        self._below: dict[int, list[int]] = {}
        for group in reversed(self._groups):
            below = self._below.setdefault(group.parent, [])
            for node in group.nodes:
                below += [node] if node in self.cells else []
                below += self._below.get(node, [])

    def narrow(self, boxes: Mapping[int, tuple[int, int]], marks: Mapping[int, str]) -> dict[int, int]:
        """Hidden cells whose interval is too narrow, one for each sum, and how far it reaches."""
        low, high = self._bounds(boxes)
        found: dict[int, int] = {}
        for node, mark in marks.items():
            if not mark.isdecimal() and high[node] - low[node] < WIDTH and node not in self._part_of:
                found.setdefault(self._group_of[node].parent, node)
        return {node: high[node] for node in found.values()}

    def hide_for(self, node: int, reach: int, marks: dict[int, str]) -> None:
        """Hide one more cell, so that this hidden one is less narrow: the smallest that is enough."""
        group = self._group_of[node]
        missing = _FITS[marks[node]] - reach
        gains = {one: _box(marks[one])[0] - THRESHOLD for one in self._by_count(group.nodes, marks)}
        enough = [one for one, gain in gains.items() if gain >= missing]
        some = [one for one, gain in gains.items() if gain]
        around = self._by_count(set(self._below[group.parent]) - set(group.nodes), marks)
        whole = self._group_of.get(group.parent)
        if enough or some:
            self._mark(enough[0] if enough else some[-1], STAR, marks)
        elif around:
            self._mark(around[0], STAR, marks)
        elif any(marks[one] != VOID for one in self._below[group.parent]) and whole:
            for one in self._below[group.parent]:
                self._mark(one, VOID, marks)
        elif whole and (rest := self._by_count(self._below[whole.parent], marks)):
            self._mark(rest[0], STAR, marks)
        else:
            for one in self._below[whole.parent if whole else group.parent]:
                self._mark(one, VOID, marks)

    def shown(self, marks: Mapping[int, str]) -> Shown:
        """The marks by table and keys."""
        shown: Shown = {}
        for node, (table, keys) in self.cells.items():
            shown.setdefault(table, {})[keys] = marks[node]
        return shown

    def _node(self) -> int:
        self._size += 1
        return self._size - 1

    def _add_total(self, tables: Sequence[CountTable], nodes: Mapping[tuple[str, Keys], int]) -> None:
        """The sums of one total: over its areas, then each table's in each area, or over all."""
        top, areas, sums = self._node(), dict[str, int](), list[CellGroup]()
        for table in tables:
            by_parent: dict[int, list[int]] = {}
            for (name, keys), node in nodes.items():
                if name == table.name:
                    is_local = AREA in table.dimensions
                    if is_local and keys[-1] not in areas:
                        areas[keys[-1]] = self._node()
                    by_parent.setdefault(areas[keys[-1]] if is_local else top, []).append(node)
            sums += [CellGroup(parent, tuple(below)) for parent, below in by_parent.items()]
        if areas:
            self._groups.append(CellGroup(top, tuple(areas.values())))
        self._groups += sums

    def _bounds(self, boxes: Mapping[int, tuple[int, int]]) -> tuple[list[int], list[int]]:
        """The exact bounds of every node: from the cells up, then from the totals down."""
        low, high = [0] * self._size, [_FREE] * self._size
        for node, box in boxes.items():
            low[node], high[node] = box
        for parent, nodes in reversed(self._groups):
            low[parent] = max(low[parent], sum(low[one] for one in nodes))
            high[parent] = min(high[parent], sum(high[one] for one in nodes))
        for parent, nodes in self._groups:
            lows, highs = sum(low[one] for one in nodes), sum(high[one] for one in nodes)
            for one in nodes:
                own = low[one], high[one]
                low[one] = max(own[0], low[parent] - (highs - own[1]))
                high[one] = min(own[1], high[parent] - (lows - own[0]))
        return low, high

    def _by_count(self, nodes: Collection[int], marks: Mapping[int, str]) -> list[int]:
        """Those of these nodes that are cells whose count is shown, the smallest first."""
        shown = [one for one in nodes if marks.get(one, VOID).isdecimal() and one not in self._part_of]
        return sorted(shown, key=lambda one: (self.counts[one], one))

    def _mark(self, node: int, mark: str, marks: dict[int, str]) -> None:
        """Mark a cell, and with it what counts some of its events."""
        for one in (node, *self._below.get(node, ())):
            if mark == VOID or marks[one].isdecimal():
                marks[one] = mark


def _box(mark: str) -> tuple[int, int]:
    """Between which counts this mark stands for."""
    if mark.isdecimal():
        return max(THRESHOLD, int(mark) - BASE // 2), int(mark) + BASE // 2
    return _BOXES[mark]
