"""What operators had services do: which act, where and how much; never why, and nothing of any payload."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from schemas.ids import OperatorActId, PlanId
from schemas.wire.body import Body, Code, Count

ServiceCode = Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,29}$")]


class ActRecorded(Body):
    """An operator had a service do something, and the service has done it."""

    type: ClassVar[str] = "operations.act_recorded"
    key_field: ClassVar[str] = "act"

    act: OperatorActId
    verb: Code
    service: ServiceCode
    counts: Mapping[Code, Count]
    plan: PlanId | None = None
    """The plan that it was done by, where it needs one."""
