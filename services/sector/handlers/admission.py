"""Whether an agency may ask here: governance names it for this sector, and has not suspended it."""

from services.runtime.admission import check_admission
from services.sector.domain.requests import Asker
from services.sector.handlers.work import Work


async def check_admitted(by: Asker, work: Work, *, though_suspended: bool = False) -> None:
    """Refuse an agency that is not this sector's, and a suspended one unless this stays open to it."""
    admission = (await work.state.admissions({by.agency})).get(by.agency)
    check_admission(admission, sector=work.profile.name, though_suspended=though_suspended)
