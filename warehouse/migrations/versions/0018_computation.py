"""The settings that stored features and forecasts were computed with."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE sales.calendar ADD COLUMN computation jsonb;
COMMENT ON COLUMN sales.calendar.computation IS
    'Settings that change what is computed from the same data. If the ones in force differ, all '
    'stores get a change, so that a refresh computes them again.';
"""

DOWNGRADE = "ALTER TABLE sales.calendar DROP COLUMN computation;"


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back."""
    op.execute(DOWNGRADE)
