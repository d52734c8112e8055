"""The scope of a run: the partition cells that its assets compute.

Contains only the value class. `defs/scope.py` makes one from requested partitions or claimed
changes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import date

from forecast_assets.planning.calendar import Calendar
from forecast_assets.planning.partition_cells import ALL_DAYS, Span, StorePeriods


@dataclass(frozen=True)
class Scope:
    """The partition cells that a run computes.

    Attributes:
        refresh_id: The id of the Dagster run if it is a refresh; None for requested partitions.
        data: Cells of sales and features.
        models: Cells of store models and forecasts.
        calendar: The periods.
        first_days: Store -> the earliest day whose sales or plan changed.
        suspects: Stores that failed in an earlier refresh.
        days: The span that a requested run is limited to.
    """

    refresh_id: str | None
    data: StorePeriods
    models: StorePeriods
    calendar: Calendar
    first_days: dict[int, date] = field(default_factory=dict)
    suspects: frozenset[int] = frozenset()
    days: Span = ALL_DAYS

    def without(self, stores: Collection[int]) -> Scope:
        """Return the scope without some stores."""
        if not stores:
            return self
        return replace(
            self,
            data=_exclude(self.data, stores),
            models=_exclude(self.models, stores),
            first_days={s: day for s, day in self.first_days.items() if s not in stores},
        )

    def end_of(self, period: date) -> date:
        """Return the last day that the models and forecasts of a period may see."""
        return min(self.calendar.end_of(period), self.days[1])

    def changed_since(self, store: int, fitted_until: date) -> bool:
        """Return whether a change affects a day that a model fitted up to `fitted_until` saw."""
        return store in self.first_days and self.first_days[store] <= fitted_until


def _exclude(cells: StorePeriods, stores: Collection[int]) -> StorePeriods:
    left = {p: [s for s in inside if s not in stores] for p, inside in cells.items()}
    return {period: inside for period, inside in left.items() if inside}
