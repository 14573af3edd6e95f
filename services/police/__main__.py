"""`python -m services.police run|migrate|openapi|vault`."""

from services.police.profile import PROFILE
from services.sector.entry import run_sector

if __name__ == "__main__":
    run_sector(PROFILE)
