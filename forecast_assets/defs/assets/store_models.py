"""`store_models`: each store's own coefficients, drawn towards the pooled ones."""

from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from forecast_assets.defs.assets.common import (
    ROW_COUNT,
    STORE_LEVEL,
    Materialized,
    chunk_by_chunk,
    described,
    finish,
    lock,
    timed,
)
from forecast_assets.defs.executors import run_by_stores, spark_for
from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.reporting import Events, checking, schema_check, validated
from forecast_assets.defs.resources import OnlyDaysResource, SparkResource, WarehouseResource
from forecast_assets.defs.scope import Scope, scope_of
from forecast_assets.planning.partition_cells import Chunk

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

    from warehouse.connection import Transaction
    from warehouse.forecaster import RowFunction
    from warehouse.models import PooledVersion


@dg.asset(
    **STORE_LEVEL,
    check_specs=[schema_check("store_models")],
    group_name="models",
    deps=["features", "pooled_model"],
    metadata=described("store_models"),
    kinds={"postgres", "sktime"},
    description=(
        "Each store's own model, fitted to what was known at the end of the period and drawn "
        "towards what all stores have in common. In the running period a store is fitted again "
        "once a week, and whenever its past or the pooled model changes."
    ),
)
def store_models(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    pyspark: SparkResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Fits the models of the run's partitions; a refresh leaves those that still hold."""
    from forecast_assets.settings import settings

    grain = settings().date_grain
    scope = scope_of(context, warehouse, only_days)
    spark = spark_for(context, pyspark, scope, scope.models)

    def fit(chunk: Chunk) -> Materialized:
        made: Materialized = {}
        for period in chunk.periods:
            with warehouse.transaction() as transaction:
                lock(transaction, "store_models", (period,))
                end = scope.end_of(period, grain)
                fitted = _period(transaction, scope, list(chunk.stores), period, end, spark)
            made |= {partition_key(period, store): metadata for store, metadata in fitted.items()}
            if len(chunk.periods) > 1:
                context.log.info(f"{period}: the models of {len(fitted):,} stores")
        return made

    materialized: Materialized = {}
    found: list[dg.AssetCheckResult] = []
    with checking(found), timed(scope.refresh_id, context, warehouse):
        materialized = chunk_by_chunk(context, scope, scope.models, warehouse, fit)
    yield from finish(context, materialized, found)


def _period(
    transaction: "Transaction",
    scope: Scope,
    stores: list[int],
    start: date,
    end: date,
    spark: "SparkSession | None",
) -> dict[int, dict[str, Any]]:
    """Fits some stores for a period; returns the metadata of those that were computed."""
    from forecasting.models.refit import fit_day
    from warehouse import models, sales

    newest = sales.newest_days(transaction, "cleaned_sales", stores)
    origins = sales.newest_days(transaction, "cleaned_sales", stores, until=end)
    computed: dict[int, dict[str, Any]] = {
        store: {ROW_COUNT: 0} for store in stores if store not in origins
    }
    kept: dict[int, tuple[date, str | None]] = {}
    if scope.refresh_id is not None:
        # A new period is no reason to fit a model again: fitting all stores takes many seconds.
        carried = models.carry_over(transaction, list(origins), start)
        kept = models.fitted_days(transaction, stores, start)
        for store in carried:
            seen, name = kept[store]
            computed[store] = _metadata(seen, name) | {"carried_over": "from the period before"}
    for version, group in models.by_pooled_version(transaction, origins):
        name = version.version if version else None
        pooled_until = version.trained_until if version else None
        wanted = {
            store: fit_day(store, day, pooled_until) if newest[store] == day else day
            for store, day in group.items()
        }
        to_fit = {
            store: day
            for store, day in wanted.items()
            if kept.get(store) != (day, name) or scope.changed_since(store, day)
        }
        fitted = _fit(transaction, version, to_fit, start, spark)
        # A store whose first sales are later than the day that it was its turn.
        young = {
            store: group[store]
            for store, day in to_fit.items()
            if store not in fitted and day != group[store]
        }
        fitted |= _fit(transaction, version, young, start, spark)
        seen_until = to_fit | young
        for store, days in fitted.items():
            computed[store] = _metadata(seen_until[store], name) | {"days": days}
    models.clear_store_models(transaction, [s for s in stores if s not in origins], start)
    return computed


def _metadata(trained_until: date, pooled_version: str | None) -> dict[str, Any]:
    return {
        ROW_COUNT: 1,
        "trained_until": str(trained_until),
        "pooled_version": pooled_version or "none yet",
    }


def _fit(
    transaction: "Transaction",
    version: "PooledVersion | None",
    to_fit: dict[int, date],
    start: date,
    spark: "SparkSession | None",
) -> dict[int, int]:
    """Fits and replaces the models of stores; returns the days of sales of each."""
    from forecasting.schemas.frames import STORE_MODELS
    from warehouse import forecaster, models

    if not to_fit:
        return {}

    def run(function: "RowFunction", rows: "pd.DataFrame") -> "pd.DataFrame":
        # Without a pooled model, what the stores share is estimated from all of them together.
        on_executors = spark if version else None
        return validated(STORE_MODELS, run_by_stores(on_executors, function, rows, STORE_MODELS))

    fitted = forecaster.fit(transaction, version, to_fit, run)
    models.replace_store_models(transaction, fitted, list(to_fit), start)
    return dict(zip(fitted["store"].tolist(), fitted["n_days"].tolist(), strict=True))
