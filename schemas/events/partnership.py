"""What the partners decided together: the facts of governance, and how committees and mandates stand now.

Facts name organisations, bodies and counts. What was said, who said it and every title stay with governance.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.events.codes import Area
from schemas.events.governance import Sector
from schemas.ids import AgencyId, CommitteeId, DecisionId, MandateId, MeetingId, ProtocolId
from schemas.wire.body import Body, Code, Count, Flag, Instant, by_type, listed

CONSTITUENCIES: Final = (
    "un", "government", "donor", "civil_society", "womens_movement", "affected_group", "academia",
    "oversight", "sector_agency",
)  # fmt: skip
"""Whom a partner speaks for."""
CIVIL: Final = frozenset({"civil_society", "womens_movement"})
"""The constituencies without which nothing is decided."""
LEVELS: Final = ("global", "regional", "national", "district", "local", "community")
"""Where a partner or a committee works, the widest first."""
SUBJECTS: Final = ("admission", "protocol", "code_list", "work_plan", "recommendation", "release")
"""What a mandate can give power over; admission is of committees and of their mandates too."""
PHASES: Final = ("assessment", "analysis", "planning", "implementation", "monitoring", "evaluation")
"""The phases of the programming cycle."""

Constituency = Annotated[Code, listed(CONSTITUENCIES)]
Level = Annotated[Code, listed(LEVELS)]
Subject = Annotated[Code, listed(SUBJECTS)]
Phase = Annotated[Code, listed(PHASES)]
CommitteeType = Literal["steering", "coordination", "oversight"]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Percent = Annotated[int, Field(strict=True, ge=0, le=1_000)]
CoChairs = Annotated[tuple[AgencyId, ...], Field(min_length=2, max_length=2)]
"""Two partners of different constituencies who chair together."""
Seats = Mapping[Constituency, Count]
"""Constituency → how many seats."""


class CommitteeSeat(BaseModel):
    """A place in a committee: which partner holds it, for whom it speaks, and until when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partner: AgencyId
    constituency: Constituency
    until: Instant


class CommitteeBase(Body):
    """What every fact about a committee says."""

    key_field: ClassVar[str] = "committee"

    committee: CommitteeId
    level: Level
    area: Area


class PartnerBase(Body):
    """What every fact about a partner says."""

    key_field: ClassVar[str] = "partner"

    partner: AgencyId
    constituency: Constituency
    level: Level


class MandateBase(Body):
    """What every fact about a mandate says."""

    key_field: ClassVar[str] = "mandate"

    mandate: MandateId
    committee: CommitteeId


class ProtocolBase(Body):
    """What every fact about a version of a protocol says."""

    key_field: ClassVar[str] = "protocol"

    protocol: ProtocolId
    version: Count


class CommitteeCurrent(CommitteeBase):
    """A committee as it stands now."""

    type: ClassVar[str] = "governance.committee_current"

    version: Count
    kind: CommitteeType
    status: Literal["constituted", "incomplete"]
    above: CommitteeId | None = None
    seats: tuple[CommitteeSeat, ...]
    co_chairs: CoChairs


class MandateCurrent(MandateBase):
    """A mandate as it stands now: what a committee may decide, where, and until when."""

    type: ClassVar[str] = "governance.mandate_current"

    version: Count
    status: Literal["live", "expired"]
    given_by: CommitteeId | None = None
    subjects: tuple[Subject, ...]
    area: Area
    valid_from: Instant
    valid_until: Instant


class PartnerAdmitted(PartnerBase):
    """A partner takes part: two of different constituencies agreed, or the founding act says so."""

    type: ClassVar[str] = "governance.partner_admitted"

    area: Area
    sector: Sector | None = None


class PartnerLeft(PartnerBase):
    """A partner takes part no longer."""

    type: ClassVar[str] = "governance.partner_left"


class AgencyAdmitted(Body):
    """A partner with a sector answers referrals, under these keys."""

    type: ClassVar[str] = "governance.agency_admitted"
    key_field: ClassVar[str] = "agency"

    agency: AgencyId
    version: Count
    sector: Sector


class AgencySuspended(AgencyAdmitted):
    """An agency answers no referrals until it is admitted again."""

    type: ClassVar[str] = "governance.agency_suspended"


class CommitteeConstituted(CommitteeBase):
    """A committee's seats keep its rule, and it may decide what its mandate covers."""

    type: ClassVar[str] = "governance.committee_constituted"

    kind: CommitteeType
    above: CommitteeId | None = None
    seats: Seats
    civil_share: Percent
    """Civil society's and women's movements' seats together, per cent."""


class CommitteeIncomplete(CommitteeBase):
    """A seat was lost without which the committee decides nothing; live referrals go on."""

    type: ClassVar[str] = "governance.committee_incomplete"

    broken: Code
    """The rule that the seats no longer keep."""
    seats: Seats
    civil_share: Percent


