"""Statements on how good forecasts were, by lead time and by who adjusted them."""

from warehouse.accuracy import LONGEST_HORIZON_DAYS

#: The newest scored day of a kind, the issued one first. Parameter: stores, null for all.
NEWEST = """
SELECT kind, max(date) AS last_day FROM sales.forecast_accuracy
WHERE $1::int4[] IS NULL OR store = ANY($1::int4[])
GROUP BY kind ORDER BY kind = 'issued' DESC LIMIT 1
"""

#: Sums by week of lead time. Parameters: kind, stores (null for all), first day, last day.
BY_LEAD = """
SELECT lead_week, count(DISTINCT date) AS days, sum(forecasts)::float8 AS forecasts,
    sum(sold)::float8 AS sold, sum(sales)::float8 AS sales, sum(mean)::float8 AS mean,
    sum(absolute_error)::float8 AS absolute_error,
    sum(squared_percent_error)::float8 AS squared_percent_error,
    sum(inside_80)::float8 AS inside_80, sum(inside_95)::float8 AS inside_95
FROM sales.forecast_accuracy
WHERE kind = $1 AND ($2::int4[] IS NULL OR store = ANY($2::int4[]))
    AND date BETWEEN $3::date AND $4::date
GROUP BY lead_week ORDER BY lead_week
"""

#: The seasonal naive's errors on the same forecasts, defined as in `warehouse/accuracy.py`.
#: Parameters: kind, stores, first day, last day.
NAIVE_BY_LEAD = f"""
WITH met AS MATERIALIZED (
    SELECT DISTINCT ON (f.store, f.origin, f.date)
        f.store, f.date, f.open, f.horizon, c.sales::float8 AS sales
    FROM sales.forecasts f
    JOIN sales.cleaned_sales c ON c.store = f.store AND c.date = f.date
    WHERE f.kind = $1 AND f.store = ANY($2::int4[]) AND f.date BETWEEN $3::date AND $4::date
        AND c.date BETWEEN $3::date AND $4::date
        AND f.origin >= $3::date - {LONGEST_HORIZON_DAYS}
    ORDER BY f.store, f.origin, f.date, f.written_at DESC
), compared AS (
    SELECT (m.horizon - 1) / 7 + 1 AS lead_week, m.sales, coalesce(n.sales, 0) * m.open AS naive
    FROM met m LEFT JOIN LATERAL (
        SELECT c.sales FROM sales.cleaned_sales c
        WHERE c.store = m.store AND c.sales > 0 AND c.date = ANY (ARRAY[
            m.date - (m.horizon + 13) / 14 * 14, m.date - (m.horizon + 13) / 14 * 14 - 14,
            m.date - (m.horizon + 13) / 14 * 14 - 28, m.date - (m.horizon + 13) / 14 * 14 - 42])
        ORDER BY c.date DESC LIMIT 1
    ) n ON true
)
SELECT lead_week, sum(abs(sales - naive))::float8 AS absolute_error, sum(sales)::float8 AS sales,
    coalesce(sum(((sales - naive) / nullif(sales, 0)) ^ 2), 0)::float8 AS squared_percent_error,
    count(*) FILTER (WHERE sales > 0)::float8 AS sold
FROM compared GROUP BY lead_week
"""

#: Forecast value added by author and reason. Parameters: stores (null for all), author (null for
#: all), first day, last day.
VALUE_ADDED = """
SELECT author, reason, count(*) AS days, sum(sales) AS sales,
    sum(abs(sales - naive)) AS naive_error, sum(abs(sales - model)) AS model_error,
    sum(abs(sales - adjusted)) AS adjusted_error
FROM sales.forecast_value_added
WHERE ($1::int4[] IS NULL OR store = ANY($1::int4[])) AND ($2::text IS NULL OR author = $2::text)
    AND date BETWEEN $3::date AND $4::date
GROUP BY author, reason ORDER BY author, reason
"""
