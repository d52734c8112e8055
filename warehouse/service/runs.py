"""Statements about runs: which partition a store is in, and its forecast before and after a run."""

#: Grain of the partitions, and the newest origin of a store and of the chain. Parameter: store.
POSITION = """
SELECT (SELECT grain FROM sales.calendar) AS grain,
    EXISTS (SELECT FROM sales.stores WHERE store = $1::int4) AS known,
    (SELECT max(date) FROM sales.features WHERE store = $1::int4 AND log_sales IS NOT NULL)
        AS newest_day
"""

#: Some store with sales, for what concerns all of them.
ANY_STORE = "SELECT min(store) AS store FROM sales.stores"

#: A store's forecast in force at a time. Parameters: store, time.
FORECAST_AT = """
WITH issue AS (
    SELECT store, origin, refresh_id FROM sales.forecasts_issued
    WHERE store = $1::int4 AND horizon = 1 AND written_at <= $2::timestamptz
    ORDER BY origin DESC, written_at DESC LIMIT 1
)
SELECT f.origin, f.date, f.point, f.mean, f.q0_1, f.q0_9, f.model_version, f.refresh_id,
    f.written_at
FROM issue i JOIN sales.forecasts_issued f
    ON f.store = i.store AND f.origin = i.origin AND f.refresh_id = i.refresh_id
ORDER BY f.date
"""

#: Whether a store waits for a refresh, and why its last one failed. Parameter: store.
WAITING = """
SELECT count(*) AS changes, max(error) AS error FROM sales.changes
WHERE done_at IS NULL AND $1::int4 = ANY(stores)
"""

#: Serializes requests of one kind; the end of the transaction ends it. Parameter: its name.
LOCK = "SELECT sales.lock_request($1)"
