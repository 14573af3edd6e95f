"""What agencies send; unknown fields and wrong types are refused, and case numbers stay out of every repr."""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError

from schemas.events.break_glass import BreakGlassApproval, DangerCode, DangerGroups
from schemas.events.codes import ReofferReason
from schemas.events.consent import ConsentRef, ConsentScope, FieldGroup, Purpose
from schemas.events.referral import DeclineReferral, OfferFields, RedirectReferral, ReofferReferral, StepBase
from schemas.ids import AgencyId, CaseId, DeskCode, ReaderKeyId, ReferralId, ServiceId
from schemas.wire.body import UNKNOWN_CODE, Code, listed, lists_of
from schemas.wire.strict_json import shows_itself


class RequestBody(BaseModel):
    """A request body: closed, with codes of today's lists, and each item of a list once."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*")
    @classmethod
    def _listed(cls, value: Any, field: ValidationInfo) -> Any:
        """Say here what the arbiter would refuse later; on the bus a reader must bear codes of tomorrow."""
        items = value if isinstance(value, tuple) else (value,)
        if len(items) > 1 and len(set(items)) < len(items):
            raise PydanticCustomError("repeated", "name each once")
        codes = lists_of(cls).get(str(field.field_name))
        if codes and not codes.issuperset(items):
            raise PydanticCustomError(UNKNOWN_CODE, "one of {codes}", {"codes": ", ".join(sorted(codes))})
        return value


def _shown(text: str) -> str:
    if not shows_itself(text):
        raise PydanticCustomError("hidden_character", "text that shows itself")
    return text


class CaseRequest(RequestBody):
    """A case, under the agency's own number for it."""

    reference: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$", repr=False), AfterValidator(_shown)]


class ScopeRequest(RequestBody, ConsentScope):
    """What she agreed to, as the agency sends it."""


class ConsentRequest(RequestBody):
    """What she agreed to, and which form was read to her in which language."""

    scope: ScopeRequest
    form_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class VersionRequest(ConsentRequest):
    """What she agrees to from now on, more or less than before."""

    duty: DeskCode


class Alternative(RequestBody):
    """Who is asked next where nobody answers, or the answer is no."""

    recipient: AgencyId
    service: ServiceId


class ErasureRequest(RequestBody):
    """She wants her case erased; it cannot be undone."""

    duty: DeskCode


class OfferRequest(OfferFields, RequestBody):
    """A referral to another agency's service, and the consent that it rests on."""

    case: CaseId
    consent: ConsentRef
    recipient: AgencyId
    purpose: Purpose
    groups: tuple[FieldGroup, ...] = Field(default=(), max_length=6)
    duty: DeskCode
    alternatives: tuple[Alternative, ...] = Field(default=(), max_length=4)
    """Asked one after the other without a further word of the owner; her consent names each."""


class RedirectRequest(RequestBody):
    """Another service in place of one that does not help; whatever is left out stays as it was.

    It rests on the newest version of the same consent.
    """

    recipient: AgencyId
    service: ServiceId
    groups: tuple[FieldGroup, ...] | None = Field(default=None, max_length=6)
    duty: DeskCode


class ReofferRequest(RequestBody):
    """The same service once more."""

    reason: ReofferReason
    duty: DeskCode


class ApprovalRequest(RequestBody):
    """Who of another agency may pull what of a referral because she is in danger, and of what."""

    referral: ReferralId
    requester: AgencyId
    groups: DangerGroups
    reason: DangerCode


class PullRequest(RequestBody):
    """Which groups somebody needs now, and for what."""

    purpose: Purpose
    groups: tuple[FieldGroup, ...] = Field(min_length=1, max_length=6)
    key: ReaderKeyId | None = None
    """To which of the agency's keys they are sealed; without it, to its newest."""
    approval: BreakGlassApproval | None = None
    """In imminent danger, what another agency's supervisor signed; it stands in for her consent."""


def fields_of(model: type[BaseModel], without: Collection[str]) -> dict[str, Any]:
    """A model's fields but some, as pydantic makes another model of them."""
    fields = model.model_fields.items()
    return {name: (field.annotation, field) for name, field in fields if name not in without}


OWN_WORDS: Final[Mapping[type[StepBase], type[RequestBody]]] = {
    RedirectReferral: RedirectRequest,
    ReofferReferral: ReofferRequest,
}
"""Steps that rest on her consent: this service, not the agency, says what the consent covers."""


@cache
def body_of(step: type[StepBase], reasons: frozenset[str]) -> type[RequestBody]:
    """The request body of a step: its own fields, without those that path and token say.

    A sector has decline reasons of its own; they are listed here, and no others are taken.
    """
    if step in OWN_WORDS:
        return OWN_WORDS[step]
    own = fields_of(step, ("referral", "agency"))
    if step is DeclineReferral:
        own["reason"] = (Annotated[Code, listed(reasons)], ...)
    return create_model(f"{step.__name__}Request", __base__=RequestBody, __doc__=step.__doc__, **own)
