"""Where rows differ from those that they replace: what a refresh has to work on next.

A change of one day can change the features of earlier days, which look ahead to it, and the plan of
backtests whose horizon it lies in. Comparing is exact, and cheaper than recomputing all that might
differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from forecast_assets.planning.partition_cells import Chunk
    from forecast_assets.planning.scope import Scope
    from warehouse.connection import Transaction


def first_differences(before: pd.DataFrame, after: pd.DataFrame) -> dict[int, date]:
    """Return each store's first day whose row is new, gone or different.

    Args:
        before: Rows by store and date.
        after: Rows by store and date, with at least the columns of `before`.
    """
    import pandas as pd

    both = pd.concat([before, after[before.columns].astype(before.dtypes)], ignore_index=True)
    differing = both[~both.duplicated(keep=False)]
    first = differing.groupby("store")["date"].min()
    return {int(str(store)): day.date() for store, day in first.items()}


def earlier_differences(
    transaction: Transaction, scope: Scope, chunk: Chunk, rows: pd.DataFrame
) -> dict[int, date]:
    """Return each store's first day before its changed days whose features differ from the stored.

    Args:
        transaction: The open transaction; the stored features are still the old ones.
        scope: What the refresh computes. A requested run has no changed days.
        chunk: The cells of `rows`.
        rows: The new features.
    """
    from forecasting.features.daily import LOOKAHEAD_DAYS
    from warehouse import sales

    first_days = {s: scope.first_days[s] for s in chunk.stores if s in scope.first_days}
    if max(first_days.values(), default=chunk.first_day) <= chunk.first_day:
        return {}
    since = max(min(first_days.values()) - timedelta(days=LOOKAHEAD_DAYS), chunk.first_day)
    until = min(max(first_days.values()), chunk.last_day)
    stored = sales.features(transaction, until, list(first_days), since)
    computed = rows[rows["date"] >= str(since)]
    return first_differences(_before(stored, first_days), _before(computed, first_days))


def _before(rows: pd.DataFrame, first_days: Mapping[int, date]) -> pd.DataFrame:
    """Return the rows of days before each store's first day; other stores' rows are left out."""
    import pandas as pd

    return rows[rows["date"] < pd.to_datetime(rows["store"].map(first_days))]


def merge_earliest(into: dict[int, date], days: Mapping[int, date]) -> None:
    """Lower each store's day in `into` to the one in `days` where that is earlier."""
    for store, day in days.items():
        into[store] = min(day, into.get(store, day))
