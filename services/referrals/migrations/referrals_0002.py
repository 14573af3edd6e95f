"""The script of the same name."""

from services.runtime.migrate import run_script

revision, down_revision = "referrals_0002", "referrals_0001"


def upgrade() -> None:
    """Run it."""
    run_script(__file__)
