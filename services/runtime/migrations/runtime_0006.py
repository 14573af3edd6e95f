"""The script of the same name."""

from services.runtime.migrate import run_script

revision, down_revision = "runtime_0006", "runtime_0005"


def upgrade() -> None:
    """Run it."""
    run_script(__file__)
