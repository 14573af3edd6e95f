"""The view of the arbiter's facts that operators watch."""

from typing import Final

from schemas.topics import REFERRALS_VIEWS
from services.referrals.domain.figures import Figures, show
from services.runtime.views import View

FIGURES: Final = View(REFERRALS_VIEWS, Figures().apply, show)
