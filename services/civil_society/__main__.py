"""`python -m services.civil_society run|migrate|openapi|vault`."""

from services.civil_society.profile import PROFILE
from services.sector.entry import run_sector

if __name__ == "__main__":
    run_sector(PROFILE)
