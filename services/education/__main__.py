"""`python -m services.education run|migrate|openapi`."""

from services.education.profile import PROFILE
from services.sector.wiring import run_sector

if __name__ == "__main__":
    run_sector(PROFILE)
