"""Which outdated corrections still matter: nobody has settled them since."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE VIEW sales.outdated_in_force AS
SELECT o.*, s.topic FROM sales.outdated_corrections o JOIN sales.streams s USING (stream_id)
WHERE EXISTS (
    SELECT FROM sales.raw_sales r
    WHERE r.date = o.date AND r.stream_id = o.stream_id
        AND r.topic_partition = o.topic_partition AND r.kafka_offset = o.kafka_offset)
AND EXISTS (
    SELECT FROM sales.raw_sales r JOIN sales.streams k USING (stream_id)
    WHERE r.date = o.date AND r.store = o.store AND k.topic = o.kept_topic
        AND r.topic_partition = o.kept_partition AND r.kafka_offset = o.kept_offset)
AND NOT EXISTS (
    SELECT FROM sales.raw_sales r
    WHERE r.date = o.date AND r.store = o.store AND (r.sales IS NULL) = (o.sales IS NULL)
        AND r.event_time > o.kept_event_time AND r.ingest_time >= o.noted_at);
COMMENT ON VIEW sales.outdated_in_force IS
    'The outdated corrections that nobody has settled since, by a withdrawal or a later event.';
GRANT SELECT ON sales.outdated_in_force TO sales_stream, sales_assets, sales_reader;
"""


def upgrade() -> None:
    """Add the view."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP VIEW sales.outdated_in_force")