class SeatLost(CommitteeBase):
    """A seat stands empty."""

    type: ClassVar[str] = "governance.seat_lost"

    constituency: Constituency
    reason: Literal["resigned", "term_ended", "partner_left"]


class SeatFilled(CommitteeBase):
    """A seat was taken."""

    type: ClassVar[str] = "governance.seat_filled"

    constituency: Constituency


class MandateGiven(MandateBase):
    """A committee may decide on these subjects, in this area, for this long."""

    type: ClassVar[str] = "governance.mandate_given"

    level: Level
    given_by: CommitteeId | None = None
    subjects: tuple[Subject, ...]
    area: Area
    valid_until: Instant


class MandateExpiring(MandateBase):
    """A mandate ends in so many days; after that its committee decides nothing new."""

    type: ClassVar[str] = "governance.mandate_expiring"

    days_left: Count


class MandateExpired(MandateBase):
    """A mandate has ended: it blocks new decisions, and nothing else."""

    type: ClassVar[str] = "governance.mandate_expired"


class MeetingHeld(CommitteeBase):
    """A committee met: who was there, by constituency, and how much was decided."""

    type: ClassVar[str] = "governance.meeting_held"

    meeting: MeetingId
    present: Seats
    had_quorum: Flag
    decided: Count
    postponed: Count


class DecisionBase(CommitteeBase):
    """What every fact about an item says."""

    decision: DecisionId
    subject: Subject
    phase: Phase | None = None
    """Of the programming cycle, where the item belongs to one."""


class DecisionTabled(DecisionBase):
    """A seat put something before its committee, whatever becomes of it."""

    type: ClassVar[str] = "governance.decision_tabled"

    tabled_by: Constituency


class DecisionTaken(DecisionBase):
    """A committee decided, with its quorum and within its mandate."""

    type: ClassVar[str] = "governance.decision_taken"

    meeting: MeetingId
    tabled_by: Constituency
    outcome: Literal["adopted", "rejected"]
    method: Literal["consensus", "vote"]
    votes_for: Count
    dissent: Count
    abstained: Count
    recused: Count


class DecisionRoutedUp(DecisionBase):
    """What lies above the committee's mandate waits as an item of the committee above."""

    type: ClassVar[str] = "governance.decision_routed_up"

    to: CommitteeId
    as_decision: DecisionId


class EffortLogged(Body):
    """Hours that a partner gave under a mandate, and whether its month is above the threshold."""

    type: ClassVar[str] = "governance.effort_logged"
    key_field: ClassVar[str] = "partner"

    partner: AgencyId
    constituency: Constituency
    mandate: MandateId
    month: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
    hours: Count
    hours_in_month: Count
    is_above: Flag
    """More than four fifths of the hours that the partner offers a month."""


class BudgetUsed(Body):
    """Money that a partner spent on a mandate's work plan, and whether the year is above the threshold."""

    type: ClassVar[str] = "governance.budget_used"
    key_field: ClassVar[str] = "partner"

    partner: AgencyId
    constituency: Constituency
    mandate: MandateId
    year: Count
    amount: Count
    currency: Currency
    used_of_plan: Percent
    is_above: Flag
    """More than four fifths of the year's plan."""


class ProtocolAdopted(ProtocolBase):
    """A committee adopted a version of a protocol; it waits for two signatures."""

    type: ClassVar[str] = "governance.protocol_adopted"

    decision: DecisionId


class ProtocolSigned(ProtocolBase):
    """Two holders have signed it, and this is when it comes into force."""

    type: ClassVar[str] = "governance.protocol_signed"

    in_force_at: Instant


class ProtocolInForce(ProtocolBase):
    """Referrals rest on this version from now on."""

    type: ClassVar[str] = "governance.protocol_in_force"


class ProtocolExpiring(ProtocolBase):
    """The version in force ends soon; adopt the next one."""

    type: ClassVar[str] = "governance.protocol_expiring"

    days_left: Count


class ProtocolExpired(ProtocolBase):
    """The version has ended: no new offer and no pull rests on it."""

    type: ClassVar[str] = "governance.protocol_expired"


class ProtocolReplaced(ProtocolBase):
    """A newer version is in force in its place."""

    type: ClassVar[str] = "governance.protocol_replaced"


FACTS: Final = by_type(
    PartnerAdmitted, PartnerLeft, AgencyAdmitted, AgencySuspended, CommitteeConstituted, CommitteeIncomplete,
    SeatLost, SeatFilled, MandateGiven, MandateExpiring, MandateExpired, MeetingHeld, DecisionTabled,
    DecisionTaken, DecisionRoutedUp, EffortLogged, BudgetUsed, ProtocolAdopted, ProtocolSigned,
    ProtocolInForce, ProtocolExpiring, ProtocolExpired, ProtocolReplaced,
)  # fmt: skip
