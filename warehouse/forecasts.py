"""Forecasts: issued ones are appended, backtests replaced."""

from collections.abc import Sequence
from datetime import date

import pandas as pd

from warehouse.connection import Transaction


def issue(
    transaction: Transaction, rows: pd.DataFrame, refresh_id: str, model_version: str | None
) -> int:
    """Appends forecasts that planners will see; the newest issue of a store is in force."""
    return transaction.insert(
        "forecasts",
        rows.assign(kind="issued", refresh_id=refresh_id, model_version=model_version),
    )


def replace_backtest(
    transaction: Transaction,
    rows: pd.DataFrame | None,
    chosen: Sequence[int],
    period: tuple[date, date],
    run_id: str,
) -> int:
    """Replaces the backtests of some stores whose origin lies in a period.

    Args:
        transaction: The open transaction; hold the period's lock.
        rows: The new backtests, with their `model_version`; None when there are none.
        chosen: The stores to replace.
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
        (list(chosen), *period),
    )
    if rows is None or rows.empty:
        return 0
    return transaction.insert("forecasts", rows.assign(kind="backtest", refresh_id=run_id))
