"""Which partition cells a run computes: those that someone requested, or a refresh's changes.

The value itself is in `planning/scope.py`; `run_state.py` keeps a refresh's scope for its assets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from forecast_assets.defs.partitions import parse_partition_keys
from forecast_assets.planning.partition_cells import (
    ALL_DAYS,
    StorePeriods,
    cells_since,
    merge,
    within,
)
from forecast_assets.planning.scope import Scope
from forecast_assets.settings import settings

if TYPE_CHECKING:
    from forecast_assets.defs.resources import OnlyDaysResource
    from warehouse.connection import Transaction

#: Run tag of the refreshes that the sensor requests. At most one of them is in flight.
REFRESH_TAG = "forecast/refresh"


def refresh_id_of(context: dg.AssetExecutionContext) -> str | None:
    """Return the run's id if it is a refresh; None if someone requested partitions."""
    return context.run.run_id if REFRESH_TAG in context.run.tags else None


def requested_scope(context: dg.AssetExecutionContext, only_days: OnlyDaysResource) -> Scope:
    """Return the cells of the partitions that someone requested.

    Raises:
        dg.Failure: The range contains no partition, or no day that `only_days` allows.
    """
    days, calendar = only_days.span(), settings().calendar
    requested = parse_partition_keys(list(context.partition_keys))
    if not requested:
        raise dg.Failure(
            "the run's partition range is empty: its end is before its start, by month or in the "
            "order of stores. Swap them",
            allow_retries=False,
        )
    cells = within(requested, calendar, days)
    if not cells:
        raise dg.Failure(
            f"only_days: the run's partitions, {min(requested)} to "
            f"{calendar.end_of(max(requested))}, hold no day from {days[0]} to {days[1]}. Choose "
            "days inside the partitions, or other partitions",
            allow_retries=False,
        )
    last = calendar.end_of(max(cells))
    if days != ALL_DAYS and last < days[1] < ALL_DAYS[1]:
        context.log.warning(
            f"only_days: {days[1]} is after this run's partitions; using {last} instead"
        )
    return Scope(None, cells, cells, calendar, days=days)


def claim_scope(transaction: Transaction, refresh_id: str) -> Scope:
    """Claim the open changes for a refresh and return the cells that they make stale.

    Sales and features: from each store's earliest changed day to its newest. Models and forecasts:
    the newest period, and each older period that was computed and saw a changed day. Before the
    first training there are no models to refresh; that training makes every store's models stale.
    """
    from warehouse import changes, models, sales

    calendar = settings().calendar
    claimed = changes.take(transaction, refresh_id)
    first_days = claimed.data_first_days
    touched = sorted({*first_days, *claimed.model_stores})
    newest = sales.newest_days(transaction, "raw_sales", touched)
    current: StorePeriods = {}
    if models.count_pooled(transaction):
        for store in touched:
            if store in newest:
                current.setdefault(calendar.start_of(newest[store]), []).append(store)
    return Scope(
        refresh_id,
        data=cells_since(first_days, newest, calendar),
        models=merge(current, models.modelled_cells(transaction, first_days)),
        calendar=calendar,
        first_days=first_days,
        suspects=claimed.suspects,
    )
