"""Statements that write forecasts, by appending issued forecasts and replacing backtests.

Forecasts are computed in `forecaster.py`. `trace.py` reads a forecast back.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import pandas as pd

from warehouse.connection import Transaction


def issue(
    transaction: Transaction, rows: pd.DataFrame, refresh_id: str, model_version: str | None
) -> int:
    """Append issued forecasts; a store's newest issue becomes its current forecast."""
    return transaction.insert(
        "forecasts",
        rows.assign(kind="issued", refresh_id=refresh_id, model_version=model_version),
    )


def backtest_origins(
    transaction: Transaction, first_origins: Mapping[int, date]
) -> dict[int, list[date]]:
    """Return the origins of stores' backtests.

    Args:
        transaction: The open transaction.
        first_origins: Store -> the earliest origin to return.
    """
    rows = transaction.rows(
        """
        SELECT f.store, array_agg(f.origin ORDER BY f.origin) AS origins
        FROM sales.forecasts_backtest f
        JOIN unnest($1::int4[], $2::date[]) AS t (store, first_origin)
            ON f.store = t.store AND f.origin >= t.first_origin
        WHERE f.horizon = 1 AND f.origin >= $3
        GROUP BY f.store
        """,
        (
            list(first_origins),
            list(first_origins.values()),
            min(first_origins.values(), default=date.max),
        ),
    )
    return {row["store"]: row["origins"] for row in rows}


def replace_backtest(
    transaction: Transaction,
    rows: pd.DataFrame | None,
    stores: Sequence[int],
    period: tuple[date, date],
    run_id: str,
) -> int:
    """Replace the backtests of some stores whose origin lies in a period.

    Args:
        transaction: The open transaction, which holds the period's lock.
        rows: The new backtests, with their `model_version`; None when there are none.
        stores: The stores to replace.
        period: First and last day of the origins to replace.
        run_id: The Dagster run that computed them.

    Returns:
        The number of rows written.
    """
    transaction.execute(
        """
        DELETE FROM sales.forecasts_backtest
        WHERE store = ANY($1::int4[]) AND origin BETWEEN $2 AND $3
        """,
        (list(stores), *period),
    )
    if rows is None or rows.empty:
        return 0
    return transaction.insert("forecasts", rows.assign(kind="backtest", refresh_id=run_id))
