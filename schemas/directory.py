"""The service directory on the bus: each event is one whole entry (after HSDS 3.0)."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from schemas.body import Body, Instant
from schemas.ids import DeskCode, OrganizationId, ServiceId
from schemas.referral import NeedCode
from schemas.strict_json import NEVER_TEXT

TITLE_CHARACTERS_MAX: Final = 300
TITLE_NEVER: Final = re.compile(
    rf"[\x00-\x08\x0b\x0c\x0e-\x1f{NEVER_TEXT}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""What no title holds: control characters, and marks that turn the direction of the text behind them."""

Title = Annotated[str, Field(min_length=1, max_length=TITLE_CHARACTERS_MAX)]


class ServiceRegistered(Body):
    """A service that an organisation offers, as last imported or confirmed."""

    type: ClassVar[str] = "directory.service_registered"

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


BODIES: Final[Mapping[str, type[Body]]] = {ServiceRegistered.type: ServiceRegistered}
