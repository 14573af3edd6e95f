"""Every version of every agency and protocol, to be read for good; and which agency held a key first."""

from alembic import op

revision = "governance_0001"
down_revision = None
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE publication (
  id text NOT NULL, version int NOT NULL CHECK (version > 0),
  kind text NOT NULL CHECK (kind IN ('agency', 'protocol')),
  hash text NOT NULL, content jsonb NOT NULL, published_at timestamptz NOT NULL, PRIMARY KEY (id, version))
"""


def upgrade() -> None:
    """Make the table; the service adds versions and never changes one."""
    role = op.get_context().config.attributes["service"]
    op.execute(TABLE)
    op.execute("CREATE TABLE key_holder (key text PRIMARY KEY, agency text NOT NULL)")
    op.execute(f"GRANT SELECT, INSERT ON publication, key_holder TO {role}")
