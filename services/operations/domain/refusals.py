"""What operations refuses: code, sentence and status."""

from collections.abc import Callable
from functools import partial
from typing import Final

from services.runtime.errors import Refused, define_refusal

_define: Final[Callable[[str, str, int], type[Refused]]] = partial(define_refusal, __name__)

NoSuchPlan: Final = _define("no_such_plan", "there is no such plan; see `concert plans list`", 404)
PlanExpired: Final = _define(
    "plan_expired", "plans hold for half an hour, because what waits may change; make a new one", 409
)
PlanStateWrong: Final = _define(
    "plan_state_wrong", "the plan's state does not allow it; see `concert plans show`", 409
)
PlanOfAnother: Final = _define(
    "plan_of_another",
    "who made the plan confirms it; make one of your own, or approve theirs after that",
    403,
)
CountDiffers: Final = _define(
    "count_differs", "that is not how much the plan is about; look at its count again, then type it", 409
)
CountChanged: Final = _define(
    "count_changed", "what the plan is about has changed since; make a new one", 409
)
SamePerson: Final = _define(
    "same_person", "you confirmed it; another person with a role that may do this has to approve it", 403
)
ConfirmerLacksRole: Final = _define(
    "confirmer_lacks_role",
    "whoever confirmed it has no role any more that may do this; make a plan of your own",
    409,
)
TooManyPlans: Final = _define(
    "too_many_plans",
    "you made as many plans in the last day as one person may; carry out what there is, or wait",
    429,
)
NotOfService: Final = _define(
    "not_of_service", "this service has nothing that such an act could be about", 404
)
ChoiceWrong: Final = _define(
    "choice_wrong", "say an act that there is, and what it is about in the form of that act", 422
)
