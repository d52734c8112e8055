"""What still counts: outdated corrections that nobody settled, forecasts from days that have sales.

A refresh that runs while its newest day is withdrawn issues its forecasts after the withdrawal.
"""

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

CREATE FUNCTION sales.is_void(of_store integer, of_origin date, written timestamptz)
RETURNS boolean LANGUAGE sql STABLE SET search_path = sales, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM withdrawals w
        WHERE w.store = of_store AND w.date = of_origin AND (
            w.withdrawn_at > written OR NOT EXISTS (
                SELECT FROM cleaned_sales c WHERE c.store = of_store AND c.date = of_origin)))
$$;
COMMENT ON FUNCTION sales.is_void IS
    'Whether the sales of the day that a forecast starts from were withdrawn since.';
REVOKE ALL ON FUNCTION sales.is_void FROM public;
GRANT EXECUTE ON FUNCTION sales.is_void TO sales_assets, sales_reader;

CREATE OR REPLACE VIEW sales.current_forecasts AS
WITH newest AS (
    SELECT DISTINCT ON (store) store, origin, refresh_id
    FROM sales.forecasts_issued
    WHERE horizon = 1 AND NOT sales.is_void(store, origin, written_at)
    ORDER BY store, origin DESC, written_at DESC
)
SELECT f.* FROM sales.forecasts_issued f
JOIN newest USING (store, origin, refresh_id);
"""

DOWNGRADE = """
CREATE OR REPLACE VIEW sales.current_forecasts AS
WITH newest AS (
    SELECT DISTINCT ON (store) store, origin, refresh_id
    FROM sales.forecasts_issued f
    WHERE horizon = 1 AND NOT EXISTS (
        SELECT FROM sales.withdrawals w
        WHERE w.store = f.store AND w.date = f.origin AND w.withdrawn_at > f.written_at)
    ORDER BY store, origin DESC, written_at DESC
)
SELECT f.* FROM sales.forecasts_issued f
JOIN newest USING (store, origin, refresh_id);
DROP FUNCTION sales.is_void;
DROP VIEW sales.outdated_in_force;
"""


def upgrade() -> None:
    """Add the view and the rule."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWNGRADE)
