"""The assets' tables: cleaned sales, features, models, forecasts, and refreshes."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE sales.cleaned_sales (
    store           integer     NOT NULL,
    date            date        NOT NULL,
    day_of_week     smallint    NOT NULL,
    sales           integer     NOT NULL,
    customers       integer     NOT NULL,
    open            smallint    NOT NULL,
    promo           smallint    NOT NULL,
    state_holiday   text        NOT NULL,
    school_holiday  smallint    NOT NULL,
    corrections     integer     NOT NULL,
    stream_id       smallint    NOT NULL,
    topic_partition integer     NOT NULL,
    kafka_offset    bigint      NOT NULL,
    event_time      timestamptz NOT NULL,
    written_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (store, date)
) PARTITION BY RANGE (date);
COMMENT ON TABLE sales.cleaned_sales IS
    'The valid sales of a store and date: the event with the latest event time.';

CREATE TABLE sales.features (
    store                    integer  NOT NULL,
    date                     date     NOT NULL,
    day_of_week              smallint NOT NULL,
    open                     smallint NOT NULL,
    promo                    smallint NOT NULL,
    state_holiday            smallint NOT NULL,
    school_holiday           smallint NOT NULL,
    log_sales                real,
    log_customers            real,
    promo_day                smallint NOT NULL,
    promo_days_left          smallint NOT NULL,
    days_since_promo         smallint NOT NULL,
    days_to_promo            smallint NOT NULL,
    promo_days_last_14       smallint NOT NULL,
    promo_days_next_14       smallint NOT NULL,
    days_since_holiday       smallint NOT NULL,
    days_to_holiday          smallint NOT NULL,
    school_day               smallint NOT NULL,
    school_days_left         smallint NOT NULL,
    days_since_school        smallint NOT NULL,
    days_to_school           smallint NOT NULL,
    closed_days_before       smallint NOT NULL,
    closed_days_after        smallint NOT NULL,
    open_days_week           smallint NOT NULL,
    days_since_refurbishment smallint NOT NULL,
    days_to_refurbishment    smallint NOT NULL,
    refurbishment_days       smallint NOT NULL,
    days_to_christmas        smallint NOT NULL,
    days_from_easter         smallint NOT NULL,
    plan_assumed             boolean  NOT NULL,
    written_at               timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (store, date)
) PARTITION BY RANGE (date);
COMMENT ON TABLE sales.features IS
    'What a model may know of a store and date; log_sales is null where the store was closed.';

CREATE TABLE sales.pooled_models (
    version       text PRIMARY KEY,
    period_start  date        NOT NULL,
    trained_until date        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    recipe        text        NOT NULL,
    mlflow_run_id text,
    metrics       jsonb       NOT NULL,
    model         bytea       NOT NULL
);
COMMENT ON TABLE sales.pooled_models IS
    'One trained pooled model; never changed once written. trained_until: the last day it saw.';

CREATE TABLE sales.models (
    store          integer     NOT NULL,
    period_start   date        NOT NULL,
    trained_until  date        NOT NULL,
    pooled_version text        REFERENCES sales.pooled_models,
    n_days         integer     NOT NULL,
    residual_scale double precision NOT NULL,
    coefficients   double precision[] NOT NULL,
    written_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (period_start, store)
);
COMMENT ON TABLE sales.models IS
    'The coefficients of a store, fitted to what was known at the end of a period (or so far). '
    'pooled_version null: no pooled model was old enough.';

CREATE TABLE sales.refreshes (
    refresh_id    text PRIMARY KEY,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    changes       integer     NOT NULL,
    stores        integer     NOT NULL,
    first_day     date,
    offsets       jsonb       NOT NULL,
    newest_origin date,
    model_version text,
    timings       jsonb       NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE sales.refreshes IS
    'One refresh, by its Dagster run: the changes it took and the offsets it saw. finished_at '
    'null: it has not committed its forecasts.';

CREATE TABLE sales.forecasts (
    kind          text     NOT NULL CHECK (kind IN ('issued', 'backtest')),
    store         integer  NOT NULL,
    origin        date     NOT NULL,
    date          date     NOT NULL,
    horizon       smallint NOT NULL,
    open          smallint NOT NULL,
    point         double precision NOT NULL,
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
    plan_assumed  boolean  NOT NULL,
    model_version text,
    refresh_id    text     NOT NULL,
    written_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (horizon = date - origin AND horizon > 0)
) PARTITION BY LIST (kind);
-- The assets' role may delete from the second only: an issued forecast stays as it was.
CREATE TABLE sales.forecasts_issued PARTITION OF sales.forecasts
    FOR VALUES IN ('issued') PARTITION BY RANGE (origin);
CREATE TABLE sales.forecasts_backtest PARTITION OF sales.forecasts
    FOR VALUES IN ('backtest') PARTITION BY RANGE (origin);
CREATE INDEX forecasts_by_store ON sales.forecasts (store, origin);
-- One entry an issue of a store: what the newest of them is, at a glance.
CREATE INDEX forecasts_issues ON sales.forecasts_issued (store, origin DESC, written_at DESC)
    WHERE horizon = 1;
COMMENT ON TABLE sales.forecasts IS
    'issued: what planners saw, append-only. backtest: from materializing a partition, replaced '
    'by the next such materialization. refresh_id: the Dagster run that wrote the row.';

CREATE VIEW sales.current_forecasts AS
WITH newest AS (
    SELECT DISTINCT ON (store) store, origin, refresh_id
    FROM sales.forecasts_issued
    WHERE horizon = 1
    ORDER BY store, origin DESC, written_at DESC
)
SELECT f.* FROM sales.forecasts_issued f
JOIN newest USING (store, origin, refresh_id);
COMMENT ON VIEW sales.current_forecasts IS
    'The forecasts in force: of each store the newest origin, as issued last.';

GRANT SELECT ON sales.cleaned_sales, sales.features, sales.pooled_models, sales.models,
    sales.refreshes, sales.forecasts, sales.current_forecasts TO sales_assets, sales_reader;
GRANT INSERT, DELETE ON sales.cleaned_sales, sales.features, sales.models TO sales_assets;
GRANT INSERT ON sales.forecasts TO sales_assets;
GRANT SELECT ON sales.forecasts_issued, sales.forecasts_backtest TO sales_assets, sales_reader;
GRANT DELETE ON sales.forecasts_backtest TO sales_assets;
GRANT INSERT ON sales.pooled_models TO sales_assets;
GRANT INSERT, UPDATE ON sales.refreshes TO sales_assets;
"""

DOWNGRADE = """
DROP VIEW sales.current_forecasts;
DROP TABLE sales.forecasts, sales.refreshes, sales.models, sales.pooled_models,
    sales.features, sales.cleaned_sales;
"""


def upgrade() -> None:
    """Apply the migration."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the migration."""
    op.execute(DOWNGRADE)
