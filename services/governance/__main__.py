"""`python -m services.governance run|migrate|openapi`."""

from services.governance.api.partners import described_app
from services.governance.settings import Settings
from services.governance.wiring import wire
from services.runtime.process import main

if __name__ == "__main__":
    main("governance", Settings, wire, described_app)
