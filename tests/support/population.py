"""Invented months of referrals: large and small areas, zeros, one survivor; as tables of exact counts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, NamedTuple

from services.governance.domain.disclosure import CountTable

SIZES: Final = (0, 1, 5, 12, 22, 33, 80, 300)
TABLES: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "by_need": (("need", "area"), "referrals"),
    "by_urgency": (("urgency", "area"), "referrals"),
    "by_agency": (("agency",), "referrals"),
    "urgency_of_care": (("urgency", "area"), "by_need.need-0"),
    "late": (("urgency", "area"), "some referrals"),
    "survivors": (("need", "area"), "some by_need"),
}
"""Table → its dimensions, and what it divides."""


COUNTED = {
    "survivors": lambda one: one.is_first,
    "late": lambda one: one.is_late,
    "urgency_of_care": lambda one: one.need == "need-0",
}


class InventedReferral(NamedTuple):
    """One referral, as far as tables count it."""

    need: str
    urgency: str
    agency: str
    area: str
    is_first: bool
    is_late: bool


class Population:
    """The referrals of one month, and the codes that there could be."""

    def __init__(self, seed: int) -> None:
        draw = Random(seed)
        most = {"need": 4, "urgency": 3, "agency": 4, "area": 3}
        self.codes = {
            name: [f"{name}-{one}" for one in range(draw.randint(1, n))] for name, n in most.items()
        }
        self.referrals: list[InventedReferral] = []
        for area in self.codes["area"]:
            weights = {name: [draw.random() ** 3 for _ in codes] for name, codes in self.codes.items()}
            for _ in range(draw.choice(SIZES)):
                need, urgency, agency = (
                    draw.choices(self.codes[name], weights[name])[0] for name in ("need", "urgency", "agency")
                )
                flags = draw.random() < 0.8, draw.random() < 0.7
                self.referrals.append(InventedReferral(need, urgency, agency, area, *flags))

    def tables(self, more: Sequence[InventedReferral] = ()) -> list[CountTable]:
        """The tables of these referrals, and of some more."""
        referrals = [*self.referrals, *more]
        return [
            CountTable(name, dimensions, total, Counter(
                tuple(getattr(one, dimension) for dimension in dimensions)
                for one in referrals
                if COUNTED.get(name, bool)(one)
            ))
            for name, (dimensions, total) in TABLES.items()
        ]  # fmt: skip
