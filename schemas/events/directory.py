"""The service directory on the bus: each event is one whole entry (after HSDS 3.0)."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from schemas.events.referral import NeedCode
from schemas.ids import DeskCode, OrganizationId, ServiceId
from schemas.wire.body import Body, Instant

TITLE_CHARACTERS_MAX: Final = 300

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
    desk: DeskCode
    """The duty desk that answers referrals to it."""
    confirmed_at: Instant
    """When somebody last confirmed the entry (HSDS `assured_date`)."""
