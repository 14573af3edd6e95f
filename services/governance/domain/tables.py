"""All aggregates of governance, each with its table; one more is one more file and one more word here."""

from typing import Final

from services.governance.domain.committees import COMMITTEES
from services.governance.domain.decisions import DECISIONS
from services.governance.domain.dialogues import DIALOGUES
from services.governance.domain.histories import HISTORIES
from services.governance.domain.lessons import LESSONS
from services.governance.domain.life_cycle import Cycles
from services.governance.domain.mandates import MANDATES
from services.governance.domain.meetings import MEETINGS
from services.governance.domain.partners import PARTNERS
from services.governance.domain.protocols import PROTOCOLS
from services.governance.domain.recommendations import RECOMMENDATIONS
from services.governance.domain.releases import RELEASES
from services.governance.domain.scorecards import SCORECARDS

CYCLES: Final[Cycles] = {
    cycle.kind: cycle
    for cycle in (
        PARTNERS, COMMITTEES, MANDATES, MEETINGS, DECISIONS, PROTOCOLS, DIALOGUES, RECOMMENDATIONS,
        SCORECARDS, LESSONS, HISTORIES, RELEASES,
    )
}  # fmt: skip
