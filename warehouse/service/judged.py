"""Statements on which forecasts of a store were judged, by lead time.

How good they were is in `accuracy.py`. A closed day is scored there as well, since totals need it,
but nothing can be inside or outside its range: what is counted here are days with sales.
"""

#: Days with sales and forecasts of them, by week of lead time. Parameters: kind, store, first day,
#: last day.
JUDGED = """
SELECT lead_week, count(DISTINCT date) AS days, sum(sold)::int8 AS forecasts,
    min(date) AS first_day, max(date) AS last_day
FROM sales.forecast_accuracy
WHERE kind = $1 AND store = $2::int4 AND date BETWEEN $3::date AND $4::date AND sold > 0
GROUP BY lead_week ORDER BY lead_week
"""
