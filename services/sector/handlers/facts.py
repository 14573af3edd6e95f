"""What comes over the bus: facts, what governance signed, the directory; a batch is one statement a table."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.events.directory import ServiceRegistered
from schemas.events.facts import FactBase, StepRefused
from schemas.events.governance import AgencyCurrent, ProtocolCurrent, ServiceCurrent
from schemas.events.governance_keys import news_of
from schemas.wire.body import Body, key_of
from schemas.wire.envelope import ReadEvent
from services.runtime.errors import Invalid
from services.sector.domain.views import ReferralView, thin_event, with_fact
from services.sector.handlers.successors import asks_for_next, redirect_to_next
from services.sector.handlers.work import ViewKey, Work

KEYED_BY: Final[Mapping[type[Body], str]] = {
    AgencyCurrent: "agency",
    ServiceCurrent: "service",
    ProtocolCurrent: "hash",
    ServiceRegistered: "service",
}
"""What is in force, and the field of which each value is kept once."""
SIGNED: Final = (AgencyCurrent, ServiceCurrent, ProtocolCurrent)


async def keep_facts(received: Sequence[ReadEvent[FactBase]], work: Work) -> None:
    """Fold each fact into its addressee's view, and tell the addressee's feed; a repeat changes nothing.

    The refusal of a step that nobody here has asked for, or that an older copy of this database forgot, is
    no dead letter: whoever can write steps would stop this sector's inbox with letters.
    """
    forged = [one.body for one in received if _is_forged(one.body)]
    received = [one for one in received if not _is_forged(one.body)]
    keys = [(one.body.referral, one.body.to or "") for one in received]
    await _check_addressed(keys, work)
    views = await work.views.lock(set(keys))
    changed: dict[ViewKey, ReferralView] = {}
    events = []
    unknown: list[FactBase] = []
    unhelped: set[ViewKey] = set()
    for key, one in zip(keys, received, strict=True):
        if key not in views and isinstance(one.body, StepRefused):
            unknown.append(one.body)
            continue
        view = with_fact(views.get(key), one.body, at=one.at)
        if view is not None:
            views[key] = changed[key] = view
            events.append((key[1], thin_event(one.body, at=one.at)))
            if asks_for_next(one.body, view):
                unhelped.add(key)
    if unhelped:
        changed |= await redirect_to_next(unhelped, views, work, work.clock.now())
    await work.views.save(changed.values())
    await work.views.append(events)
    for event, strays in (("step_forged", forged), ("step_unknown", unknown)):
        if strays:
            work.log_stray(event, strays)


async def keep_in_force(received: Sequence[ReadEvent[Any]], work: Work) -> None:
    """Keep directory entries as they stand now, and what two keys of governance have signed."""
    for kind, key in KEYED_BY.items():
        bodies: Sequence[Any] = [one.body for one in received if isinstance(one.body, kind)]
        if bodies and kind in SIGNED:
            last = await work.register.last(kind, {key_of(body) for body in bodies})
            bodies = news_of(bodies, last, work.keys)
        if bodies:
            await work.register.keep(kind, {getattr(body, key): body for body in bodies}.values())


async def _check_addressed(keys: Sequence[ViewKey], work: Work) -> None:
    """Refuse a fact to another sector's agency; one not heard of yet is the arbiter's to know."""
    known = await work.register.standings({agency for _, agency in keys})
    if any(one.sector != work.profile.name for one in known.values()):
        raise Invalid("schema_mismatch", "/to")


def _is_forged(fact: FactBase) -> bool:
    """Whether a refusal has no number: of a step for an agency that the arbiter knows to be another sector's.

    Such a step was forged, or its agency has changed its sector: nobody here waits for an answer. It is no
    dead letter, behind which the referral's next facts would wait, but it is logged.
    """
    return isinstance(fact, StepRefused) and fact.number is None
