"""The script of the same name."""

from services.runtime.migrate import run_script

revision, down_revision = "console_0001", None


def upgrade() -> None:
    """Run it."""
    run_script(__file__)
