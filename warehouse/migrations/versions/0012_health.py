"""Health: the stream's heartbeat, stores that are closed for good, and when events came."""

from alembic import op

revision = "0012"
down_revision = "0007"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE sales.stream_heartbeats (
    topic         text PRIMARY KEY,
    state         text        NOT NULL CHECK (
        state IN ('starting', 'running', 'restarting', 'refused', 'stopped')),
    beat_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    starts        timestamptz[] NOT NULL DEFAULT '{}',
    failing_since timestamptz,
    behind_since  timestamptz,
    lag_events    bigint      NOT NULL DEFAULT 0,
    error         text
);
COMMENT ON TABLE sales.stream_heartbeats IS
    'The newest sign of life of a topic''s stream. starts: starts of the query within an hour. '
    'failing_since: the first of its failures in a row. behind_since: since when events have '
    'waited and none was stored.';

CREATE TABLE sales.retired_stores (
    store      integer PRIMARY KEY,
    retired_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales.retired_stores IS
    'A store that is closed for good: nobody expects sales or fresh forecasts of it.';

-- What came within a day, without reading the whole history. Rows are appended as they come, so a
-- block range index is exact enough and costs next to nothing to keep.
CREATE INDEX raw_sales_ingested ON sales.raw_sales USING brin (ingest_time);
CREATE INDEX quarantined_ingested ON sales.quarantined_events (ingest_time);

GRANT SELECT, INSERT, UPDATE ON sales.stream_heartbeats TO sales_stream;
GRANT SELECT ON sales.stream_heartbeats, sales.retired_stores TO sales_assets, sales_reader;
GRANT INSERT, DELETE ON sales.retired_stores TO sales_assets;
"""

DOWNGRADE = """
DROP INDEX sales.quarantined_ingested, sales.raw_sales_ingested;
DROP TABLE sales.retired_stores, sales.stream_heartbeats;
"""


def upgrade() -> None:
    """Applies the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Takes the change back."""
    op.execute(DOWNGRADE)
