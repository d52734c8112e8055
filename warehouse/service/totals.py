"""Statements that read totals of forecasts, page by page."""

from forecasting.columns import QUANTILE_COLUMNS

TOTAL_COLUMNS = (
    *("level", "member", "grain", "origin", "first_day", "last_day", "days", "mean"),
    *(*QUANTILE_COLUMNS, "model_version", "refresh_id"),
)

#: The members of a level. Parameter: the level.
MEMBERS = """
SELECT DISTINCT CASE $1::text
    WHEN 'store' THEN store::text
    WHEN 'store_type' THEN store_type
    WHEN 'assortment' THEN assortment
    ELSE 'chain'
END AS member FROM sales.stores
"""

#: Stores are sorted by their number, other members by their name.
_NUMBER = "CASE t.level WHEN 'store' THEN t.member::int4 ELSE 0 END"
_COLUMNS = ", ".join(f"t.{name}" for name in TOTAL_COLUMNS)

# All totals of a member from one refresh have the same origin, by which the index finds them.
_TOTALS = f"""
WITH newest AS (
    SELECT a.member, n.origin, n.refresh_id
    FROM unnest($2::text[]) AS a (member) CROSS JOIN LATERAL (
        SELECT t.origin, t.refresh_id FROM sales.forecast_totals t
        WHERE t.level = $1::text AND t.member = a.member {{which}} LIMIT 1
    ) AS n
)
SELECT {_COLUMNS} FROM newest n JOIN sales.forecast_totals t
    ON t.level = $1::text AND t.member = n.member AND t.origin = n.origin
    AND t.refresh_id = n.refresh_id
WHERE t.grain = $3::text AND t.last_day >= $4::date AND t.first_day <= $5::date
    AND ({_NUMBER}, t.member COLLATE "C", t.first_day) > ($6::int4, $7::text, $8::date)
ORDER BY {_NUMBER}, t.member COLLATE "C", t.first_day LIMIT $9::int8
"""

#: Totals in force, as the view `sales.current_totals` defines them. Parameters: level, members,
#: grain, first and last day (totals that overlap), then of the last row of the page before: the
#: store's number (0 for other levels), member and first day; how many rows.
TOTALS = _TOTALS.format(which="ORDER BY t.written_at DESC")

#: Totals that were in force at an earlier origin. One parameter more: the origin.
TOTALS_AS_OF = _TOTALS.format(
    which="AND t.origin <= $10::date ORDER BY t.origin DESC, t.written_at DESC"
)
