"""`python -m services.social_services run|migrate|openapi|vault`."""

from services.sector.entry import run_sector
from services.social_services.profile import PROFILE

if __name__ == "__main__":
    run_sector(PROFILE)
