"""What a run has to compute: a refresh's exact cells, or the partitions that somebody asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from forecast_assets.defs.partitions import cells_of
from forecast_assets.planning.calendar import period_end, period_start
from forecast_assets.planning.partition_cells import (
    ALL_DAYS,
    Cells,
    Days,
    cells_since,
    merge,
    within,
)
from forecast_assets.settings import settings

if TYPE_CHECKING:
    from forecast_assets.defs.resources import OnlyDaysResource, WarehouseResource
    from warehouse.connection import Transaction

REFRESH_TAG = "forecast/refresh"
"""Marks the runs that the sensor asks for; at most one of them is in flight."""


@dataclass(frozen=True)
class Scope:
    """The cells of a run.

    Attributes:
        refresh_id: The Dagster run, when it is a refresh; None when partitions were asked for.
        data: Cells of sales and features.
        models: Cells of store models and forecasts.
        first_days: Store -> the earliest day whose sales or plan changed.
        suspects: Stores with which an earlier refresh has failed.
        days: The span that a run which was asked for keeps to.
    """

    refresh_id: str | None
    data: Cells
    models: Cells
    first_days: dict[int, date] = field(default_factory=dict)
    suspects: frozenset[int] = frozenset()
    days: Days = ALL_DAYS

    def without(self, stores: Collection[int]) -> Scope:
        """The scope without some stores."""
        if not stores:
            return self
        return replace(
            self,
            data=_others(self.data, stores),
            models=_others(self.models, stores),
            first_days={s: day for s, day in self.first_days.items() if s not in stores},
        )

    def end_of(self, period: date, grain: str) -> date:
        """The last day that a period's models and forecasts may see."""
        return min(period_end(period, grain), self.days[1])

    def changed_since(self, store: int, fitted_until: date) -> bool:
        """Whether something has changed that a model fitted up to a day has seen."""
        return store in self.first_days and self.first_days[store] <= fitted_until


def _others(cells: Cells, stores: Collection[int]) -> Cells:
    """The cells of other stores."""
    left = {p: [s for s in inside if s not in stores] for p, inside in cells.items()}
    return {period: inside for period, inside in left.items() if inside}


def refresh_of(context: dg.AssetExecutionContext) -> str | None:
    """The refresh that a run is: its own id; None when partitions were asked for."""
    return context.run.run_id if REFRESH_TAG in context.run.tags else None


def asked_for(context: dg.AssetExecutionContext, only_days: OnlyDaysResource) -> Scope:
    """The cells of the partitions that somebody asked for.

    Raises:
        dg.Failure: There is none, or none holds a day that the run's config keeps to.
    """
    days, grain = only_days.span(), settings().date_grain
    asked = cells_of(list(context.partition_keys))
    if not asked:
        raise dg.Failure(
            "the run's range holds no partition: its end lies before its start, in months or in "
            "the order of stores",
            allow_retries=False,
        )
    kept = within(asked, grain, days)
    if not kept:
        raise dg.Failure(
            f"only_days: the run's partitions, of {min(asked)} to "
            f"{period_end(max(asked), grain)}, hold no day from {days[0]} to {days[1]}",
            allow_retries=False,
        )
    last = period_end(max(kept), grain)
    if days != ALL_DAYS and last < days[1] < ALL_DAYS[1]:
        context.log.warning(
            f"only_days: {days[1]} lies after this run's partitions; {last} is last"
        )
    return Scope(None, kept, kept, days=days)


def scope_of(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, only_days: OnlyDaysResource
) -> Scope:
    """The cells that a run's assets compute; a refresh takes its changes when first asked.

    A store that an earlier asset of a refresh has failed with is left as it was.
    """
    from warehouse import changes

    refresh_id = refresh_of(context)
    if refresh_id is None:
        return asked_for(context, only_days)
    with warehouse.transaction() as transaction:
        whole = _scopes.get(refresh_id)
        if whole is None:
            _scopes.clear()
            whole = _scopes[refresh_id] = refresh_scope(refresh_id, transaction)
        return whole.without(changes.failed(transaction, refresh_id))


_scopes: dict[str, Scope] = {}
"""The scope of the refresh in this process: what arrives while it runs is the next one's."""


def refresh_scope(refresh_id: str, transaction: Transaction) -> Scope:
    """The exact cells that a refresh's changes make stale.

    Sales and features: from each store's earliest changed day to its newest. Models and forecasts:
    the newest period, and those older ones that had been computed and that saw a changed day. As
    long as no pooled model has been trained there are none: the first one's training comes next.
    """
    from warehouse import changes, models, sales

    grain = settings().date_grain
    taken = (
        changes.taken_by(transaction, refresh_id)
        if changes.has_begun(transaction, refresh_id)
        else changes.take(transaction, refresh_id)
    )
    first_days = taken.data_first_days
    touched = sorted({*first_days, *taken.model_stores})
    newest = sales.newest_days(transaction, "raw_sales", touched)
    data = cells_since(first_days, newest, grain)
    current: Cells = {}
    for store in touched:
        if store in newest:
            current.setdefault(period_start(newest[store], grain), []).append(store)
    stale = models.modelled_cells(transaction, first_days)
    if not models.count_pooled(transaction):
        # The first pooled model is trained next, and asks for every store's forecast.
        current = {}
    return Scope(refresh_id, data, merge(current, stale), first_days, taken.suspects)
