"""`forecasts`: the coming days of each store, issued by refreshes or computed as backtests."""

from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from forecast_assets.defs.assets.common import (
    ROW_COUNT,
    STORE_LEVEL,
    Materialized,
    apart_in_refresh,
    described,
    finish,
    lock,
    named,
    timed,
)
from forecast_assets.defs.checks import (
    DAY_COMPLETE,
    NO_FUTURE_DATA,
    day_complete,
    no_future_data,
)
from forecast_assets.defs.executors import run_by_stores, spark_for
from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.reporting import Events, checking, schema_check, validated
from forecast_assets.defs.resources import OnlyDaysResource, SparkResource, WarehouseResource
from forecast_assets.defs.scope import Scope, scope_of
from forecast_assets.planning.calendar import period_end

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

    from warehouse.connection import Transaction
    from warehouse.forecaster import ForecastBatch, RowFunction


@dg.asset(
    **STORE_LEVEL,
    check_specs=[schema_check("forecasts"), NO_FUTURE_DATA, DAY_COMPLETE],
    group_name="forecasts",
    deps=["store_models", "features"],
    metadata=described("forecasts"),
    kinds={"postgres", "sktime"},
    description=(
        "What each store will sell on each of the coming days, with intervals. A refresh issues "
        "forecasts from the newest day; materializing a past partition is a backtest: it sees no "
        "sales after the partition's end, and takes the days' real openings and promos as plan."
    ),
)
def forecasts(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    pyspark: SparkResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Issues or backtests the forecasts of the run's partitions; closes a refresh."""
    from warehouse import changes

    scope = scope_of(context, warehouse, only_days)
    materialized: Materialized = {}
    found: list[dg.AssetCheckResult] = []
    with (
        checking(found),
        timed(scope.refresh_id, context, warehouse),
        warehouse.transaction() as transaction,
    ):
        # One transaction: the changes close together with the forecasts that they asked for.
        lock(transaction, "forecasts", tuple(scope.models))
        spark = spark_for(context, pyspark, scope, scope.models)
        newest_origin, newest_version = None, None
        for period, stores in scope.models.items():
            batches, failed = _period(transaction, scope, context.run.run_id, stores, period, spark)
            metadata = _metadata(batches, stores[-1])
            for store in stores:
                if store not in failed:
                    key = partition_key(period, store)
                    materialized[key] = metadata.get(store, {ROW_COUNT: 0})
            if failed:
                changes.note_failed(transaction, context.run.run_id, named(context, failed))
            if batches:
                newest = max(batches, key=lambda batch: batch.origin)
                model = newest.version or "none trained by then, so the stores' own alone"
                context.log.info(f"{period}: origin {newest.origin}, pooled model {model}")
                if newest_origin is None or newest.origin >= newest_origin:
                    newest_origin, newest_version = newest.origin, newest.version
        if scope.refresh_id is not None:
            changes.close(
                transaction,
                scope.refresh_id,
                newest_origin=newest_origin,
                model_version=newest_version,
            )
    found += [no_future_data(warehouse), day_complete(warehouse)]
    yield from finish(context, materialized, found)


def _period(
    transaction: "Transaction",
    scope: Scope,
    run_id: str,
    stores: list[int],
    start: date,
    spark: "SparkSession | None",
) -> "tuple[list[ForecastBatch], dict[int, str]]":
    """Forecast stores from their origins in a period.

    In a refresh, a store whose newest day lies in the period is issued; everything else is a
    backtest, which replaces the one before.

    Returns:
        What was written, and the reasons of the stores that failed.
    """
    from forecast_assets.planning.partition_cells import CHUNK_STORES
    from forecast_assets.settings import settings
    from forecasting.schemas.frames import FORECASTS
    from warehouse import forecaster
    from warehouse.errors import ModelError

    chosen = settings()

    def run(function: "RowFunction", rows: "pd.DataFrame") -> "pd.DataFrame":
        return validated(FORECASTS, run_by_stores(spark, function, rows, FORECASTS))

    def work(some: list[int]) -> "list[ForecastBatch]":
        try:
            with transaction.savepoint():
                return forecaster.write_period(
                    transaction,
                    some,
                    (start, period_end(start, chosen.date_grain)),
                    run_id,
                    until=scope.end_of(start, chosen.date_grain),
                    issue=scope.refresh_id is not None,
                    horizon=chosen.horizon,
                    error_measure=chosen.error_measure,
                    run=run,
                )
        except ModelError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    batches: list[ForecastBatch] = []
    failed: dict[int, str] = {}
    for begin in range(0, len(stores), CHUNK_STORES):
        done, bad = apart_in_refresh(scope, stores[begin : begin + CHUNK_STORES], work)
        batches += [batch for part in done for batch in part]
        failed |= bad
    return batches, failed


def _metadata(batches: "list[ForecastBatch]", pictured: int) -> dict[int, dict[str, Any]]:
    """Return the metadata of each forecast store's materialization.

    Args:
        batches: What was written.
        pictured: The store whose forecast is drawn. The UI shows the newest materialization of an
            asset, which is that of the last store; pictures of all would swell the event log.
    """
    from forecast_assets.defs.pictures import forecast_picture

    metadata: dict[int, dict[str, Any]] = {}
    for batch in batches:
        for store, days in batch.rows.groupby("store")["date"]:
            metadata[int(str(store))] = {
                ROW_COUNT: len(days),
                "kind": "issued" if store in batch.issued else "backtest",
                "origin": str(batch.origin),
                "model_version": batch.version or "none yet",
            }
        if (batch.rows["store"] == pictured).any():
            picture = forecast_picture(batch.days, batch.rows, pictured)
            metadata[pictured]["example"] = dg.MetadataValue.md(picture)
    return metadata
