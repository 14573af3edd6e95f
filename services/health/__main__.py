"""`python -m services.health run|migrate|openapi|vault`."""

from services.health.profile import PROFILE
from services.sector.entry import run_sector

if __name__ == "__main__":
    run_sector(PROFILE)
