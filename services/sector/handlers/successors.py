"""Whom the owner's service asks next by itself, where her consent names them already."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from schemas.events.facts import FactBase, ReferralDeclined, ReferralExpired, StepRefused
from schemas.topics import steps_of
from services.runtime.errors import Refused
from services.runtime.subscription import OutboxEvent
from services.sector.domain.views import ReferralView
from services.sector.handlers.requests import redirect, ruling_version
from services.sector.handlers.work import ViewKey, Work

UNANSWERED: Final = frozenset({"declined", "expired"})


def asks_for_next(fact: FactBase, view: ReferralView) -> bool:
    """Whether a fact leaves the owner's service to ask the next one that her consent names."""
    is_no = isinstance(fact, (ReferralDeclined, ReferralExpired))
    is_refused = isinstance(fact, StepRefused) and fact.asked == "redirect"
    return bool((is_no or is_refused) and view.request and view.request.alternatives)


async def redirect_to_next(
    keys: Collection[ViewKey], views: Mapping[ViewKey, ReferralView], work: Work, at: datetime
) -> dict[ViewKey, ReferralView]:
    """Ask the next service for each of these referrals; gives their views without those that were asked.

    The views are locked already, and their cases are locked in one order: no deadlock with who withdraws.
    """
    asked: dict[ViewKey, ReferralView] = {}
    steps = []
    for key in sorted(keys, key=lambda key: (views[key].case or "", key)):
        view = views[key]
        while view.state in UNANSWERED and view.request and view.request.alternatives:
            following, *others = view.request.alternatives
            request = view.request.model_copy(update={"alternatives": tuple(others)})
            view = replace(view, request=request)
            try:
                asked_now = {**dict(following), "consent": await ruling_version(request, work)}
                steps.append(await redirect(view, request.model_copy(update=asked_now), work, at))
                break
            except Refused:
                continue  # her consent no longer names this one; without any, the owner's clock runs
        asked[key] = view
    await work.send([OutboxEvent(steps_of(work.profile.name), step, at) for step in steps])
    return asked
