"""How a pull travels: what the recipient's sector asks the owner's, and what it passes on unopened."""

from pydantic import BaseModel, ConfigDict

from schemas.events.access import Actor, Receipt, SignedPermit
from schemas.events.break_glass import BreakGlassApproval
from schemas.events.codes import Groups
from schemas.events.consent import Purpose
from schemas.ids import AgencyId, ReferralId
from schemas.wire.key_records import KeyRecord
from schemas.wire.packets import Release


class PacketPull(BaseModel):
    """`POST /v1/releases`, between sector services: who asks for which groups, and with which key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    referral: ReferralId
    purpose: Purpose
    groups: Groups
    recipient: AgencyId
    actor: Actor
    key_record: KeyRecord
    approval: BreakGlassApproval | None = None


class PullAnswer(BaseModel):
    """What a pull is answered: sealed to the agency's key; permit and receipt prove that the trail has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: Release
    permit: SignedPermit
    receipt: Receipt
