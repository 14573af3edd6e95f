"""The founding act: first partners, first committee and its mandate, signed by two of three holders."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from pydantic import Field

from schemas.events.governance import Signatures
from schemas.ids import AgencyId, CommitteeId, MandateId
from services.governance.domain.composition import CommitteeProposal
from services.governance.domain.life_cycle import FOUNDING, ActBody, PartnerAct, PartnerActor
from services.governance.domain.mandates import MandateProposal
from services.governance.domain.partners import PartnerDescription
from services.runtime.errors import define_refusal

_define: Final = partial(define_refusal, __name__)

FoundedAlready: Final = _define(
    "founded_already",
    "Committees stand already and decide; the same act comes again with a new mandate alone.",
)
FoundingUnfit: Final = _define(
    "founding_unfit",
    "The first committee stands below none, and the first mandate is its own, given by none.",
    422,
)


class FoundingPartner(PartnerDescription):
    """A partner of the founding act."""

    id: AgencyId


class FoundingCommittee(CommitteeProposal):
    """The first committee."""

    id: CommitteeId


class FoundingMandate(MandateProposal):
    """What the first committee may decide."""

    id: MandateId


class FoundingAct(ActBody):
    """Who begins, in which committee, with which mandate."""

    partners: tuple[FoundingPartner, ...] = Field(min_length=3, max_length=100)
    committee: FoundingCommittee
    mandate: FoundingMandate
    signatures: Signatures = ()


def founding_acts(founding: FoundingAct, at: datetime) -> Sequence[PartnerAct]:
    """The acts that a founding act stands for; raises FoundingUnfit."""
    committee, mandate = founding.committee, founding.mandate
    if committee.above or mandate.given_by or mandate.committee != committee.id:
        raise FoundingUnfit
    bodies: list[tuple[str, type[ActBody], FoundingPartner | FoundingCommittee | FoundingMandate]] = [
        *(("partner", PartnerDescription, one) for one in founding.partners),
        ("committee", CommitteeProposal, committee),
        ("mandate", MandateProposal, mandate),
    ]
    return [
        PartnerAct(
            kind, one.id, "found", PartnerActor(FOUNDING), body(**{k: v for k, v in one if k != "id"}), at
        )
        for kind, body, one in bodies
    ]
