"""A need for which no service was found: a step that moves no referral, and the fact that counts it.

Its id is random and its own, and nothing in it names an agency: nobody can join it to a referral or a case.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from schemas.events.codes import AccessNeeds, Area, NeedCode
from schemas.ids import UnmetNeedId
from schemas.wire.body import Body


class UnmetNeedBase(Body):
    """What step and fact name of the need."""

    key_field: ClassVar[str] = "unmet"

    unmet: UnmetNeedId
    need: NeedCode
    access_needs: AccessNeeds = ()
    """What she needs besides, to use a service."""
    area: Area


class ReportUnmetNeed(UnmetNeedBase):
    """Somebody searched the directory, and found no service that would help."""

    type: ClassVar[str] = "referral.report_unmet_need"


class UnmetNeedRecorded(UnmetNeedBase):
    """A need was counted that no service of the directory answers."""

    type: ClassVar[str] = "referral.unmet_need_recorded"

    month: Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
    """The month in UTC."""
