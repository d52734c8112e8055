"""Statements that read stores, forecasts and history, page by page.

A page begins after the last key of the one before (`$4` and on), so it costs the same however far
one has read. Python's own reads of forecasts are in `warehouse/in_force.py`.
"""

from forecasting.columns import QUANTILE_COLUMNS
from warehouse.accuracy import LONGEST_HORIZON_DAYS

FORECAST_COLUMNS = (
    *("store", "origin", "date", "horizon", "kind", "open", "plan_assumed", "point", "mean"),
    *(*QUANTILE_COLUMNS, "model_version", "refresh_id"),
)
HISTORY_COLUMNS = (
    *("store", "date", "sales", "customers", "open", "promo", "state_holiday"),
    *("school_holiday", "corrections"),
)

#: What decides whether the forecasts in force are still the same.
VERSION = """
SELECT concat_ws(' ', (
    SELECT refresh_id FROM sales.refreshes WHERE finished_at IS NOT NULL
    ORDER BY finished_at DESC NULLS LAST LIMIT 1
), (SELECT max(withdrawn_at) FROM sales.withdrawals)) AS version
"""

#: Parameters: stores after this one, how many.
STORES = """
SELECT s.store, s.store_type, s.assortment, s.competition_distance, s.promo2, s.promo_interval,
    EXISTS (SELECT FROM sales.retired_stores r WHERE r.store = s.store) AS retired
FROM sales.stores s WHERE s.store > $1 ORDER BY s.store LIMIT $2
"""

#: Which of these stores exist; null for all.
KNOWN_STORES = """
SELECT store FROM sales.stores WHERE $1::int4[] IS NULL OR store = ANY($1::int4[]) ORDER BY store
"""

_IN_FORCE = """
newest AS (
    SELECT a.store, n.origin, n.refresh_id
    FROM unnest($1::int4[]) AS a (store) CROSS JOIN LATERAL (
        SELECT f.origin, f.refresh_id FROM sales.forecasts_issued f
        WHERE f.store = a.store AND f.horizon = 1
            AND NOT sales.is_void(f.store, f.origin, f.written_at)
        ORDER BY f.origin DESC, f.written_at DESC LIMIT 1
    ) AS n
)
"""

_AS_OF = """
newest AS (
    SELECT DISTINCT ON (store) store, kind, origin, refresh_id FROM sales.forecasts
    WHERE horizon = 1 AND store = ANY($1::int4[]) AND (
        kind = 'issued' AND origin <= $7::date OR kind = 'backtest' AND origin = $7::date)
    ORDER BY store, kind = 'issued' DESC, origin DESC, written_at DESC
)
"""

_COLUMNS = ", ".join(f"f.{name}" for name in FORECAST_COLUMNS)
#: Keeps the days' condition out of the join. There it would be answered by the index on days, which
#: holds the days of all stores.
_FENCE = "OFFSET 0"
_PAGE = """
WHERE f.date BETWEEN $2::date AND $3::date AND (f.store, f.date) > ($4::int4, $5::date)
ORDER BY f.store, f.date LIMIT $6::int8
"""

_ROWS_IN_FORCE = f"""
FROM (
    SELECT f.* FROM newest n JOIN sales.forecasts_issued f
        ON f.store = n.store AND f.origin = n.origin AND f.refresh_id = n.refresh_id
    {_FENCE}
) AS f
{_PAGE}
"""

#: Forecasts in force. Parameters: stores, first day, last day, store and date of the last row of
#: the page before, how many rows.
FORECASTS = f"WITH {_IN_FORCE} SELECT {_COLUMNS} {_ROWS_IN_FORCE}"

#: The same with their `VERSION` in each row: both are of one moment, and cost one way.
FORECASTS_AND_VERSION = (
    f"WITH {_IN_FORCE} SELECT {_COLUMNS}, ({VERSION}) AS version {_ROWS_IN_FORCE}"
)

#: Forecasts that were in force at an earlier origin, and backtests from it. One parameter more: the
#: origin.
FORECASTS_AS_OF = f"""
WITH {_AS_OF}
SELECT {_COLUMNS} FROM (
    SELECT f.* FROM newest n JOIN sales.forecasts f
        ON f.store = n.store AND f.kind = n.kind AND f.origin = n.origin
        AND f.refresh_id = n.refresh_id
    {_FENCE}
) AS f
{_PAGE}
"""

#: What was forecast for days before they came: of each day the newest forecast from an origin that
#: lies far enough back, an issued one rather than a backtest. Parameters: stores, first day, last
#: day, days that the origin lies back at least.
PAST_FORECASTS = f"""
SELECT DISTINCT ON (f.store, f.date) f.store, f.date, f.origin, f.horizon, f.kind, f.open,
    f.point, f.mean, f.q0_025, f.q0_1, f.q0_9, f.q0_975
FROM sales.forecasts f
WHERE f.store = ANY($1::int4[]) AND f.date BETWEEN $2::date AND $3::date
    AND f.horizon >= $4::int4 AND f.origin >= $2::date - {LONGEST_HORIZON_DAYS}
    AND NOT (f.kind = 'issued' AND sales.is_void(f.store, f.origin, f.written_at))
ORDER BY f.store, f.date, f.kind = 'issued' DESC, f.origin DESC, f.written_at DESC
"""

#: Sales that count. Parameters as those of `FORECASTS`.
HISTORY = f"""
SELECT {", ".join(HISTORY_COLUMNS)} FROM sales.cleaned_sales
WHERE store = ANY($1::int4[]) AND date BETWEEN $2::date AND $3::date
    AND (store, date) > ($4::int4, $5::date)
ORDER BY store, date LIMIT $6::int8
"""

#: How fresh everything is. Parameter: minutes after which an open change is late.
FRESHNESS = """
SELECT (SELECT max(finished_at) FROM sales.refreshes) AS refreshed_at,
    (SELECT max(newest_origin) FROM sales.refreshes WHERE finished_at IS NOT NULL)
        AS newest_origin,
    (SELECT count(DISTINCT store) FROM sales.changes, unnest(stores) AS store
        WHERE done_at IS NULL AND made_at < now() - make_interval(secs => 60 * $1::float8)
    ) AS late_stores
"""

#: What pages say at their top, besides `FRESHNESS`: stores whose refresh failed and why, and the
#: newest heartbeat of the stream.
TROUBLES = """
SELECT failed.stores AS failed_stores, failed.error, beat.topic, beat.state AS stream_state,
    beat.beat_at, beat.error AS stream_error
FROM (
    SELECT count(DISTINCT store) AS stores, max(error) AS error
    FROM sales.changes, unnest(stores) AS store WHERE done_at IS NULL AND error IS NOT NULL
) AS failed LEFT JOIN (
    SELECT topic, state, beat_at, error FROM sales.stream_heartbeats ORDER BY beat_at DESC LIMIT 1
) AS beat ON true
"""
