"""Statements on forecast totals: what they are summed from, and how they compare with sales.

The totals themselves are computed in `forecasting/chain_totals.py`.
"""

from datetime import date
from typing import Any

import pandas as pd

from forecasting.columns import QUANTILE_COLUMNS
from warehouse.connection import Transaction

#: Days from a total's origin to its first day within which totals of groups are judged. Weeks of
#: stores, of which there are many, are judged from the day before their Monday.
_JUDGED_LEAD_DAYS = 7


def forecasts_in_force(transaction: Transaction) -> pd.DataFrame:
    """Return the forecasts in force of all stores: store, origin, date, mean and quantiles."""
    return transaction.frame(
        f"SELECT store, origin, date, mean, {', '.join(QUANTILE_COLUMNS)} "
        "FROM sales.current_forecasts"
    )


def stores(transaction: Transaction) -> pd.DataFrame:
    """Return the attributes of all stores that form groups."""
    return transaction.frame("SELECT store, store_type, assortment FROM sales.stores")


def issue(
    transaction: Transaction, rows: pd.DataFrame, refresh_id: str, model_version: str | None
) -> int:
    """Append the totals of a refresh; return the number of rows written."""
    return transaction.insert(
        "forecast_totals", rows.assign(refresh_id=refresh_id, model_version=model_version)
    )


def against_sales(transaction: Transaction, since: date) -> list[dict[str, Any]]:
    """Compare totals that ended since a day with actual sales, by level and grain.

    Of several totals of the same days from one origin, the last one counts. A total counts once
    the sales of all its days and stores are known, and if it was issued at most a week before.

    Returns:
        Rows with level, grain, totals, last_days (distinct), inside_80 and inside_95.
    """
    return transaction.rows(
        """
        WITH t AS (
            SELECT DISTINCT ON (level, member, grain, origin, first_day, last_day) *
            FROM sales.forecast_totals
            WHERE last_day >= $1 AND last_day <= (SELECT max(date) FROM sales.cleaned_sales)
                AND first_day - origin <= CASE level WHEN 'store' THEN 1 ELSE $2::int4 END
            ORDER BY level, member, grain, origin, first_day, last_day, written_at DESC
        ), by_group AS MATERIALIZED (
            SELECT c.date, s.store_type, s.assortment, sum(c.sales) AS sales, count(*) AS days
            FROM sales.cleaned_sales c JOIN sales.stores s USING (store)
            WHERE c.date >= (SELECT min(first_day) FROM t)
            GROUP BY c.date, s.store_type, s.assortment
        ), known AS (
            SELECT t.*, actual.sales, actual.days_known
            FROM t CROSS JOIN LATERAL (
                SELECT sum(g.sales)::float8 AS sales, sum(g.days)::int8 AS days_known
                FROM by_group g
                WHERE g.date BETWEEN t.first_day AND t.last_day AND CASE t.level
                    WHEN 'store_type' THEN g.store_type = t.member
                    WHEN 'assortment' THEN g.assortment = t.member
                    ELSE true END
            ) AS actual
            WHERE t.level <> 'store'
            UNION ALL
            SELECT t.*, actual.sales, actual.days_known
            FROM t CROSS JOIN LATERAL (
                SELECT sum(c.sales)::float8 AS sales, count(*) AS days_known
                FROM sales.cleaned_sales c
                WHERE c.store = t.member::int4 AND c.date BETWEEN t.first_day AND t.last_day
            ) AS actual
            WHERE t.level = 'store'
        )
        SELECT level, grain, count(*) AS totals, count(DISTINCT last_day) AS last_days,
            count(*) FILTER (WHERE sales BETWEEN q0_1 AND q0_9) AS inside_80,
            count(*) FILTER (WHERE sales BETWEEN q0_025 AND q0_975) AS inside_95
        FROM known
        WHERE days_known = days AND sales > 0
        GROUP BY level, grain ORDER BY level, grain
        """,
        (since, _JUDGED_LEAD_DAYS),
    )
