"""What is left to do once the ledger says that a consent version or a keyset is closed."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from schemas.events.access import Actor
from schemas.events.consent import ConsentRef, ConsentVersion
from schemas.ids import AgencyId, CaseId, DeskCode, ReferralId
from services.sector.domain.requests import Asker


class ClosureTask(BaseModel):
    """Who closed it, in which duty role; it stands beside the ledger's row until all of it is done."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    agency: AgencyId
    actor: Actor
    duty: DeskCode

    @property
    def by(self) -> Asker:
        """On whose behalf it goes on, also after a crash."""
        return Asker(self.agency, self.actor)


class WithdrawalTask(ClosureTask):
    """She took back the consent that a referral rests on."""

    kind: Literal["withdrawal"] = "withdrawal"
    referral: ReferralId
    consent: ConsentRef
    stop_contact: bool


class ReplacementTask(ClosureTask):
    """A newer version replaces the one that was closed; `request` tells whose version it is."""

    kind: Literal["replacement"] = "replacement"
    case: CaseId
    document: ConsentVersion
    request: str


class ErasureTask(ClosureTask):
    """The case is erased."""

    kind: Literal["erasure"] = "erasure"
    case: CaseId


Task = WithdrawalTask | ReplacementTask | ErasureTask
TASK: TypeAdapter[Task] = TypeAdapter(Annotated[Task, Field(discriminator="kind")])
