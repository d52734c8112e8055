"""Retention: two functions that delete superseded events and issued forecasts from old origins.

The assets' role may not delete these rows itself. It may call the functions, which run with the
rights of their owner. They refuse a retention of less than 366 days. They never delete the event
that counts for a day, nor the forecasts from a store's newest origin.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE sales.removed_events (
    stream_id       smallint NOT NULL,
    topic_partition integer  NOT NULL,
    kafka_offset    bigint   NOT NULL,
    removed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream_id, topic_partition, kafka_offset)
);
COMMENT ON TABLE sales.removed_events IS
    'An event that was stored, then superseded by a correction, and removed by retention: so that '
    'every offset taken can still be accounted for.';

CREATE FUNCTION sales.remove_superseded_events(older_than_days integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = sales, pg_temp AS $$
DECLARE
    removed bigint;
BEGIN
    IF older_than_days IS NULL OR older_than_days < 366 THEN
        RAISE EXCEPTION 'events of the last 366 days stay, not of %', older_than_days;
    END IF;
    WITH old AS (
        SELECT r.tableoid, r.ctid, r.stream_id, r.topic_partition, r.kafka_offset,
            row_number() OVER (
                PARTITION BY r.store, r.date, r.sales IS NULL
                -- The same order as in core/cleaning: the newest event counts.
                ORDER BY r.event_time DESC, s.topic || '/' || s.topic_uuid COLLATE "C" DESC,
                    r.topic_partition DESC, r.kafka_offset DESC) AS place
        FROM raw_sales r JOIN streams s USING (stream_id)
        WHERE r.date < current_date - older_than_days
    ), gone AS (
        DELETE FROM raw_sales r USING old
        WHERE old.place > 1 AND r.tableoid = old.tableoid AND r.ctid = old.ctid
            AND r.ingest_time < now() - make_interval(days => older_than_days)
        RETURNING r.stream_id, r.topic_partition, r.kafka_offset
    ), noted AS (
        INSERT INTO removed_events (stream_id, topic_partition, kafka_offset)
        SELECT stream_id, topic_partition, kafka_offset FROM gone RETURNING 1
    )
    SELECT count(*) INTO removed FROM noted;
    RETURN removed;
END $$;
COMMENT ON FUNCTION sales.remove_superseded_events IS
    'Removes events of old days that a later event corrected; the ones that count stay for ever.';

CREATE FUNCTION sales.remove_old_origins(older_than_days integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = sales, pg_temp AS $$
DECLARE
    removed bigint;
BEGIN
    IF older_than_days IS NULL OR older_than_days < 366 THEN
        RAISE EXCEPTION 'forecasts of the last 366 days stay, not of %', older_than_days;
    END IF;
    WITH newest AS (
        SELECT store, max(origin) AS origin FROM forecasts_issued GROUP BY store
    ), gone AS (
        DELETE FROM forecasts_issued f USING newest n
        WHERE n.store = f.store AND f.origin < n.origin
            AND f.origin < current_date - older_than_days
            AND f.written_at < now() - make_interval(days => older_than_days)
        RETURNING 1
    )
    SELECT count(*) INTO removed FROM gone;
    RETURN removed;
END $$;
COMMENT ON FUNCTION sales.remove_old_origins IS
    'Removes issued forecasts from old origins, never a store''s newest; their accuracy '
    'stays, as long as the days that they forecast are not corrected.';

REVOKE ALL ON FUNCTION sales.remove_superseded_events, sales.remove_old_origins FROM public;
GRANT EXECUTE ON FUNCTION sales.remove_superseded_events, sales.remove_old_origins
    TO sales_assets;
GRANT SELECT ON sales.removed_events TO sales_stream, sales_assets, sales_reader;
"""

DOWNGRADE = """
DROP FUNCTION sales.remove_superseded_events, sales.remove_old_origins;
DROP TABLE sales.removed_events;
"""


def upgrade() -> None:
    """Apply the migration."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the migration."""
    op.execute(DOWNGRADE)
