"""`python -m services.health run|migrate|openapi`."""

from services.health.profile import PROFILE
from services.sector.wiring import run_sector

if __name__ == "__main__":
    run_sector(PROFILE)
