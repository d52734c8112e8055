"""Statements on planners' adjustments and comments."""

_COLUMNS = """
a.adjustment_id, a.store, a.first_day, a.last_day, a.value, a.percent, a.reason, a.note, a.author,
a.expires_at, a.withdraws, a.made_at
"""

INSERT = """
INSERT INTO sales.adjustments (adjustment_id, store, first_day, last_day, value, percent, reason,
    note, author, expires_at, withdraws)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""

INSERT_COMMENT = """
INSERT INTO sales.comments (comment_id, store, date, text, author) VALUES ($1, $2, $3, $4, $5)
"""

#: The days of a store whose sales are known. Parameter: the store.
KNOWN_SPAN = """
SELECT min(date) AS first, max(date) AS last FROM sales.cleaned_sales WHERE store = $1::int4
"""

_STATE = """
CASE
    WHEN a.withdraws IS NOT NULL THEN 'withdrawal'
    WHEN EXISTS (SELECT FROM sales.adjustments w WHERE w.withdraws = a.adjustment_id)
        THEN 'withdrawn'
    WHEN a.expires_at <= now() THEN 'expired'
    ELSE 'in force'
END AS state
"""

#: Parameter: the adjustment's id.
ONE = f"SELECT {_COLUMNS}, {_STATE} FROM sales.adjustments a WHERE a.adjustment_id = $1::uuid"

#: Parameters: stores (null for all), first day, last day, whether only those in force, how many.
LISTED = f"""
SELECT * FROM (
    SELECT {_COLUMNS}, {_STATE} FROM sales.adjustments a
    WHERE ($1::int4[] IS NULL OR a.store = ANY($1::int4[]))
        AND a.last_day >= $2::date AND a.first_day <= $3::date
) AS listed
WHERE NOT $4::bool OR state = 'in force'
ORDER BY made_at DESC, adjustment_id LIMIT $5::int8
"""

#: The model's number and the planner's for each adjusted day that has a forecast in force.
#: Parameters: stores, first day, last day. Of several adjustments of a day the last counts.
DAYS = """
SELECT DISTINCT ON (f.store, f.date) f.store, f.date, f.origin, f.open, f.point AS model,
    f.q0_1, f.q0_9, coalesce(a.value, f.point * (1 + a.percent / 100)) AS adjusted,
    a.adjustment_id, a.reason, a.author
FROM sales.adjustments_in_force a
JOIN sales.current_forecasts f ON f.store = a.store AND f.date BETWEEN a.first_day AND a.last_day
WHERE a.store = ANY($1::int4[]) AND f.store = ANY($1::int4[])
    AND f.date BETWEEN $2::date AND $3::date
ORDER BY f.store, f.date, a.made_at DESC, a.adjustment_id
"""

#: Parameters: stores, first day, last day, how many.
COMMENTS = """
SELECT comment_id, store, date, text, author, made_at FROM sales.comments
WHERE store = ANY($1::int4[]) AND date BETWEEN $2::date AND $3::date
ORDER BY made_at DESC, comment_id LIMIT $4::int8
"""
