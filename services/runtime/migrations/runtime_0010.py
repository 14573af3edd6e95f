"""The script of the same name."""

from services.runtime.migrate import run_script

revision, down_revision = "runtime_0010", "runtime_0009"


def upgrade() -> None:
    """Run it."""
    run_script(__file__)
