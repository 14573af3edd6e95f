"""`python -m services.notifications run|migrate|openapi`."""

from services.notifications.api import described_app
from services.notifications.settings import Settings
from services.notifications.wiring import wire
from services.runtime.process import main

if __name__ == "__main__":
    main("notifications", Settings, wire, described_app)
