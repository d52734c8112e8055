"""The scope `operate` of the service's tokens: who may pass a proxy to Dagster, MLflow and Grafana.

Whoever reaches Dagster's UI can start any run, so none of the earlier scopes includes it.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE sales.service_tokens
    DROP CONSTRAINT service_tokens_scopes_check,
    ADD CONSTRAINT service_tokens_scopes_check CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'plan', 'train', 'operate']);
"""

#: A token that could only operate has nothing left that it may do: it goes.
DOWNGRADE = """
DELETE FROM sales.service_tokens WHERE scopes <@ ARRAY['operate'];
UPDATE sales.service_tokens SET scopes = array_remove(scopes, 'operate')
WHERE 'operate' = ANY (scopes);
ALTER TABLE sales.service_tokens
    DROP CONSTRAINT service_tokens_scopes_check,
    ADD CONSTRAINT service_tokens_scopes_check CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'plan', 'train']);
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the change."""
    op.execute(DOWNGRADE)
