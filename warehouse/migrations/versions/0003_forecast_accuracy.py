"""Accuracy: forecasts compared with the actual sales, by lead time."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE sales.forecast_accuracy (
    kind          text     NOT NULL CHECK (kind IN ('issued', 'backtest')),
    store         integer  NOT NULL,
    date          date     NOT NULL,
    lead_week     smallint NOT NULL CHECK (lead_week > 0),
    origin        date,
    model_version text,
    forecasts     smallint NOT NULL,
    sold          smallint NOT NULL CHECK (sold <= forecasts),
    sales         double precision NOT NULL,
    mean          double precision NOT NULL,
    absolute_error        double precision NOT NULL,
    squared_percent_error double precision NOT NULL,
    inside_80     smallint NOT NULL CHECK (inside_80 <= sold),
    inside_95     smallint NOT NULL CHECK (inside_95 <= sold),
    written_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((origin IS NOT NULL) = (kind = 'backtest')),
    UNIQUE NULLS NOT DISTINCT (date, store, kind, lead_week, origin, model_version)
);
COMMENT ON TABLE sales.forecast_accuracy IS
    'What a store sold on a day against what had been forecast for it, as sums over forecasts, '
    'so that any rows can be added up. lead_week: 1 is up to 7 days ahead, 2 up to 14. issued: '
    'the origins of a week together, each as it was issued last; backtest: a row an origin.';
COMMENT ON COLUMN sales.forecast_accuracy.sold IS 'Forecasts of days on which something was sold.';
COMMENT ON COLUMN sales.forecast_accuracy.sales IS 'What was sold, counted once a forecast.';
COMMENT ON COLUMN sales.forecast_accuracy.mean IS 'Sum of the forecasts to add up for totals.';
COMMENT ON COLUMN sales.forecast_accuracy.absolute_error IS 'Sum of |sales - q0_5|.';
COMMENT ON COLUMN sales.forecast_accuracy.squared_percent_error IS
    'Sum of ((sales - point) / sales)^2 where something was sold.';
COMMENT ON COLUMN sales.forecast_accuracy.inside_80 IS
    'Of the sold ones, how many lay from q0_1 to q0_9; inside_95: from q0_025 to q0_975.';

-- Scoring a day looks for the day in forecasts from many origins.
CREATE INDEX forecasts_by_day ON sales.forecasts (date, store);

CREATE VIEW sales.accuracy_by_lead AS
SELECT kind, lead_week, min(date) AS first_day, max(date) AS last_day,
    sum(forecasts) AS forecasts,
    sqrt(sum(squared_percent_error) / nullif(sum(sold), 0)) AS rmspe,
    sum(absolute_error) / nullif(sum(sales), 0) AS wape,
    sum(mean) / nullif(sum(sales), 0) - 1 AS bias,
    sum(inside_80)::float8 / nullif(sum(sold), 0) AS coverage_80,
    sum(inside_95)::float8 / nullif(sum(sold), 0) AS coverage_95
FROM sales.forecast_accuracy GROUP BY kind, lead_week;
COMMENT ON VIEW sales.accuracy_by_lead IS 'Accuracy of all that is known so far, by lead time.';

ALTER TABLE sales.refreshes ADD COLUMN scored_at timestamptz;
COMMENT ON COLUMN sales.refreshes.scored_at IS
    'When the days that it took were held against their forecasts; null: the next one does it.';
UPDATE sales.refreshes SET scored_at = clock_timestamp();

GRANT SELECT ON sales.forecast_accuracy, sales.accuracy_by_lead TO sales_assets, sales_reader;
GRANT INSERT, DELETE ON sales.forecast_accuracy TO sales_assets;
"""

DOWNGRADE = """
ALTER TABLE sales.refreshes DROP COLUMN scored_at;
DROP VIEW sales.accuracy_by_lead;
DROP INDEX sales.forecasts_by_day;
DROP TABLE sales.forecast_accuracy;
"""


def upgrade() -> None:
    """Apply the migration."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the migration."""
    op.execute(DOWNGRADE)
