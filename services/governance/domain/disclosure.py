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
CELLS_MAX: Final = 50_000
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
    """What it divides: `answers` as other tables do, `answers.declined` a cell of a table in each area.

    With `some ` before it the table counts but some of these events, or some of those of a table's each cell.
    """
    counts: Mapping[Keys, int]

    @property
    def is_some(self) -> bool:
        """Whether what it divides has events that it does not count."""
        return self.total.startswith("some ")

    @property
    def base(self) -> str:
        """The total or the table that it divides."""
        return self.total.removeprefix("some ").partition(".")[0]

    def parent(self, keys: Keys, *, is_table: bool) -> tuple[str, Keys]:
        """Of which sum a cell is part: a total's, all of it or in one area, or a cell of another table."""
        code, area = self.total.partition(".")[2], keys[-1:] if self.dimensions[-1:] == (AREA,) else ()
        return self.base, (code, *area) if code else keys if is_table else area


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
    """Whether tables that count the same events give the same sums, and some events never more than all."""
    wholes = {table.name: Counter(table.counts) for table in tables}
    totals: dict[tuple[str, bool], Counter[Keys]] = {}
    for table in sorted(tables, key=lambda one: one.is_some):
        is_table, own = table.base in wholes, Counter[Keys]()
        for keys, count in table.counts.items():
            own[table.parent(keys, is_table=is_table)[1]] += count
        own = +own
        if is_table:
            code = table.total.partition(".")[2]
            whole = {keys: count for keys, count in (+wholes[table.base]).items() if code in ("", keys[0])}
            sides = [(own, Counter(whole))]
        else:
            local = AREA in table.dimensions
            sides = [(own, totals.setdefault((table.base, local), own))]
            all_of_it = +Counter[Keys]({(): own.total()})
            sides += [(all_of_it, totals.setdefault((table.base, False), all_of_it))]
        if any(not mine <= its if table.is_some else mine != its for mine, its in sides):
            return False
    return True


class SumTree:
    """Cells, areas and totals as nodes, and which sum gives which."""

    def __init__(
        self, tables: Sequence[CountTable], codes: Mapping[str, Collection[str]], old: Shown | None = None
    ) -> None:
        self.cells: dict[int, tuple[str, Keys]] = {}
        self.counts: dict[int, int] = {}
        self._nodes: dict[tuple[str, Keys], int] = {}
        self._size = 0
        for table in tables:
            for keys in sorted({*grid(table, codes), *(old or {}).get(table.name, ())}):
                node = self._node(table.name, keys)
                self.cells[node], self.counts[node] = (table.name, keys), table.counts.get(keys, 0)
        self._likewise: set[int] = set()
        """Cells that count some events of one other cell: hidden where that one is."""
        self._groups = self._sums(tables)
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
            if not mark.isdecimal() and high[node] - low[node] < WIDTH and node not in self._likewise:
                found.setdefault(self._group_of[node].parent, node)
        return {node: high[node] for node in found.values()}

    def hide_for(self, node: int, reach: int, marks: dict[int, str]) -> None:
        """Hide one more cell, so that this hidden one is less narrow: the smallest that is enough.

        First of its own sum, then of what gives the same sum, in ever wider circles; where all of a circle
        is hidden and it is not enough, nothing is said of it.
        """
        group = self._group_of[node]
        missing = _FITS[marks[node]] - reach
        gains = {one: _box(marks[one])[0] - THRESHOLD for one in self._by_count(group.nodes, marks)}
        enough = [one for one, gain in gains.items() if gain >= missing]
        some = [one for one, gain in gains.items() if gain]
        if enough or some:
            self._mark(enough[0] if enough else some[-1], STAR, marks)
            return
        known, circle = set(group.nodes), group.parent
        while True:
            around = [*self._below[circle], *([circle] if circle in self.cells else [])]
            if others := self._by_count(set(around) - known, marks):
                self._mark(others[0], STAR, marks)
                return
            if any(marks[one] != VOID for one in around):
                for one in around:
                    self._mark(one, VOID, marks)
                return
            if circle not in self._group_of:
                return  # what another cell needed in this round hid all of it
            known, circle = set(), self._group_of[circle].parent

    def shown(self, marks: Mapping[int, str]) -> Shown:
        """The marks by table and keys."""
        shown: Shown = {}
        for node, (table, keys) in self.cells.items():
            shown.setdefault(table, {})[keys] = marks[node]
        return shown

    def _node(self, name: str, keys: Keys) -> int:
        """The node of a cell, an area or a total; a name that says none makes a nameless one."""
        if name and (name, keys) in self._nodes:
            return self._nodes[name, keys]
        self._nodes[name, keys] = self._size
        self._size += 1
        return self._size - 1

    def _sums(self, tables: Sequence[CountTable]) -> list[CellGroup]:
        """Each sum before those of its parts: over areas, then each table's, then tables' within cells."""
        by_name = {table.name: table for table in tables}
        own, areas = list[CellGroup](), dict[str, set[int]]()

        def depth(table: CountTable) -> int:
            return 1 + depth(by_name[table.base]) if table.base in by_name else 0

        for table in sorted(tables, key=depth):
            by_parent: dict[int, list[int]] = {}
            for node, (name, keys) in self.cells.items():
                if name == table.name:
                    base, place = table.parent(keys, is_table=table.base in by_name)
                    parent = self._node(base, place)
                    by_parent.setdefault(parent, []).append(node)
                    if place and table.base not in by_name:
                        areas.setdefault(base, set()).add(parent)
                    elif place == keys:
                        self._likewise.add(node)
            for parent, below in by_parent.items():
                own.append(CellGroup(parent, (*below, *([self._node("", ())] if table.is_some else []))))
        tops = [CellGroup(self._node(base, ()), tuple(sorted(nodes))) for base, nodes in areas.items()]
        return tops + own

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
        shown = [one for one in nodes if marks.get(one, VOID).isdecimal() and one not in self._likewise]
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
