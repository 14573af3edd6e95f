"""Whether an agency may look and act here: governance names it for this sector, and has not suspended it."""

from services.sector.domain.refusals import AgencyInactive, AgencyNotAdmitted
from services.sector.domain.requests import Asker
from services.sector.handlers.work import Work


async def check_may_look(by: Asker, work: Work) -> None:
    """Refuse a suspended agency; one that was not heard of yet has nothing here but the directory."""
    known = (await work.state.standings({by.agency})).get(by.agency)
    if known and not known.is_active:
        raise AgencyInactive


async def check_may_act(by: Asker, work: Work, *, protects_her: bool) -> None:
    """Refuse an agency that is not this sector's, and a suspended one except in what protects her."""
    known = (await work.state.standings({by.agency})).get(by.agency)
    if known is None or known.sector != work.profile.name:
        raise AgencyNotAdmitted
    if not (known.is_active or protects_her):
        raise AgencyInactive
