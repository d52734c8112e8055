"""What the stream remembers to notice lost events and corrections, and how sales are withdrawn.

The ledger remembers each topic-partition's last event, so that a start notices a broker that lost
its tail and was overtaken. A correction that arrives late and loses by its time is noted.
Withdrawing moves an event from `raw_sales` to quarantine, so its offset stays accounted for.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE sales.stream_offsets
    ADD COLUMN last_event_offset bigint,
    ADD COLUMN last_event_digest bytea,
    ADD COLUMN newest_event_time timestamptz;
COMMENT ON COLUMN sales.stream_offsets.last_event_digest IS
    'SHA-256 of the time, key and value of the event at last_event_offset: a start compares it '
    'with what the broker holds there.';
COMMENT ON COLUMN sales.stream_offsets.newest_event_time IS
    'No event taken so far has a later possible time. An event that is older may lose against one.';
-- What was taken before has no later time than the moment at which it was taken.
UPDATE sales.stream_offsets SET newest_event_time = updated_at;

CREATE TABLE sales.outdated_corrections (
    stream_id       smallint    NOT NULL,
    topic_partition integer     NOT NULL,
    kafka_offset    bigint      NOT NULL,
    store           integer     NOT NULL,
    date            date        NOT NULL,
    event_time      timestamptz NOT NULL,
    sales           integer,
    noted_at        timestamptz NOT NULL DEFAULT now(),
    kept_topic      text        NOT NULL,
    kept_partition  integer     NOT NULL,
    kept_offset     bigint      NOT NULL,
    kept_event_time timestamptz NOT NULL,
    kept_sales      integer,
    PRIMARY KEY (stream_id, topic_partition, kafka_offset)
);
COMMENT ON TABLE sales.outdated_corrections IS
    'An event that arrived after another one of its store and day, says something else, and does '
    'not count, because its own time is earlier. kept_*: the event that counted instead.';

ALTER TABLE sales.changes DROP CONSTRAINT changes_kind_check;
ALTER TABLE sales.changes ADD CONSTRAINT changes_kind_check CHECK (kind IN (
    'stream', 'file', 'requeue', 'withdrawal', 'stores', 'plan', 'champion', 'calendar',
    'features'));

CREATE TABLE sales.withdrawals (
    stream_id       smallint    NOT NULL,
    topic_partition integer     NOT NULL,
    kafka_offset    bigint      NOT NULL,
    store           integer     NOT NULL,
    date            date        NOT NULL,
    why             text        NOT NULL,
    withdrawn_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    withdrawn_by    text        NOT NULL DEFAULT session_user,
    PRIMARY KEY (stream_id, topic_partition, kafka_offset, withdrawn_at)
);
CREATE INDEX withdrawals_by_day ON sales.withdrawals (store, date);
COMMENT ON TABLE sales.withdrawals IS
    'Sales that a person took back, and why; append-only. The events are in quarantine.';

CREATE FUNCTION sales.withdraw_sales(of_store integer, of_day date, why text, every boolean)
RETURNS TABLE (topic text, topic_partition integer, kafka_offset bigint, event_time timestamptz,
    sales integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = sales, pg_temp AS $$
#variable_conflict use_column
DECLARE
    event     record;
    remaining date;
BEGIN
    IF coalesce(trim(why), '') = '' THEN
        RAISE EXCEPTION 'a withdrawal needs a reason';
    END IF;
    -- As the stream and a requeue do: first the ledger's rows, always in the same order.
    PERFORM 1 FROM stream_offsets o
    WHERE (o.stream_id, o.topic_partition) IN (
        SELECT r.stream_id, r.topic_partition FROM raw_sales r
        WHERE r.store = of_store AND r.date = of_day AND r.sales IS NOT NULL)
    ORDER BY o.stream_id, o.topic_partition FOR UPDATE;
    FOR event IN
        SELECT r.*, s.topic FROM raw_sales r JOIN streams s USING (stream_id)
        WHERE r.store = of_store AND r.date = of_day AND r.sales IS NOT NULL
        -- The same order as in forecasting/cleaning.py: the first row is the one that counts.
        ORDER BY r.event_time DESC, s.topic || '/' || s.topic_uuid COLLATE "C" DESC,
            r.topic_partition DESC, r.kafka_offset DESC
        LIMIT CASE WHEN every THEN NULL ELSE 1 END
    LOOP
        DELETE FROM raw_sales r
        WHERE r.date = of_day AND r.stream_id = event.stream_id
            AND r.topic_partition = event.topic_partition AND r.kafka_offset = event.kafka_offset;
        INSERT INTO quarantined_events (stream_id, topic_partition, kafka_offset, event_time,
            ingest_time, key, value, reason, detail)
        VALUES (event.stream_id, event.topic_partition, event.kafka_offset,
            -- An event of before the limits may have a time that no reader understands.
            least(greatest(event.event_time, '1678-01-01 00:00:00+00'),
                '2262-01-01 00:00:00+00'),
            event.ingest_time, convert_to(of_store::text, 'UTF8'),
            convert_to(json_strip_nulls(json_build_object(
                'Store', event.store, 'DayOfWeek', event.day_of_week,
                'Date', to_char(event.date, 'YYYY-MM-DD'), 'Sales', event.sales,
                'Customers', event.customers, 'Open', event.open, 'Promo', event.promo,
                'StateHoliday', event.state_holiday,
                'SchoolHoliday', event.school_holiday))::text, 'UTF8'),
            'withdrawn', left(why, 200));
        UPDATE stream_offsets o SET stored = stored - 1, quarantined = quarantined + 1,
            updated_at = clock_timestamp()
        WHERE o.stream_id = event.stream_id AND o.topic_partition = event.topic_partition;
        INSERT INTO withdrawals (stream_id, topic_partition, kafka_offset, store, date, why)
        VALUES (event.stream_id, event.topic_partition, event.kafka_offset, of_store, of_day,
            why);
        topic := event.topic;
        topic_partition := event.topic_partition;
        kafka_offset := event.kafka_offset;
        event_time := least(
            greatest(event.event_time, '1678-01-01 00:00:00+00'), '2262-01-01 00:00:00+00');
        sales := event.sales;
        RETURN NEXT;
    END LOOP;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- A refresh goes up to the newest day that has sales, so it would leave a later day's rows.
    SELECT max(r.date) INTO remaining FROM raw_sales r
    WHERE r.store = of_store AND r.sales IS NOT NULL;
    IF NOT EXISTS (SELECT FROM raw_sales r
        WHERE r.store = of_store AND r.date = of_day AND r.sales IS NOT NULL)
    THEN
        DELETE FROM cleaned_sales c WHERE c.store = of_store AND c.date = of_day;
        DELETE FROM features f WHERE f.store = of_store AND f.date = of_day;
    END IF;
    INSERT INTO changes (kind, stores, first_days)
    VALUES ('withdrawal', ARRAY[of_store], ARRAY[least(of_day, remaining)]);
END $$;
COMMENT ON FUNCTION sales.withdraw_sales IS
    'Moves the sales of a store and day that count (or every one) to quarantine, and has the '
    'store refreshed.';
REVOKE ALL ON FUNCTION sales.withdraw_sales FROM public;

-- Forecasts from a day whose sales were withdrawn later are in force no longer.
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

GRANT EXECUTE ON FUNCTION sales.withdraw_sales TO sales_stream;
GRANT SELECT, INSERT ON sales.outdated_corrections TO sales_stream;
GRANT SELECT ON sales.outdated_corrections, sales.withdrawals TO sales_stream, sales_assets,
    sales_reader;
"""

DOWNGRADE = """
CREATE OR REPLACE VIEW sales.current_forecasts AS
WITH newest AS (
    SELECT DISTINCT ON (store) store, origin, refresh_id
    FROM sales.forecasts_issued
    WHERE horizon = 1
    ORDER BY store, origin DESC, written_at DESC
)
SELECT f.* FROM sales.forecasts_issued f
JOIN newest USING (store, origin, refresh_id);
DROP FUNCTION sales.withdraw_sales;
DROP TABLE sales.withdrawals, sales.outdated_corrections;
UPDATE sales.changes SET kind = 'requeue' WHERE kind = 'withdrawal';
ALTER TABLE sales.changes DROP CONSTRAINT changes_kind_check;
ALTER TABLE sales.changes ADD CONSTRAINT changes_kind_check CHECK (
    kind IN ('stream', 'file', 'requeue', 'stores', 'plan', 'champion', 'calendar', 'features'));
ALTER TABLE sales.stream_offsets
    DROP COLUMN last_event_offset, DROP COLUMN last_event_digest, DROP COLUMN newest_event_time;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back."""
    op.execute(DOWNGRADE)
