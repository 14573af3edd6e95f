"""`python -m services.referrals run|migrate|views`."""

import sys

from services.referrals.settings import Settings
from services.referrals.wiring import wire
from services.runtime.process import main

if __name__ == "__main__":
    if sys.argv[1:] == ["views"]:
        from services.referrals.views import FIGURES  # here: the arbiter itself does without faust
        from services.runtime.views import run_view

        run_view(FIGURES)
    else:
        main("referrals", Settings, wire)
