"""`python -m services.governance run|migrate`."""

from services.governance.settings import Settings
from services.governance.wiring import wire
from services.runtime.process import main

if __name__ == "__main__":
    main("governance", Settings, wire)
