"""Invented partners, a founding act, and a stage on which they act without a database."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from schemas.events.governance import ProtocolDocument
from services.governance.domain.areas import Areas
from services.governance.domain.founding import FoundingAct, founding_acts
from services.governance.domain.life_cycle import (
    CLOCK,
    ActOutcome,
    GovernanceRecord,
    GovernanceRegister,
    Nothing,
    PartnerAct,
    PartnerActor,
    Rules,
    perform,
)
from services.governance.domain.tables import CYCLES
from tests.support.clock import NOON, StoppedClock
from tests.support.governance import KEYS

DELAY: Final = timedelta(days=1)
PROTOCOL: Final = json.loads((Path(__file__).parents[2] / "deploy/local/protocol.json").read_text("utf-8"))
FOUNDERS: Final[Mapping[str, str]] = {
    "un-office": "un",
    "ministry": "government",
    "open-hand-fund": "donor",
    "river-alliance": "civil_society",
    "dawn-movement": "womens_movement",
}
"""Partner → for whom it speaks."""


def described(constituency: str, **more: Any) -> dict[str, Any]:
    """A partner as another one proposes it."""
    return {"constituency": constituency, "level": "national", "area": "ZZ", **more}


def seats(partners: Mapping[str, str], until: datetime) -> list[dict[str, Any]]:
    """A seat for each of these partners."""
    return [
        {"partner": name, "constituency": one, "until": until.isoformat()} for name, one in partners.items()
    ]


def a_committee(
    partners: Mapping[str, str], chairs: tuple[str, str], until: datetime, **more: Any
) -> dict[str, Any]:
    """A committee with a seat for each of these partners."""
    return {
        "type": "steering",
        "level": "national",
        "area": "ZZ",
        "secretariat": "un-office",
        "composition": {"constituencies": sorted(set(partners.values()))},
        "seats": seats(partners, until),
        "co_chairs": chairs,
        **more,
    }


def a_founding(at: datetime = NOON, **more: Any) -> dict[str, Any]:
    """Five partners, their steering committee, and a mandate of two years for everything."""
    return {
        "partners": [{"id": name, **described(one)} for name, one in FOUNDERS.items()],
        "committee": {
            "id": "cmt_steering",
            **a_committee(FOUNDERS, ("ministry", "dawn-movement"), at + timedelta(days=700)),
        },
        "mandate": {
            "id": "mdt_steering",
            "committee": "cmt_steering",
            "subjects": ["admission", "protocol", "recommendation"],
            "area": "ZZ",
            "valid_from": at.isoformat(),
            "valid_until": (at + timedelta(days=600)).isoformat(),
        },
        **more,
    }


def a_protocol(parties: tuple[str, ...], version: int = 1, **more: Any) -> ProtocolDocument:
    """The project's example protocol between these parties."""
    return ProtocolDocument.model_validate(
        {**PROTOCOL, "id": "shared-care", "version": version, "parties": parties, **more}
    )


class Stage:
    """Governance's tables played without a database; what is refused raises and changes nothing."""

    def __init__(self, areas: Areas) -> None:
        self.clock = StoppedClock()
        self.register = GovernanceRegister()
        self.rules = Rules(areas, KEYS, DELAY)

    def found(self, **more: Any) -> list[ActOutcome]:
        """Begin with the founding act."""
        founding = FoundingAct.model_validate(a_founding(**more))
        return self._keep(
            perform(founding_acts(founding, self.clock.now()), self.register, CYCLES, self.rules)
        )

    def do(self, who: str, act: str, kind: str, name: str, body: Any = None) -> list[ActOutcome]:
        """`role partner`, such as `seat ministry`, does something."""
        role, _, partner = who.partition(" ")
        cycle = CYCLES[kind]
        model: type[BaseModel] = next(
            row.body for row in cycle.rows if row.act == act and role in row.by.split()
        )
        said = model.model_validate(body or {})
        return self._act(
            PartnerAct(kind, name, act, PartnerActor(role, partner, "s-1"), said, self.clock.now())
        )

    def tick(self, by: timedelta = timedelta()) -> list[ActOutcome]:
        """Let time pass, and the clock act on whatever is due, the earliest first."""
        now, outcomes = self.clock.forward(by), []
        while due := sorted(
            (timer[0], kind, one.id, timer[1])
            for kind, cycle in CYCLES.items()
            for one in self.register.of(kind)
            if (timer := cycle.timer(one)) and timer[0] <= now
        ):
            _, kind, name, act = due[0]
            outcomes += self._act(PartnerAct(kind, name, act, PartnerActor(CLOCK), Nothing(), now))
        return outcomes

    def state(self, kind: str, name: str) -> str | None:
        """In which state something is."""
        record: GovernanceRecord[Any] | None = self.register.get(kind, name)
        return record.state if record else None

    def _act(self, act: PartnerAct) -> list[ActOutcome]:
        return self._keep(perform([act], self.register, CYCLES, self.rules))

    def _keep(self, outcomes: list[ActOutcome]) -> list[ActOutcome]:
        for one in outcomes:
            self.register.put(one.record)
        return outcomes


def facts_of(outcomes: list[ActOutcome]) -> list[str]:
    """The short types of all facts, in order."""
    return [fact.type.removeprefix("governance.") for one in outcomes for fact in one.facts]
