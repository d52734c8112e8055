"""Scores of forecasts against sales, computed in PostgreSQL.

The scores are sums. `forecasting/evaluation/accuracy.py` computes measures from them, and holds the
bounds of usual accuracy.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pandas as pd

from forecasting.evaluation.accuracy import SUMS
from warehouse.connection import Transaction
from warehouse.errors import NotFoundError

#: Longest horizon that the settings allow, in days. No forecast's origin lies further in the past.
LONGEST_HORIZON_DAYS = 366

#: SELECT list that sums every column of `SUMS`.
_TOTALS = ", ".join(f"sum({name})::float8 AS {name}" for name in SUMS)

#: Common end of the scoring statements. It follows a query `wanted` that lists what to score.
#: `{matches}` joins this list with forecasts and sales.
_SCORE = """
), in_force AS (
    -- Of several issues from one origin, the last one counts.
    SELECT DISTINCT ON (f.kind, f.store, f.origin, f.date)
        f.kind, f.store, f.date, (f.horizon - 1) / 7 + 1 AS lead_week,
        CASE WHEN f.kind = 'backtest' THEN f.origin END AS origin, f.model_version,
        f.point, f.mean, f.q0_025, f.q0_1, f.q0_5, f.q0_9, f.q0_975,
        c.sales::float8 AS sales, c.sales > 0 AS sold
    {matches}
    ORDER BY f.kind, f.store, f.origin, f.date, f.written_at DESC
), written AS (
    INSERT INTO sales.forecast_accuracy (
        kind, store, date, lead_week, origin, model_version, forecasts, sold, sales, mean,
        absolute_error, squared_percent_error, inside_80, inside_95)
    SELECT kind, store, date, lead_week, origin, model_version,
        count(*), count(*) FILTER (WHERE sold), sum(sales), sum(mean),
        sum(abs(sales - q0_5)),
        coalesce(sum(((sales - point) / nullif(sales, 0)) ^ 2), 0),
        count(*) FILTER (WHERE sold AND sales BETWEEN q0_1 AND q0_9),
        count(*) FILTER (WHERE sold AND sales BETWEEN q0_025 AND q0_975)
    FROM in_force
    GROUP BY kind, store, date, lead_week, origin, model_version
    RETURNING *
)
"""

_SCORE_DAYS = (
    """
