"""What makes forecasts trusted: limits by the stores' largest days, and totals with intervals."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# A view's column list is fixed when it is created, so it is created again.
_CURRENT_FORECASTS = """
DROP VIEW sales.current_forecasts;
CREATE VIEW sales.current_forecasts AS
WITH newest AS (
    SELECT DISTINCT ON (store) store, origin, refresh_id
    FROM sales.forecasts_issued
    WHERE horizon = 1 AND NOT sales.is_void(store, origin, written_at)
    ORDER BY store, origin DESC, written_at DESC
)
SELECT f.* FROM sales.forecasts_issued f
JOIN newest USING (store, origin, refresh_id);
COMMENT ON VIEW sales.current_forecasts IS
    'The forecasts in force: of each store the newest origin, as issued last.';
GRANT SELECT ON sales.current_forecasts TO sales_assets, sales_reader;
"""

_REMOVE_OLD_ORIGINS = """
CREATE OR REPLACE FUNCTION sales.remove_old_origins(older_than_days integer) RETURNS bigint
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
    SELECT count(*) INTO removed FROM gone;{totals}
    RETURN removed;
END $$;
"""

_REMOVE_OLD_TOTALS = """
    DELETE FROM forecast_totals t
    WHERE t.origin < (SELECT max(origin) FROM forecast_totals)
        AND t.origin < current_date - older_than_days
        AND t.written_at < now() - make_interval(days => older_than_days);"""

UPGRADE = f"""
ALTER TABLE sales.forecasts ADD COLUMN limited boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sales.forecasts.limited IS
    'A value was cut to what the store can sell at most; docs/forecasting.md says how much.';
ALTER TABLE sales.models
    ADD COLUMN largest_day double precision,
    ADD COLUMN median_day  double precision;
COMMENT ON COLUMN sales.models.largest_day IS
    'Sales of the store''s largest day; null in models from before forecasts had limits.';
{_CURRENT_FORECASTS}
CREATE TABLE sales.forecast_totals (
    level         text     NOT NULL CHECK (level IN ('store', 'chain', 'store_type', 'assortment')),
    member        text     NOT NULL,
    grain         text     NOT NULL CHECK (grain IN ('day', 'week')),
    origin        date     NOT NULL,
    first_day     date     NOT NULL,
    last_day      date     NOT NULL,
    days          integer  NOT NULL,
    mean          double precision NOT NULL,
    q0_025        double precision NOT NULL,
    q0_1          double precision NOT NULL,
    q0_2          double precision NOT NULL,
    q0_3          double precision NOT NULL,
    q0_4          double precision NOT NULL,
    q0_5          double precision NOT NULL,
    q0_6          double precision NOT NULL,
    q0_7          double precision NOT NULL,
    q0_8          double precision NOT NULL,
    q0_9          double precision NOT NULL,
    q0_975        double precision NOT NULL,
    model_version text,
    refresh_id    text     NOT NULL,
    written_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (origin < first_day AND first_day <= last_day)
);
CREATE INDEX forecast_totals_by_member ON sales.forecast_totals (level, member, origin DESC);
CREATE INDEX forecast_totals_written ON sales.forecast_totals (level, member, written_at DESC);
CREATE INDEX forecast_totals_by_last_day ON sales.forecast_totals (last_day);
COMMENT ON TABLE sales.forecast_totals IS
    'What a store, a group of stores or the chain sells in a week or on a day, with quantiles from '
    'joint paths. Each refresh appends: of equal totals, the one written last is in force.';
-- Members come from the stores: to look for them among all totals ever written takes ever longer.
CREATE VIEW sales.current_totals AS
WITH members AS (
    SELECT 'chain' AS level, 'chain' AS member
    UNION ALL SELECT DISTINCT 'store_type', store_type FROM sales.stores
    UNION ALL SELECT DISTINCT 'assortment', assortment FROM sales.stores
    UNION ALL SELECT 'store', store::text FROM sales.stores
), newest AS (
    SELECT m.level, m.member, f.origin, f.refresh_id FROM members m CROSS JOIN LATERAL (
        SELECT t.origin, t.refresh_id FROM sales.forecast_totals t
        WHERE t.level = m.level AND t.member = m.member ORDER BY t.written_at DESC LIMIT 1
    ) AS f
)
SELECT t.* FROM sales.forecast_totals t JOIN newest n
    ON t.level = n.level AND t.member = n.member AND t.origin = n.origin
    AND t.refresh_id = n.refresh_id;
COMMENT ON VIEW sales.current_totals IS
    'The totals in force: of each store, group and the chain those that were written last.';
{_REMOVE_OLD_ORIGINS.format(totals=_REMOVE_OLD_TOTALS)}
GRANT SELECT ON sales.forecast_totals, sales.current_totals TO sales_assets, sales_reader;
GRANT INSERT ON sales.forecast_totals TO sales_assets;
"""

DOWNGRADE = f"""
{_REMOVE_OLD_ORIGINS.format(totals="")}
DROP VIEW sales.current_totals;
DROP TABLE sales.forecast_totals;
DROP VIEW sales.current_forecasts;
ALTER TABLE sales.models DROP COLUMN largest_day, DROP COLUMN median_day;
ALTER TABLE sales.forecasts DROP COLUMN limited;
{_CURRENT_FORECASTS.replace("DROP VIEW sales.current_forecasts;", "")}
"""


def upgrade() -> None:
    """Apply the migration."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the migration."""
    op.execute(DOWNGRADE)
