"""Indexes for what the service reads often: recent scores, and totals by origin."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

UPGRADE = """
-- All stores' totals from some origins. Rows lie in the order of their origins, so this is tiny.
CREATE INDEX forecast_totals_origins ON sales.forecast_totals
    USING brin (origin) WITH (pages_per_range = 16);
-- The newest scores of the nearest week, of which the table holds a sixth.
CREATE INDEX forecast_accuracy_nearest ON sales.forecast_accuracy (date, store)
    INCLUDE (forecasts, sold, sales, absolute_error, inside_95)
    WHERE kind = 'issued' AND lead_week = 1;
"""

DOWNGRADE = """
DROP INDEX sales.forecast_accuracy_nearest, sales.forecast_totals_origins;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the change."""
    op.execute(DOWNGRADE)
