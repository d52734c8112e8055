"""What the service reads often: the totals that were written last."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    # Without it, the newest totals of all stores are found by reading those of every origin.
    op.execute(
        "CREATE INDEX forecast_totals_written "
        "ON sales.forecast_totals (level, member, written_at DESC)"
    )


def downgrade() -> None:
    """Revert the change."""
    op.execute("DROP INDEX sales.forecast_totals_written")
