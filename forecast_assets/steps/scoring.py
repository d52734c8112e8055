"""Scoring forecasts against actual sales. The asset `forecast_accuracy` runs this.

The statements are in `warehouse/accuracy.py`, the measures in `forecasting/evaluation/accuracy.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from forecast_assets.planning.partition_cells import chunks
from forecast_assets.planning.scope import Scope
from forecast_assets.settings import settings

if TYPE_CHECKING:
    import pandas as pd

    from forecast_assets.planning.partition_cells import StorePeriods
    from warehouse.connection import Transaction

LOCK = "forecast_accuracy"


def score_refreshes(transaction: Transaction, renewed: StorePeriods) -> pd.DataFrame | None:
    """Score the days of finished refreshes: this one, and any that was killed before scoring.

    Args:
        transaction: The open transaction.
        renewed: The cells whose backtests this refresh has computed again. A changed plan also
            changes their forecasts of days before it.

    Returns:
        Sums by store and date; None if no day became known.
    """
    from warehouse import accuracy, changes

    transaction.lock(LOCK)
    refreshes = changes.unscored(transaction)
    first_days = changes.first_days(transaction, refreshes)
    scored = accuracy.replace_days(transaction, first_days) if first_days else None
    for period, stores in renewed.items():
        last = settings().calendar.end_of(period)
        accuracy.replace_backtests(transaction, stores, period, last)
    changes.note_scored(transaction, refreshes)
    return scored


def score_backtests(
    scope: Scope, transaction: Callable[[], AbstractContextManager[Transaction]]
) -> Iterator[pd.DataFrame]:
    """Score the backtests whose origins are in the scope's partitions.

    Yields:
        Sums by store and origin, chunk by chunk.
    """
    from warehouse import accuracy

    # Whole partitions, not only `scope.days`: a partition has one backtest, so the scores of its
    # former origins go whichever day the new origin is.
    for chunk in chunks(scope.models, scope.calendar):
        with transaction() as opened:
            opened.lock(LOCK)
            scored = accuracy.replace_backtests(
                opened, chunk.stores, chunk.first_day, chunk.last_day
            )
        yield scored


def recent_days(transaction: Transaction) -> list[dict[str, Any]]:
    """Return the sums over the newest scored days, by kind and week of lead time."""
    from forecasting.evaluation.accuracy import RECENT_DAYS
    from warehouse import accuracy

    newest = accuracy.newest_day(transaction)
    if newest is None:
        return []
    return accuracy.by_lead_week(transaction, newest - timedelta(days=RECENT_DAYS - 1))
