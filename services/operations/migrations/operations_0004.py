"""The script of the same name."""

from services.runtime.migrate import run_script

revision, down_revision = "operations_0004", "operations_0003"


def upgrade() -> None:
    """Run it."""
    run_script(__file__)
