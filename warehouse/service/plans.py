"""Statements on what-ifs and on plans that were sent to the stream."""

#: Kinds of open days that stores have had. Parameter: stores.
SEEN_KINDS = """
SELECT DISTINCT store, extract(isodow FROM date)::int2 AS day_of_week, promo, state_holiday,
    school_holiday
FROM sales.cleaned_sales WHERE store = ANY($1::int4[]) AND open = 1 AND sales > 0
"""

#: The origin of each store's forecast in force. Parameter: stores.
ORIGINS = """
SELECT store, origin FROM sales.current_forecasts WHERE horizon = 1 AND store = ANY($1::int4[])
"""

#: The forecasts in force. Parameters: stores.
IN_FORCE = "SELECT * FROM sales.current_forecasts WHERE store = ANY($1::int4[])"

#: How far sent plans are. Parameters: stores, first day, last day, when they were sent.
PROGRESS = """
SELECT (
    SELECT count(DISTINCT (store, date)) FROM sales.raw_sales
    WHERE store = ANY($1::int4[]) AND date BETWEEN $2::date AND $3::date AND sales IS NULL
        AND event_time >= $4::timestamptz
) AS stored, (
    SELECT max(reason) FROM sales.quarantined_events
    WHERE event_time >= $4::timestamptz
        AND key IN (SELECT convert_to(store::text, 'UTF8') FROM unnest($1::int4[]) AS store)
) AS quarantined, (
    SELECT count(*) FROM sales.changes WHERE done_at IS NULL AND stores && $1::int4[]
) AS open_changes, (
    SELECT max(error) FROM sales.changes WHERE done_at IS NULL AND stores && $1::int4[]
) AS error
"""
