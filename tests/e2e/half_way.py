"""What the commit before plays of an upgrade: `python -m tests.e2e.half_way FOLDER`, in its own tree.

It starts an installation, plays two referrals half-way, and stops with three steps that nobody has applied.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Final

from deploy.local.founding import operator_client
from services.cli.agency_client import ACCEPT, ACKNOWLEDGE, START, AgencyAccount
from services.cli.demo.agencies import fictional_agencies
from services.cli.demo.trial import listening, running_trial, set_up
from services.cli.trail import download
from tests.e2e.test_survivor_referred_across_four_sectors import told_and_offered
from tests.support.servers import unflushed

INSTALLATION: Final = "installation"
PACKET_KEY: Final = "packet.key"
TRAIL: Final = "trail-before"
REFERRALS: Final = "referrals.json"
"""What it leaves in the folder: the data directory, the receiver's key, the trail, and which referrals."""


def parties() -> tuple[AgencyAccount, AgencyAccount]:
    """The owner and the receiver of all that is played."""
    first = {agency.sector: agency for agency in reversed(fictional_agencies())}
    return first["social_services"], first["health"]


async def play(folder: Path) -> None:
    """Play the first half."""
    with unflushed():
        async with running_trial(folder / INSTALLATION, print) as trial:
            await set_up(trial)
            owner, receiver = (trial.clients[agency.id] for agency in parties())
            async with listening([owner, receiver]):
                moved = await told_and_offered(owner, receiver, ACKNOWLEDGE, ACCEPT)
                offered = await told_and_offered(owner, receiver)
                another = await owner.prepare(receiver.agency)
                await trial.platform.stop("referrals")  # what is asked from now on, the next code applies
                await receiver.step(moved, START)
                await receiver.step(offered, ACKNOWLEDGE)
                asked = (await owner.offer(another)).referral
            receiver.packet_key.write(folder / PACKET_KEY)
            async with operator_client(trial.installation, "audit") as client:
                await download(client, trial.installation.log_key, folder / TRAIL)
    (folder / REFERRALS).write_text(json.dumps({"moved": moved, "offered": offered, "asked": asked}))


if __name__ == "__main__":
    asyncio.run(play(Path(sys.argv[1])))
