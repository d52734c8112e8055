"""`store_models`: each store's own coefficients, drawn towards the pooled ones."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from forecast_assets.core.periods import period_end
from forecast_assets.defs.assets.common import (
    ROW_COUNT,
    STORE_LEVEL,
    Materialized,
    lock,
    say_empty,
    timed,
)
from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.reporting import report
from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.defs.scope import scope_of


@dg.asset(
    **STORE_LEVEL,
    group_name="models",
    deps=["features", "pooled_model"],
    kinds={"postgres", "sktime"},
    description=(
        "Each store's own model, fitted to what was known at the end of the period (in the "
        "running one: by now) and drawn towards what all stores have in common."
    ),
)
def store_models(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.Output[None]]:
    """Fits the models of the run's partitions."""
    from forecast_assets.core.cells import chunks
    from forecast_assets.settings import settings

    grain = settings().date_grain
    with warehouse.transaction() as transaction:
        scope = scope_of(context, transaction)
    materialized: Materialized = {}
    with timed(scope, context, warehouse):
        for chunk in chunks(scope.models, grain):
            for period in chunk.periods:
                fitted = _fit(warehouse, list(chunk.stores), (period, period_end(period, grain)))
                for store in chunk.stores:
                    materialized[partition_key(period, store)] = fitted.get(store, {ROW_COUNT: 0})
    say_empty(context, materialized)
    yield from report(context, materialized)


def _fit(
    warehouse: WarehouseResource, stores: list[int], period: tuple[date, date]
) -> dict[int, dict[str, Any]]:
    """Fits and replaces a period's models; returns the metadata of each store that has sales."""
    import pandas as pd

    from forecast_assets.core.features import FEATURE_COLUMNS
    from forecast_assets.core.pooled import PooledModel
    from forecast_assets.core.store_models import fit_stores
    from forecast_assets.warehouse import models, sales

    start, end = period
    metadata: dict[int, dict[str, Any]] = {}
    with warehouse.transaction() as transaction:
        lock(transaction, "store_models", (start,))
        origins = sales.newest_days(transaction, "cleaned_sales", stores, until=end)
        parts = []
        for version, chosen in models.by_pooled_version(transaction, origins):
            rows = sales.features(transaction, list(FEATURE_COLUMNS), end, list(chosen))
            pooled = PooledModel.from_bytes(version.model) if version else None
            fitted = fit_stores(rows, pooled, origin=pd.Series(chosen).pipe(pd.to_datetime))
            name = version.version if version else None
            parts.append(fitted.assign(pooled_version=name))
            for store, days in zip(fitted["store"], fitted["n_days"], strict=True):
                metadata[int(store)] = {
                    ROW_COUNT: 1,
                    "days": int(days),
                    "pooled_version": name or "none yet",
                }
        models.replace_store_models(transaction, pd.concat(parts) if parts else None, stores, start)
    return metadata
