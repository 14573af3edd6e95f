"""What agencies are answered, as the OpenAPI document describes it; tests hold every answer against it."""

from typing import Annotated, Any, Final, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, create_model

from schemas.events.consent import ConsentRef, ConsentVersion, FieldGroup
from schemas.events.facts import FACTS, FactBase, ReferralOffered, StateName
from schemas.events.governance import DocumentHash
from schemas.events.life_cycle import PartyName
from schemas.ids import AgencyId, CaseId, ConsentId, EventId, ReferralId, ServiceId, UnmetNeedId
from schemas.wire.body import Code, listed
from schemas.wire.key_records import KeyRecord
from services.runtime.openapi import header
from services.sector.domain.bodies import fields_of
from services.sector.domain.directory import DirectoryEntry
from services.sector.domain.views import ASKED, HOP, FeedEvent

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
LOCATION: Final = {"Location": header("Where to read it.")}
REPLAYED: Final = {
    "Idempotent-Replayed": header("The answer to the first request under this key.", const="true")
}
NUMBER: Final = {"ETag": header("The number of the last fact; send it as If-Match with a step.")}


class AnswerPart(BaseModel):
    """What every part of an answer shares: the words beside a field describe it in the document."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class CaseReceipt(AnswerPart):
    """A case was opened."""

    id: CaseId
    opened_at: Time


class GroupReceipt(AnswerPart):
    """A field group was sealed as a new version; nobody but the vault reads it from here on."""

    case: CaseId
    group: FieldGroup
    version: int


class ConsentReceipt(AnswerPart):
    """A consent was recorded, and signed by this service."""

    id: ConsentId
    version: int
    document: ConsentVersion
    signature: str
    """Ed25519 in base64, over `concert/consent/v2`, a line end and the document's JCS form (RFC 8785)."""


class KeyPage(AnswerPart):
    """A packet key of the agency."""

    record: KeyRecord
    is_revoked: bool
    """Nothing is sealed to it any more."""


class KeyList(AnswerPart):
    """The agency's keys whose time is not over, the newest first; a list of this length needs no cursor."""

    data: list[KeyPage]
    next: None = None


class ErasureReceipt(AnswerPart):
    """A case was erased here; its holders are being asked to do the same."""

    id: CaseId
    erased_at: Time


class StepReceipt(AnswerPart):
    """A step is kept and will reach the arbiter; what it decides comes as an event."""

    referral: ReferralId
    step: EventId
    """A refusal names it."""
    successor: ReferralId | None = None
    """The next referral, where this one is redirected."""
    received_at: Time


Offer: Final = create_model("Offer", __base__=AnswerPart, **fields_of(ReferralOffered, HOP))


StepName = Annotated[Code, listed(ASKED)]


class ReferralRow(AnswerPart):
    """A referral in a list, as this party may see it."""

    referral: ReferralId
    role: PartyName
    case: CaseId | None = None
    """For the owner alone, as `consent` is."""
    consent: ConsentRef | None = None
    state: StateName | None
    """Nothing before the arbiter has answered."""
    number: int
    """Of the last fact: send it as If-Match."""
    awaits_you: bool
    allowed_steps: list[StepName]
    """What this party may ask of it as it stands."""
    offer: Offer | None
    updated_at: Time | None


def _shown(fact: type[FactBase]) -> Any:
    """A fact in the list of a referral's page; what was offered stands in `offer`."""
    hop = {*fact.model_fields} if fact is ReferralOffered else HOP
    named: dict[str, Any] = {"type": (Literal[fact.type], ...), "at": (Time, ...)}
    own = named | fields_of(fact, hop - {"number", "state"})
    return create_model(fact.__name__, __base__=AnswerPart, __doc__=fact.__doc__, **own)


ShownFact: Any = Annotated[Union[tuple(map(_shown, FACTS.values()))], Field(discriminator="type")]  # noqa: UP007


class ReferralPage(ReferralRow):
    """A referral, as this party may see it."""

    protocol: DocumentHash | None
    """Hash of the protocol under which it was offered."""
    facts: list[ShownFact]
    """The last ones, oldest first."""


class ReferralList(AnswerPart):
    """Referrals of the agency, newest first."""

    data: list[ReferralRow]
    next: str | None
    """Send it as `after` for the next page."""


class CaseConsent(AnswerPart):
    """A consent of a case."""

    document: ConsentVersion
    withdrawn: bool


class CaseRow(AnswerPart):
    """One of the agency's own cases in a list."""

    id: CaseId
    reference: str
    opened_at: Time


class CaseList(AnswerPart):
    """The agency's own cases, newest first."""

    data: list[CaseRow]
    next: str | None
    """Send it as `after` for the next page."""


class CasePage(CaseRow):
    """One of the agency's own cases."""

    consents: list[CaseConsent]
    referrals: list[ReferralId]
    """The newest hundred, the newest first; an older one is read by its own id."""


class Feed(AnswerPart):
    """What happened behind a position."""

    data: list[FeedEvent]
    next: int
    """Send it as `after` to go on."""


class DirectoryPage(AnswerPart):
    """A page of the service directory."""

    data: list[DirectoryEntry]
    next: ServiceId | None
    """Send it as `after` for the next page."""


class Miss(AnswerPart):
    """Something that was searched for and does not fit."""

    code: Code
    sentence: str
    """What to do about it."""


class SearchResult(DirectoryEntry):
    """A service that an offer could name now, and what does not fit."""

    misses: list[Miss]


class SearchAnswer(AnswerPart):
    """What was found, that which fits best first."""

    data: list[SearchResult]
    unmet_need: UnmetNeedId | None
    """Under which id the need was counted, where nothing was found that would help."""


class Holder(AnswerPart):
    """A group that was released, and to whom."""

    referral: ReferralId
    agency: AgencyId
    group: FieldGroup
    version: int
    """The newest that this agency was given."""
    released_at: Time
    sealed: bool
    """Whether the agency has confirmed that its copy can no longer be read."""


class Holders(AnswerPart):
    """Who holds what of a case."""

    data: list[Holder]


def kept(status: int, model: type[BaseModel]) -> dict[str, Any]:
    """How a route that keeps something answers, for its document."""
    return {
        "status_code": status,
        "response_model": model,
        "responses": {status: {"headers": LOCATION | REPLAYED}},
    }
