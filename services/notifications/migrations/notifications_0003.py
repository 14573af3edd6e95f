"""The script of the same name."""

from services.runtime.migrate import run_script

revision, down_revision = "notifications_0003", "notifications_0002"


def upgrade() -> None:
    """Run it."""
    run_script(__file__)
