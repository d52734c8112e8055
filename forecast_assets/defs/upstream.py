"""Refuses partitions whose upstream assets have not been materialized.

A run that somebody requested may name partitions whose upstream is missing. They would come out
empty, and their old rows would be deleted. So an asset computes the other partitions and then
fails with the names of those it left out. Refreshes compute their own upstream and skip this. The
query is in `warehouse/upstream.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from forecast_assets.defs.partitions import partition_key
from forecast_assets.planning.partition_cells import StorePeriods, count
from forecast_assets.settings import settings

if TYPE_CHECKING:
    from forecast_assets.defs.resources import WarehouseResource
    from forecast_assets.planning.scope import Scope
    from warehouse.upstream import Need

#: How many partitions a message lists before truncating.
LISTED_PARTITIONS = 5

#: A partition cell, as period and store.
Cell = tuple[date, int]

#: Returns the days of a cell for which an upstream asset must exist.
DaysOf = Callable[["Scope", date], tuple[date, date]]


def requested_days(scope: Scope, period: date) -> tuple[date, date]:
    """Return the days of a period that a run computes."""
    return max(period, scope.days[0]), scope.end_of(period)


def seen_days(scope: Scope, period: date) -> tuple[date, date]:
    """Return the days of a period that its models and forecasts may see."""
    return period, scope.end_of(period)


def history(scope: Scope, period: date) -> tuple[date, date]:
    """Return all days that the models of a period may see."""
    return date.min, scope.end_of(period)


def forecast_days(scope: Scope, period: date) -> tuple[date, date]:
    """Return the days that the forecasts of a period reach, beyond the period."""
    end = scope.end_of(period)
    return end + timedelta(days=1), end + timedelta(days=settings().horizon)


#: Asset -> what must exist: an upstream asset, and for which days.
NEEDS: dict[str, tuple[tuple[str, DaysOf], ...]] = {
    "features": (("cleaned_sales", requested_days),),
    "store_models": (
        ("cleaned_sales", seen_days),
        ("cleaned_sales", history),
        ("features", seen_days),
        ("features", history),
    ),
    "forecasts": (
        ("cleaned_sales", seen_days),
        ("features", seen_days),
        ("store_models", seen_days),
    ),
    "forecast_accuracy": (("forecasts", seen_days), ("cleaned_sales", forecast_days)),
}


@dataclass(frozen=True)
class Availability:
    """Which cells of a run can be computed.

    Attributes:
        asset: The asset that is computed.
        cells: The cells whose upstream exists, or that have no sales.
        left_out: The cells whose upstream is missing.
        missing: Upstream asset -> its missing partitions.
    """

    asset: str
    cells: StorePeriods
    left_out: frozenset[Cell]
    missing: dict[str, list[Cell]]

    def refuse_rest(self) -> None:
        """Fail if some cells were left out.

        Raises:
            dg.Failure: It says which partitions of which assets to materialize.
        """
        if not self.left_out:
            return
        total = count(self.cells) + len(self.left_out)
        upstream = "; ".join(f"{asset}: {_listed(cells)}" for asset, cells in self.missing.items())
        done = "The others were computed. " if self.cells else "Nothing was computed. "
        raise dg.Failure(
            f"{self.asset}: {len(self.left_out):,} of {total:,} partitions have sales, but what "
            f"they are made from is missing ({_listed(sorted(self.left_out))}). {done}Materialize "
            f"these first, then {self.asset} again: {upstream}. The job `refresh` over the same "
            "partitions does both",
            metadata={
                "missing": dg.MetadataValue.json(
                    {
                        asset: [partition_key(*cell) for cell in cells]
                        for asset, cells in self.missing.items()
                    }
                )
            },
            allow_retries=False,
        )


def available_cells(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    scope: Scope,
    cells: StorePeriods,
) -> Availability:
    """Separate the cells that can be computed from those whose upstream is missing.

    Args:
        context: The asset's context.
        warehouse: Where to look.
        scope: What the run computes. A refresh computes all of it.
        cells: The cells of this asset.

    Raises:
        dg.Failure: No cell can be computed.
    """
    asset = context.asset_key.to_user_string()
    if scope.refresh_id is not None:
        return Availability(asset, cells, frozenset(), {})
    left_out: set[Cell] = set()
    missing: dict[str, set[Cell]] = {}
    for upstream, days_of in NEEDS[asset]:
        needs = _needs(scope, cells, days_of)
        for need, newest in _unmet(warehouse, upstream, list(needs)).items():
            left_out.update((period, need.store) for period in needs[need])
            cell = (scope.calendar.start_of(newest), need.store)
            missing.setdefault(upstream, set()).add(cell)
    available = {
        period: [store for store in stores if (period, store) not in left_out]
        for period, stores in cells.items()
    }
    availability = Availability(
        asset,
        {period: stores for period, stores in available.items() if stores},
        frozenset(left_out),
        {upstream: sorted(found) for upstream, found in missing.items()},
    )
    if not availability.cells:
        availability.refuse_rest()
    return availability


def only_available(scope: Scope, availability: Availability) -> Scope:
    """Return a scope whose models and forecasts are only the cells that can be computed."""
    return replace(scope, models=availability.cells)


def _needs(scope: Scope, cells: StorePeriods, days_of: DaysOf) -> dict[Need, list[date]]:
    from warehouse.upstream import Need

    needs: dict[Need, list[date]] = {}
    for period, stores in cells.items():
        first, last = days_of(scope, period)
        for store in stores:
            needs.setdefault(Need(store, first, last), []).append(period)
    return needs


def _unmet(warehouse: WarehouseResource, upstream: str, needs: list[Need]) -> dict[Need, date]:
    from warehouse.upstream import unmet

    with warehouse.transaction() as transaction:
        return unmet(transaction, upstream, needs)


def _listed(cells: Iterable[Cell]) -> str:
    keys = [partition_key(*cell) for cell in cells]
    more = f" and {len(keys) - LISTED_PARTITIONS:,} more" if len(keys) > LISTED_PARTITIONS else ""
    return ", ".join(keys[:LISTED_PARTITIONS]) + more
