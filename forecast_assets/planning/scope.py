"""The scope of a run: the partition cells that its assets compute.

Contains only the value class, and the tag that makes a run a refresh. `defs/scope.py` makes a scope
from requested partitions or claimed changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from forecast_assets.planning.calendar import Calendar
from forecast_assets.planning.partition_cells import (
    ALL_DAYS,
    Chunk,
    Span,
    StorePeriods,
    chunks,
)

#: Run tag of the refreshes that the sensor requests. At most one of them is in flight.
REFRESH_TAG = "forecast/refresh"


@dataclass(frozen=True)
class Scope:
    """The partition cells that a run computes.

    Attributes:
        refresh_id: The id of the Dagster run if it is a refresh; None for requested partitions.
        data: Cells of sales.
        features: Cells of features: those of sales, and earlier ones that look ahead to them.
        models: Cells of store models and forecasts.
        calendar: The periods.
        first_days: Store -> the earliest day whose sales, plan or features changed.
        first_plan_days: Store -> the earliest day whose plan may have changed.
        backtested: Store -> the origins of its backtests that may have seen a changed plan.
        suspects: Stores that failed in an earlier refresh.
        days: The span that a requested run is limited to.
    """

    refresh_id: str | None
    data: StorePeriods
    features: StorePeriods
    models: StorePeriods
    calendar: Calendar
    first_days: dict[int, date] = field(default_factory=dict)
    first_plan_days: dict[int, date] = field(default_factory=dict)
    backtested: dict[int, list[date]] = field(default_factory=dict)
    suspects: frozenset[int] = frozenset()
    days: Span = ALL_DAYS

    def without(self, stores: Collection[int]) -> Scope:
        """Return the scope without some stores."""
        if not stores:
            return self
        return replace(
            self,
            data=_exclude(self.data, stores),
            features=_exclude(self.features, stores),
            models=_exclude(self.models, stores),
            first_days={s: day for s, day in self.first_days.items() if s not in stores},
        )

    def backtests_to_renew(self, plan_context: timedelta) -> StorePeriods:
        """Return the cells of the backtests that have seen a changed plan.

        Args:
            plan_context: How long after its origin a forecast looks at the plan.
        """
        cells: StorePeriods = {}
        for store, day in sorted(self.first_plan_days.items()):
            for period in {
                self.calendar.start_of(origin)
                for origin in self.backtested.get(store, [])
                if origin >= day - plan_context
            }:
                cells.setdefault(period, []).append(store)
        return dict(sorted(cells.items()))

    def renewed_backtests(self) -> StorePeriods:
        """Return the cells whose backtests a refresh computes again."""
        cells: StorePeriods = {}
        for period, stores in self.models.items():
            renewed = [
                store
                for store in stores
                if any(self.calendar.start_of(o) == period for o in self.backtested.get(store, ()))
            ]
            if renewed:
                cells[period] = renewed
        return cells

    def features_to_replace(self, chunk: Chunk, differing: Mapping[int, date]) -> list[Chunk]:
        """Return the parts of a chunk of features whose rows have to be written.

        A refresh also computes features of days before the changed ones; most turn out the same.

        Args:
            chunk: Cells of `features`.
            differing: Store -> the first of the earlier days whose features differ.
        """
        if self.refresh_id is None:
            return [chunk]
        cells: StorePeriods = {}
        for period in chunk.periods:
            changed, end = set(self.data.get(period, ())), self.calendar.end_of(period)
            changed |= {store for store, day in differing.items() if day <= end}
            stores = [store for store in chunk.stores if store in changed]
            if stores:
                cells[period] = stores
        return list(chunks(cells, self.calendar, (chunk.first_day, chunk.last_day)))

    def end_of(self, period: date) -> date:
        """Return the last day that the models and forecasts of a period may see."""
        return min(self.calendar.end_of(period), self.days[1])

    def changed_since(self, store: int, fitted_until: date) -> bool:
        """Return whether a change affects a day that a model fitted up to `fitted_until` saw."""
        return store in self.first_days and self.first_days[store] <= fitted_until


def _exclude(cells: StorePeriods, stores: Collection[int]) -> StorePeriods:
    left = {p: [s for s in inside if s not in stores] for p, inside in cells.items()}
    return {period: inside for period, inside in left.items() if inside}
