"""An attacker on released tables: solves for what is hidden, and reads what was published alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from scipy.optimize import linprog

from services.governance.domain.disclosure import CountTable

Published = Mapping[str, Mapping[tuple[str, ...], str]]
MANY = 10_000
"""More than anybody counts: an upper bound where none is known."""


class Attack:
    """Everything that the tables of one release say, as a linear programme."""

    def __init__(self, tables: Sequence[CountTable], published: Published) -> None:
        self.cells = [(name, keys) for name, rows in published.items() for keys in rows]
        self.column = {cell: number for number, cell in enumerate(self.cells)}
        self.published = published
        self.boxes = [box_of(published[name][keys]) for name, keys in self.cells]
        self.equal: list[Any] = []
        self.equal_to: list[float] = []
        self.below: list[Any] = []
        names = {table.name for table in tables}
        sums: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
        for table in sorted(tables, key=lambda one: one.total.startswith("some ")):
            base, _, code = table.total.removeprefix("some ").partition(".")
            is_local, parts = "area" in table.dimensions, dict[tuple[str, ...], dict[Any, float]]()
            for keys in published[table.name]:
                area = keys[-1:] if is_local else ()
                wholes = [(code, *area)] if code else [keys] if base in names else [(), area]
                for whole in {*wholes}:
                    parts.setdefault(whole, {})[table.name, keys] = 1
            for whole, cells in parts.items():
                row = self.row(cells)
                if base in names:
                    known = [self.row({(base, whole): 1})] if whole in published[base] else []
                else:
                    known = sums.setdefault((base, whole), [])
                for other in known[:1]:
                    if table.total.startswith("some "):
                        self.below.append(row - other)
                    else:
                        self.know(row - other, 0)
                known.append(row)

    def row(self, weights: Mapping[tuple[str, tuple[str, ...]], float]) -> Any:
        """A sum of cells as a row of the programme."""
        row = numpy.zeros(len(self.cells))
        for cell, weight in weights.items():
            row[self.column[cell]] += weight
        return row

    def know(self, row: Any, value: float) -> None:
        """The attacker also knows the value of this sum."""
        self.equal.append(row)
        self.equal_to.append(value)

    def narrowed(self) -> list[tuple[str, tuple[str, ...]]]:
        """The cells that are not published as a number of ten or more, and known within less than ten."""
        hidden = [
            number
            for number, (name, keys) in enumerate(self.cells)
            if not (said := self.published[name][keys]).isdecimal() or int(said) < 10
        ]
        low, high = numpy.full(len(self.cells), numpy.inf), numpy.full(len(self.cells), -numpy.inf)
        for number in hidden:
            for sign in (1, -1):
                if high[number] - low[number] < 10:  # what another solution showed need not be asked again
                    found = self._extreme(number, sign)
                    low, high = numpy.minimum(low, found), numpy.maximum(high, found)
        return [self.cells[number] for number in hidden if high[number] - low[number] < 10 - 1e-6]

    def _extreme(self, number: int, sign: int) -> Any:
        """Counts that agree with all that is known, with the least (1) or greatest (-1) of this cell."""
        costs = numpy.zeros(len(self.cells))
        costs[number] = sign
        found = linprog(
            costs,
            A_ub=numpy.array(self.below) if self.below else None,
            b_ub=numpy.zeros(len(self.below)) if self.below else None,
            A_eq=numpy.array(self.equal) if self.equal else None,
            b_eq=self.equal_to or None,
            bounds=self.boxes,
        )
        assert found.status == 0, found.message
        return found.x


def box_of(said: str) -> tuple[float, float]:
    """Between which counts a published value stands for."""
    if said.isdecimal():
        return (max(11, int(said) - 2), int(said) + 2) if int(said) >= 10 else (int(said), int(said))
    return {"<11": (0, 10), "*": (11, MANY), "-": (0, MANY)}[said]