WITH wanted AS MATERIALIZED (
    SELECT store, first_day FROM unnest($1::int4[], $2::date[]) AS t (store, first_day)
"""
    + _SCORE.format(
        matches="""
    FROM wanted w
    JOIN sales.cleaned_sales c ON c.store = w.store AND c.date >= w.first_day AND c.date >= $3
    JOIN sales.forecasts f ON f.store = c.store AND f.date = c.date
        AND f.date >= $3 AND f.origin >= $4"""
    )
    + f"SELECT store, date, count(*) AS rows, {_TOTALS} FROM written GROUP BY store, date"
)

_SCORE_BACKTESTS = (
    """
WITH wanted AS MATERIALIZED (
    SELECT unnest($1::int4[]) AS store
"""
    + _SCORE.format(
        matches="""
    FROM wanted w
    JOIN sales.forecasts_backtest f ON f.store = w.store AND f.origin BETWEEN $2 AND $3
    JOIN sales.cleaned_sales c ON c.store = f.store AND c.date = f.date AND c.date > $2"""
    )
    + f"SELECT store, origin, count(*) AS rows, {_TOTALS} FROM written GROUP BY store, origin"
)


def replace_days(transaction: Transaction, first_days: Mapping[int, date]) -> pd.DataFrame:
    """Score all forecasts of some stores' days, issued and backtest, and replace earlier scores.

    Args:
        transaction: The open transaction, which holds the asset's lock.
        first_days: Earliest day to score by store; later days with sales are scored too.

    Returns:
        One row per store and date with a forecast: store, date, rows, and `SUMS` (float64).
    """
    stores, days = list(first_days), list(first_days.values())
    earliest = min(days, default=date.max)
    transaction.execute(
        """
        DELETE FROM sales.forecast_accuracy a
        USING unnest($1::int4[], $2::date[]) AS w (store, first_day)
        WHERE a.store = w.store AND a.date >= w.first_day AND a.date >= $3
        """,
        (stores, days, earliest),
    )
    oldest = max(earliest, date(1, 1, 1) + timedelta(days=LONGEST_HORIZON_DAYS))
    return transaction.frame(
        _SCORE_DAYS,
        (stores, days, earliest, oldest - timedelta(days=LONGEST_HORIZON_DAYS)),
    )


def replace_backtests(
    transaction: Transaction, stores: Sequence[int], first_origin: date, last_origin: date
) -> pd.DataFrame:
    """Score the backtests of some stores and origins on the days whose sales are known.

    Args:
        transaction: The open transaction, which holds the asset's lock.
        stores: The stores to replace.
        first_origin: The first origin to replace.
        last_origin: The last origin to replace.

    Returns:
        One row per store and origin with a scored day: store, origin, rows, and `SUMS`.
    """
    parameters = (list(stores), first_origin, last_origin)
    transaction.execute(
        """
        DELETE FROM sales.forecast_accuracy
        WHERE kind = 'backtest' AND store = ANY($1::int4[]) AND origin BETWEEN $2 AND $3
            AND date > $2
        """,
        parameters,
    )
    return transaction.frame(_SCORE_BACKTESTS, parameters)


def newest_day(transaction: Transaction) -> date | None:
    """Return the newest scored day; None if there is none."""
    newest: date | None = transaction.value("SELECT max(date) FROM sales.forecast_accuracy")
    return newest


def by_lead_week(transaction: Transaction, since: date) -> list[dict[str, Any]]:
    """Return the sums over all days since a day, by kind and week of lead time.

    Returns:
        Rows with kind, lead_week, days (distinct days), and `SUMS`, ordered by kind and week.
    """
    return transaction.rows(
        f"""
        SELECT kind, lead_week, count(*) AS days, {_TOTALS}
        FROM (
            SELECT kind, lead_week, date, {_TOTALS} FROM sales.forecast_accuracy
            WHERE date >= $1 GROUP BY kind, lead_week, date
        ) AS by_day
        GROUP BY kind, lead_week ORDER BY kind, lead_week
        """,
        (since,),
    )


#: Scores the seasonal naive on the forecasts that `forecast_accuracy` has scored. It is defined as
#: in `forecasting/models/naive.py`: the sales one or more cycles of 14 days earlier that the origin
#: had seen, and up to three cycles further back if there were none; a day planned closed is 0.
_NAIVE = """
WITH met AS MATERIALIZED (
    SELECT DISTINCT ON (f.store, f.origin, f.date)
        f.store, f.date, f.open, (f.horizon + 13) / 14 * 14 AS back, c.sales::float8 AS sales
    FROM sales.forecasts f
    JOIN sales.cleaned_sales c ON c.store = f.store AND c.date = f.date
    WHERE f.kind = $1 AND f.store = ANY($2::int4[]) AND f.date BETWEEN $3 AND $4
        AND c.date BETWEEN $3 AND $4 AND f.origin >= $3::date - $5::int4
    ORDER BY f.store, f.origin, f.date, f.written_at DESC
), compared AS (
    SELECT m.store, m.sales, coalesce(n.sales, 0) * m.open AS naive
    FROM met m LEFT JOIN LATERAL (
        SELECT c.sales FROM sales.cleaned_sales c
        WHERE c.store = m.store AND c.sales > 0 AND c.date = ANY (ARRAY[
            m.date - m.back, m.date - m.back - 14, m.date - m.back - 28, m.date - m.back - 42])
        ORDER BY c.date DESC LIMIT 1
    ) n ON true
)
SELECT store, count(*) AS naive_forecasts,
    sum(abs(sales - naive))::float8 AS naive_absolute_error,
    coalesce(sum(((sales - naive) / nullif(sales, 0)) ^ 2), 0)::float8
        AS naive_squared_percent_error
FROM compared GROUP BY store
"""


def by_store(transaction: Transaction, stores: Sequence[int], days: int) -> dict[str, Any]:
    """Return the sums over the newest scored days, by store, beside those of the seasonal naive.

    Args:
        transaction: The open transaction of a role that may read.
        stores: The stores.
        days: How many of the newest days.

    Returns:
        kind (`issued`, or `backtest` until an issued forecast has met its day), first_day,
        last_day, and stores: rows with store, days (distinct days), `SUMS`,
        naive_absolute_error and naive_squared_percent_error.

    Raises:
        NotFoundError: No forecast of these stores has met its day.
    """
    newest = transaction.rows(
        """
        SELECT kind, max(date) AS last_day FROM sales.forecast_accuracy
        WHERE store = ANY($1::int4[]) GROUP BY kind ORDER BY kind = 'issued' DESC LIMIT 1
        """,
        (list(stores),),
    )
    if not newest:
        raise NotFoundError(
            "no forecast of these stores has met its day yet: the first is scored when the sales "
            "of a day after its origin arrive. For past months, materialize a backtest: the job "
            "`refresh` over a past partition"
        )
    kind, last_day = newest[0]["kind"], newest[0]["last_day"]
    first_day = last_day - timedelta(days=days - 1)
    scored = transaction.rows(
        f"""
        SELECT store, count(DISTINCT date) AS days, {_TOTALS} FROM sales.forecast_accuracy
        WHERE kind = $1 AND store = ANY($2::int4[]) AND date BETWEEN $3 AND $4
        GROUP BY store ORDER BY store
        """,
        (kind, list(stores), first_day, last_day),
    )
    found = [row["store"] for row in scored]
    naive = transaction.rows(_NAIVE, (kind, found, first_day, last_day, LONGEST_HORIZON_DAYS))
    by_number = {row["store"]: row for row in naive}
    # Old origins may have been deleted since their forecasts were scored.
    unknown = dict.fromkeys(("naive_absolute_error", "naive_squared_percent_error"), float("nan"))
    return {
        "kind": kind,
        "first_day": first_day,
        "last_day": last_day,
        "stores": [row | by_number.get(row["store"], unknown) for row in scored],
    }


def of_version(transaction: Transaction, version: str, since: date) -> dict[str, Any]:
    """Return the sums over a pooled model's issued forecasts for all days since a day.

    Returns:
        `SUMS`, and days (distinct days).
    """
    totals = ", ".join(f"coalesce(sum({name}), 0)::float8 AS {name}" for name in SUMS)
    (row,) = transaction.rows(
        f"""
        SELECT count(DISTINCT date) AS days, {totals} FROM sales.forecast_accuracy
        WHERE kind = 'issued' AND model_version = $1 AND date >= $2
        """,
        (version, since),
    )
    return row
