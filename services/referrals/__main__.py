"""`python -m services.referrals run|migrate`."""

from services.referrals.settings import Settings
from services.referrals.wiring import wire
from services.runtime.process import main

if __name__ == "__main__":
    main("referrals", Settings, wire)
