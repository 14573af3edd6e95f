"""The script of the same name."""

from services.runtime.migrate import run_script

revision, down_revision = "runtime_0003", "runtime_0002"


def upgrade() -> None:
    """Run it."""
    run_script(__file__)
