"""The service directory on the bus: each event is one whole entry (after HSDS 3.0)."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from schemas.events.codes import AccessNeeds, Area, NeedCode
from schemas.ids import DeskCode, OrganizationId, ServiceId
from schemas.wire.body import Body, Instant

TITLE_CHARACTERS_MAX: Final = 300

Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
"""ISO 639: two letters, or three where it has none of two."""
Title = Annotated[str, Field(min_length=1, max_length=TITLE_CHARACTERS_MAX)]


class ServiceRegistered(Body):
    """A service that an organisation offers, as last imported or confirmed."""

    type: ClassVar[str] = "directory.service_registered"
    key_field: ClassVar[str] = "service"

    service: ServiceId
    organization: OrganizationId
    title: Title
    organization_title: Title
    status: Literal["active", "inactive", "defunct", "temporarily closed"]
    needs: tuple[NeedCode, ...] = Field(max_length=20)
    """Coded needs that the service answers."""
    areas: tuple[Area, ...] = Field(default=(), max_length=100)
    """P-codes of the areas that it serves, with all that lies in them; without one nobody has said."""
    languages: tuple[Language, ...] = Field(default=(), max_length=40)
    """In which languages it can be had; without one nobody has said."""
    access_needs: AccessNeeds = ()
    """What it has for people who need it to use a service."""
    desk: DeskCode
    """The duty desk that answers referrals to it."""
    confirmed_at: Instant
    """When somebody last confirmed the entry (HSDS `assured_date`)."""
