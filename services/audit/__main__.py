"""`python -m services.audit run|migrate|signer`."""

from __future__ import annotations

import asyncio
import sys

from services.audit.settings import Settings, SignerSettings
from services.audit.wiring import wire, wire_signer
from services.runtime.logs import configure
from services.runtime.process import main, run

if __name__ == "__main__":
    if sys.argv[1:] == ["signer"]:
        configure("audit_sign")
        # The schema and the socket names are the trail's; the database role is the signer's own.
        asyncio.run(run("audit", SignerSettings.from_environment(), wire_signer))
    else:
        main("audit", Settings, wire)
