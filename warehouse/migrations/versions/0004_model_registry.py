"""Columns of pooled models for the format of their bytes and their version in MLflow's registry."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UPGRADE = """
-- Models from before formats were recorded may or may not fit: they are trained again.
ALTER TABLE sales.pooled_models ADD COLUMN format text NOT NULL DEFAULT 'unknown';
ALTER TABLE sales.pooled_models ALTER COLUMN format DROP DEFAULT;
ALTER TABLE sales.pooled_models ADD COLUMN mlflow_version text;
COMMENT ON COLUMN sales.pooled_models.format IS
    'Fingerprint of the code that can read the bytes: regressors, inputs, layout. Versions of '
    'another format are kept, but neither used nor counted.';
COMMENT ON COLUMN sales.pooled_models.mlflow_version IS
    'Its version of the registered model sales-forecast in MLflow.';
"""

DOWNGRADE = """
ALTER TABLE sales.pooled_models DROP COLUMN format, DROP COLUMN mlflow_version;
"""


def upgrade() -> None:
    """Apply the migration."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the migration."""
    op.execute(DOWNGRADE)
