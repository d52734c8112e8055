"""The stream's tables: streams, offsets, raw sales, quarantine, changes, stores and planned days.

The raw sales grow for ever, so they are range-partitioned by month: a month of the asset graph
reads one child table.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE sales.streams (
    stream_id   smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text NOT NULL,
    topic_uuid  text NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (topic, topic_uuid)
);
COMMENT ON TABLE sales.streams IS
    'A Kafka topic by its id (a recreated topic is another stream), or a loaded file: topic '
    '"file:<sha256 of the rows>" with an empty topic_uuid.';

CREATE TABLE sales.stream_offsets (
    stream_id       smallint NOT NULL REFERENCES sales.streams,
    topic_partition integer  NOT NULL,
    first_offset    bigint   NOT NULL,
    next_offset     bigint   NOT NULL,
    stored          bigint   NOT NULL DEFAULT 0,
    quarantined     bigint   NOT NULL DEFAULT 0,
    gaps            bigint   NOT NULL DEFAULT 0,
    expired         bigint   NOT NULL DEFAULT 0,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream_id, topic_partition),
    CONSTRAINT offsets_balance
        CHECK (next_offset - first_offset = stored + quarantined + gaps + expired)
);
COMMENT ON TABLE sales.stream_offsets IS
    'How far each topic-partition has been taken. gaps: offsets that the broker holds no event '
    'for (transaction markers, compaction). expired: offsets that retention deleted unread.';

CREATE TABLE sales.raw_sales (
    stream_id       smallint    NOT NULL,
    topic_partition integer     NOT NULL,
    kafka_offset    bigint      NOT NULL,
    event_time      timestamptz NOT NULL,
    ingest_time     timestamptz NOT NULL DEFAULT now(),
    store           integer     NOT NULL,
    date            date        NOT NULL,
    day_of_week     smallint    NOT NULL,
    sales           integer,
    customers       integer,
    open            smallint,
    promo           smallint    NOT NULL,
    state_holiday   text        NOT NULL,
    school_holiday  smallint    NOT NULL
) PARTITION BY RANGE (date);
COMMENT ON TABLE sales.raw_sales IS
    'One delivered event, append-only. sales and customers are null on a planned day.';

CREATE TABLE sales.quarantined_events (
    stream_id       smallint    NOT NULL,
    topic_partition integer     NOT NULL,
    kafka_offset    bigint      NOT NULL,
    event_time      timestamptz NOT NULL,
    ingest_time     timestamptz NOT NULL DEFAULT now(),
    key             bytea,
    value           bytea,
    reason          text        NOT NULL,
    detail          text,
    PRIMARY KEY (stream_id, topic_partition, kafka_offset)
);
COMMENT ON TABLE sales.quarantined_events IS 'One unusable event with its bytes and the reason.';

CREATE TABLE sales.changes (
    change_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (
        kind IN ('stream', 'file', 'requeue', 'stores', 'plan', 'champion')),
    made_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    stream_id       smallint REFERENCES sales.streams,
    topic_partition integer,
    from_offset     bigint,
    until_offset    bigint,
    stores          integer[] NOT NULL,
    first_days      date[]    NOT NULL,
    refresh_id      text,
    done_at         timestamptz,
    CHECK (cardinality(stores) = cardinality(first_days))
);
COMMENT ON TABLE sales.changes IS
    'One thing that can make forecasts stale. stores and first_days run in parallel: the stores '
    'it touched and the earliest day that it touched of each. done_at: when a refresh that saw '
    'it committed its forecasts.';
CREATE INDEX changes_open ON sales.changes (change_id) WHERE done_at IS NULL;

CREATE TABLE sales.stores (
    store                        integer PRIMARY KEY CHECK (store > 0),
    store_type                   text NOT NULL,
    assortment                   text NOT NULL,
    competition_distance         double precision,
    competition_open_since_month smallint,
    competition_open_since_year  smallint,
    promo2                       smallint NOT NULL,
    promo2_since_week            smallint,
    promo2_since_year            smallint,
    promo_interval               text
);

CREATE TABLE sales.planned_days (
    store          integer  NOT NULL,
    date           date     NOT NULL,
    open           smallint,
    promo          smallint NOT NULL,
    state_holiday  text     NOT NULL,
    school_holiday smallint NOT NULL,
    event_time     timestamptz NOT NULL,
    PRIMARY KEY (store, date)
);
COMMENT ON TABLE sales.planned_days IS
    'What is known ahead for a store and date. open null: not stated, counts as open.';

CREATE FUNCTION sales.ensure_months(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = sales, pg_temp AS $$
DECLARE
    parent text;
    month  date;
    child  text;
    made   integer := 0;
BEGIN
    -- Processes that start together must not race for the same child table.
    PERFORM pg_advisory_xact_lock(hashtext('sales.ensure_months'));
    FOR parent IN
        SELECT c.relname FROM pg_partitioned_table p
        JOIN pg_class c ON c.oid = p.partrelid
        WHERE c.relnamespace = 'sales'::regnamespace AND p.partstrat = 'r'
    LOOP
        month := date_trunc('month', first_day)::date;
        WHILE month <= last_day LOOP
            child := parent || '_' || to_char(month, 'YYYYMM');
            IF to_regclass('sales.' || child) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE sales.%I PARTITION OF sales.%I FOR VALUES FROM (%L) TO (%L)',
                    child, parent, month, (month + interval '1 month')::date);
                made := made + 1;
            END IF;
            month := (month + interval '1 month')::date;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
COMMENT ON FUNCTION sales.ensure_months IS
    'Makes the monthly child tables of every partitioned table for a span of days.';
REVOKE ALL ON FUNCTION sales.ensure_months FROM public;

GRANT USAGE ON SCHEMA sales TO sales_stream, sales_assets, sales_reader;
GRANT EXECUTE ON FUNCTION sales.ensure_months TO sales_stream, sales_assets;
GRANT SELECT ON ALL TABLES IN SCHEMA sales TO sales_stream, sales_assets, sales_reader;

GRANT INSERT ON sales.streams, sales.stream_offsets, sales.raw_sales, sales.changes
    TO sales_stream, sales_assets;
GRANT UPDATE ON sales.stream_offsets TO sales_stream, sales_assets;
-- A requeue takes events out of quarantine, in the transaction that stores them.
GRANT INSERT, DELETE ON sales.quarantined_events TO sales_stream;
GRANT UPDATE ON sales.changes TO sales_assets;
GRANT INSERT, UPDATE, DELETE ON sales.stores, sales.planned_days TO sales_assets;
"""

DOWNGRADE = """
DROP FUNCTION sales.ensure_months;
DROP TABLE sales.planned_days, sales.stores, sales.changes, sales.quarantined_events,
    sales.raw_sales, sales.stream_offsets, sales.streams;
"""


def upgrade() -> None:
    """Apply the migration."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the migration."""
    op.execute(DOWNGRADE)
