"""`python -m services.audit run|migrate|signer`."""

import sys

from services.audit.settings import Settings, SignerSettings
from services.audit.wiring import wire, wire_signer
from services.runtime.process import main, run_to_the_end

if __name__ == "__main__":
    if sys.argv[1:] == ["signer"]:
        # The schema and the socket names are the trail's; the database role is the signer's own.
        run_to_the_end("audit", SignerSettings, wire_signer, logs_as="audit_sign")
    else:
        main("audit", Settings, wire)
