"""`python -m services.operations run|migrate`."""

from services.operations.settings import Settings
from services.operations.wiring import wire
from services.runtime.process import main

if __name__ == "__main__":
    main("operations", Settings, wire)
