"""What comes over the bus: facts, agencies, protocols, the directory; a batch is one statement a table."""

from collections.abc import Sequence
from typing import Any

from schemas.events.directory import ServiceRegistered
from schemas.events.governance import AgencyCurrent, ProtocolCurrent
from schemas.events.referral import FactBase, StepRefused
from schemas.wire.envelope import ReadEvent
from services.runtime.errors import Invalid
from services.sector.domain.views import ReferralView, feed_event, with_fact
from services.sector.handlers.work import ViewKey, Work


async def keep_facts(received: Sequence[ReadEvent[FactBase]], work: Work) -> None:
    """Fold each fact into its addressee's view, and tell the addressee's feed; a repeat changes nothing."""
    received = _own(received, work)
    keys = [(one.body.referral, one.body.to or "") for one in received]
    await _check_addressed(keys, work)
    views = await work.views.lock(set(keys))
    changed: dict[ViewKey, ReferralView] = {}
    events = []
    for key, one in zip(keys, received, strict=True):
        view = with_fact(views.get(key), one.body, at=one.at)
        if view is not None:
            views[key] = changed[key] = view
            events.append(feed_event(one.body, key[1], at=one.at))
    await work.views.save(changed.values())
    await work.views.tell(events)


async def _check_addressed(keys: Sequence[ViewKey], work: Work) -> None:
    """Refuse a fact to another sector's agency; one not heard of yet is the arbiter's to know."""
    known = await work.state.admissions({agency for _, agency in keys})
    if any(one.sector != work.profile.name for one in known.values()):
        raise Invalid("schema_mismatch", "/to")


def _own(received: Sequence[ReadEvent[FactBase]], work: Work) -> Sequence[ReadEvent[FactBase]]:
    """All but refusals without number: of steps for an agency that the arbiter knows to be another sector's.

    Such a step was forged, or its agency has changed its sector: nobody here waits for an answer. It is no
    dead letter, behind which the referral's next facts would wait, but it is said aloud.
    """
    own = []
    for one in received:
        if isinstance(one.body, StepRefused) and one.body.number is None:
            work.steps.disown(one.body)
        else:
            own.append(one)
    return own


async def keep_governance(received: Sequence[ReadEvent[Any]], work: Work) -> None:
    """Keep agencies and protocols as they stand now."""
    agencies = {one.body.agency: one.body for one in received if isinstance(one.body, AgencyCurrent)}
    protocols = {one.body.hash: one.body for one in received if isinstance(one.body, ProtocolCurrent)}
    await work.state.keep_agencies(agencies.values())
    await work.state.keep_protocols(protocols.values())


async def keep_directory(received: Sequence[ReadEvent[ServiceRegistered]], work: Work) -> None:
    """Keep directory entries as they stand now."""
    await work.state.keep_entries({one.body.service: one.body for one in received}.values())
