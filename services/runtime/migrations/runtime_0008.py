"""The script of the same name."""

from services.runtime.migrate import run_script

revision, down_revision = "runtime_0008", "runtime_0007"


def upgrade() -> None:
    """Run it."""
    run_script(__file__)
