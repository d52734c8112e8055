"""Isolation of failed stores, each with an open change of its own, its error and its next try."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE sales.changes ADD COLUMN tries smallint NOT NULL DEFAULT 0;
ALTER TABLE sales.changes ADD COLUMN not_before timestamptz;
ALTER TABLE sales.changes ADD COLUMN error text;
COMMENT ON COLUMN sales.changes.tries IS
    'How often in a row a refresh has failed with this store alone: then the change stands for '
    'the one store, error says why, and no refresh takes it before not_before.';

ALTER TABLE sales.refreshes ADD COLUMN failed jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN sales.refreshes.failed IS
    'Store -> why it failed: its changes stayed open while the others went on.';
"""

DOWNGRADE = """
ALTER TABLE sales.refreshes DROP COLUMN failed;
ALTER TABLE sales.changes DROP COLUMN tries, DROP COLUMN not_before, DROP COLUMN error;
"""


def upgrade() -> None:
    """Apply the migration."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the migration."""
    op.execute(DOWNGRADE)
