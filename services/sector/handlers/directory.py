"""What a search of the service directory does: rank what could be offered, and count a need without help."""

from schemas.events.unmet_need import ReportUnmetNeed
from schemas.topics import steps_of
from services.runtime.ids import new_id
from services.runtime.subscription import OutboxEvent
from services.sector.domain.directory import MISSES, ServiceSearch, is_unmet, rank_services
from services.sector.domain.requests import Asker, Reply
from services.sector.handlers.work import Work


async def search_services(search: ServiceSearch, by: Asker, work: Work) -> Reply:
    """Answer a search; the step that counts a need leaves with the answer, so a repeat counts nothing."""
    at = work.clock.now()
    entries = await work.register.candidates(search, by.agency)
    found = rank_services(entries, await work.register.live_protocols(by.agency, at), search, at)
    unmet = new_id("unmet") if is_unmet(found, search) else None
    if unmet:
        said = search.model_dump(include={"need", "access_needs", "area"})
        step = ReportUnmetNeed(unmet=unmet, **said)
        await work.send([OutboxEvent(steps_of(work.profile.name), step, at)])
    rows = [
        one.entry.model_dump(mode="json")
        | {"misses": [{"code": code, "sentence": MISSES[code]} for code in one.misses]}
        for one in found
    ]
    return Reply(200, {}, {"data": rows, "unmet_need": unmet})
