"""Writing what she told: it needs no permit and only a public key, and cannot be read back here."""

from schemas.events.packet import PacketPart
from services.runtime.ids import new_id, random_bytes
from services.sector.domain.packets import PacketWriter
from services.sector.domain.requests import Asker, Reply
from services.sector.handlers.work import Work


async def write_group(group: str, content: PacketPart, case_id: str, by: Asker, work: Work) -> Reply:
    """A new version of a field group, sealed before this transaction ends; what was said is in no answer."""
    case = await work.cases.lock(case_id, by.agency)  # one version after the other
    at = work.clock.now()
    writer = PacketWriter(await work.packets.intake(at), case.keyset, random_bytes, new_id)
    versions = await work.packets.versions(case.packet)
    await work.packets.write(writer.write(case.packet, by.agency, versions, group, content), at)
    return Reply(200, {}, {"case": case.id, "group": group, "version": versions.get(group, 0) + 1})
