"""`python -m services.governance run|migrate`."""

from services.governance.wiring import wire
from services.runtime.process import main
from services.runtime.settings import RuntimeSettings

if __name__ == "__main__":
    main("governance", RuntimeSettings, wire)
