"""What a survivor told one agency, in six closed groups, and the one filter on every way out of its vault.

A packet never travels on a topic. Each field is bounded, and marked with the row of the protocol's matrix
that says who may see it: full, coarse, only where her consent names the field, or not at all.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.events.consent import FieldGroup
from schemas.wire.body import Flag, Instant
from schemas.wire.minimisation import Matrix, MatrixRow, allowed_to

GROUPS: Final[tuple[str, ...]] = get_args(FieldGroup)
GROUP_SCHEMA: Final = "urn:concert:schema:packet.{group}:1.0"
OWN_CASE: Final = "own_case"
"""The reader that recorded the packet itself: it sees all of it, whatever its sector's column says."""

_VISIBLE: Final = r"^[^\x00-\x08\x0b-\x1f\x7f]+$"
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=200)]
Text = Annotated[str, StringConstraints(pattern=_VISIBLE, max_length=2_000)]
Account = Annotated[str, StringConstraints(pattern=_VISIBLE, max_length=50_000)]
PhoneNumber = Annotated[str, StringConstraints(pattern=r"^\+?[0-9][0-9 ()/-]{2,30}$")]

Channel = Literal["call", "text_message", "messaging_app", "email", "in_person", "through_trusted_person"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ViolenceType = Literal[
    "rape", "sexual_assault", "physical_assault", "forced_marriage", "denial_of_resources",
    "psychological_abuse",
]  # fmt: skip
"""The six types of the GBVIMS."""
ViolenceTypes = Annotated[tuple[ViolenceType, ...], Field(max_length=6)]
PerpetratorRelation = Literal[
    "partner", "former_partner", "parent_or_caregiver", "other_relative", "employer", "school_staff", "pupil",
    "neighbour", "service_provider", "police_or_armed_actor", "stranger", "unknown",
]  # fmt: skip
ChildAge = Literal["under_5", "5_to_11", "12_to_17"]
ChildAges = Annotated[tuple[ChildAge, ...], Field(max_length=20)]
Treatment = Literal["given", "needed", "declined", "not_needed", "too_late"]
TestResult = Literal["positive", "negative", "not_tested"]
LegalWish = Literal["wants_action", "wants_advice", "undecided", "no_action"]
Displacement = Literal[
    "resident", "internally_displaced", "refugee", "asylum_seeker", "stateless", "foreign_national",
    "no_papers",
]  # fmt: skip

_DAYS: Final[tuple[str, ...]] = get_args(Weekday)
_HOUSEHOLD: Final = frozenset({"partner", "parent_or_caregiver"})
_AUTHORITY: Final = frozenset({"employer", "school_staff", "service_provider", "police_or_armed_actor"})
_NOT_NEAR: Final = frozenset({"stranger", "unknown"})


@dataclass(frozen=True, slots=True)
class PacketRow:
    """The row that governs a field of a packet, and its coarse form for a reader at a moment."""

    name: str
    coarse: Callable[[Any, str, datetime], Any] = lambda _value, _reader, _at: None
    only_with: str | None = None
    """The field without which this one is not shown either."""

    def at(self, reader: str, at: datetime) -> MatrixRow:
        """The row as this reader meets it at this moment."""
        return MatrixRow(self.name, lambda value: self.coarse(value, reader, at))


def _coarse_violence(types: Collection[str], _reader: str, _at: datetime) -> list[str]:
    """What to do, not what was done."""
    physical = {"rape", "sexual_assault", "physical_assault"}
    return sorted({"medical_care_first" if one in physical else "support_first" for one in types})


def _coarse_relation(relation: str, reader: str, _at: datetime) -> str:
    if reader == "education":
        return relation if relation in ("school_staff", "pupil") else "none"
    if relation in _HOUSEHOLD:
        return "household"
    if relation in _AUTHORITY:
        return "authority"
    return "not_near" if relation in _NOT_NEAR else "near"


def _hours_elapsed(incident_at: str, _reader: str, at: datetime) -> int:
    return max(0, int((at - datetime.fromisoformat(incident_at)).total_seconds() // 3600))


_SAFE_CONTACT: Final = PacketRow("safe_contact")
_IDENTITY: Final = PacketRow("identity", only_with="safe_contact")
_HOME: Final = PacketRow("home_location")
_VIOLENCE: Final = PacketRow("violence_type", _coarse_violence)
_RELATION: Final = PacketRow("perpetrator_relation", _coarse_relation)
_PERPETRATOR: Final = PacketRow("perpetrator_identity")
_CHILDREN: Final = PacketRow("children", lambda ages, _reader, _at: bool(ages))
_SHELTER: Final = PacketRow("shelter_location")
_CLINICAL: Final = PacketRow("clinical")
_LEGAL_WISH: Final = PacketRow(
    "legal_wish", lambda wish, _reader, _at: wish in ("wants_action", "wants_advice")
)
_DISPLACEMENT: Final = PacketRow("displacement")
_SCHOOL: Final = PacketRow("school")
_INCIDENT_TIME: Final = PacketRow("incident_time", _hours_elapsed)
_NARRATIVE: Final = PacketRow("narrative")


class PacketPart(BaseModel):
    """What every part of a packet shares: closed, and its content in no repr and no error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Nothing, whatever fields are there."""
        return iter(())


class ContactHours(PacketPart):
    """Hours of the day, on some days of the week, at which it is safe to reach her."""

    days: tuple[Weekday, ...] = Field(min_length=1, max_length=7)
    from_time: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    until_time: Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_time >= self.until_time:
            raise PydanticCustomError(
                "hours_out_of_order", "hours end after they begin; split them at midnight"
            )
        return self


class SafeContact(PacketPart):
    """Her rules: how she may be reached, when, and who may answer."""

    channels: tuple[Channel, ...] = Field(min_length=1, max_length=6)
    hours: tuple[ContactHours, ...] = Field(min_length=1, max_length=14)
    zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,40}$")]
    voicemail: Flag = False
    code_word: Line | None = None
    others_may_answer: Flag = False

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (LookupError, ValueError, OSError):
            raise PydanticCustomError("unknown_zone", "a time zone such as Africa/Nairobi") from None
        return zone


class PacketContact(PacketPart):
    """How to reach her: never a name or number without her rules."""

    safe_contact: Annotated[SafeContact | None, _SAFE_CONTACT] = None
    name: Annotated[Line | None, _IDENTITY] = None
    phone: Annotated[PhoneNumber | None, _IDENTITY] = None

    @model_validator(mode="after")
    def _with_rules(self) -> Self:
        if (self.name or self.phone) and self.safe_contact is None:
            raise PydanticCustomError("number_without_rules", "send safe_contact with a name or number")
        return self


class PacketProtection(PacketPart):
    """What keeps her safe, and from whom."""

    home: Annotated[Text | None, _HOME] = None
    violence_types: Annotated[ViolenceTypes | None, _VIOLENCE] = None
    perpetrator_relation: Annotated[PerpetratorRelation | None, _RELATION] = None
    perpetrator: Annotated[Text | None, _PERPETRATOR] = None
    children: Annotated[ChildAges | None, _CHILDREN] = None
    shelter: Annotated[Text | None, _SHELTER] = None


class PacketClinical(PacketPart):
    """What clinicians found and gave."""

    injuries: Annotated[Text | None, _CLINICAL] = None
    pep: Annotated[Treatment | None, _CLINICAL] = None
    emergency_contraception: Annotated[Treatment | None, _CLINICAL] = None
    hiv: Annotated[TestResult | None, _CLINICAL] = None
    pregnancy: Annotated[TestResult | None, _CLINICAL] = None
    certificate: Annotated[Text | None, _CLINICAL] = None
    """What a court may be given in place of all the others."""


class PacketLegal(PacketPart):
    """What she wants of the law, and what the law could hold against her."""

    wish: Annotated[LegalWish | None, _LEGAL_WISH] = None
    displacement: Annotated[Displacement | None, _DISPLACEMENT] = None


class PacketEducation(PacketPart):
    """Where she learns."""

    school: Annotated[Line | None, _SCHOOL] = None


class PacketNarrative(PacketPart):
    """What happened, in words that nobody should have to ask her for again."""

    incident_at: Annotated[Instant | None, _INCIDENT_TIME] = None
    account: Annotated[Account | None, _NARRATIVE] = None
    statement: Annotated[Account | None, _NARRATIVE] = None
    """Her own, as she gave it to be used by the police."""
    for_counsel: Annotated[Account | None, _NARRATIVE] = None


GROUP_MODELS: Final[Mapping[str, type[PacketPart]]] = {
    "contact": PacketContact,
    "protection": PacketProtection,
    "clinical": PacketClinical,
    "legal": PacketLegal,
    "education": PacketEducation,
    "narrative": PacketNarrative,
}
FIELD_ROWS: Final[Mapping[str, Mapping[str, PacketRow]]] = {
    group: {
        name: next(mark for mark in field.metadata if isinstance(mark, PacketRow))
        for name, field in model.model_fields.items()
    }
    for group, model in GROUP_MODELS.items()
}
"""Group → field → the row that governs it; a field without one ends every process before it starts."""
PACKET_ROWS: Final = frozenset(row.name for rows in FIELD_ROWS.values() for row in rows.values())


def show_group(
    group: str,
    content: Mapping[str, Any],
    reader: str,
    matrix: Matrix,
    named_fields: Collection[str],
    *,
    fields: Collection[str],
    at: datetime,
) -> dict[str, Any]:
    """A group's JSON content as a sector, or `OWN_CASE`, may see it: fields go or become coarse, none comes.

    `fields` are those that the protocol lets it pull, `named_fields` those that her consent names for this
    recipient, as `group.field`.
    """
    shown: dict[str, Any] = {}
    for field, row in FIELD_ROWS[group].items():
        if field not in fields:
            continue
        allowed = "F" if reader == OWN_CASE else allowed_to(row.name, reader, matrix)
        if allowed == "O" and f"{group}.{field}" in named_fields:
            allowed = "F"
        seen = row.at(reader, at).seen(content.get(field), allowed)
        if seen is not None and row.only_with in (None, *shown):  # rules stand before what needs them
            shown[field] = seen
    return shown


def may_contact(rules: SafeContact, channel: str, at: datetime) -> bool:
    """Whether her rules allow this channel at that moment."""
    there = at.astimezone(ZoneInfo(rules.zone))
    day, clock = _DAYS[there.weekday()], f"{there.time():%H:%M}"
    return channel in rules.channels and any(
        day in hours.days and hours.from_time <= clock < hours.until_time for hours in rules.hours
    )
