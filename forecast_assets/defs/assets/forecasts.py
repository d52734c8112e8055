"""`forecasts`: the future sales of each store, issued by refreshes or computed as backtests."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from forecast_assets.defs.asset_options import STORE_LEVEL, table_metadata
from forecast_assets.defs.checks import (
    DAY_COMPLETE,
    NO_FUTURE_DATA,
    day_complete,
    no_future_data,
)
from forecast_assets.defs.executors import runner, spark_for
from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.reporting import Events, Materialized
from forecast_assets.defs.resources import OnlyDaysResource, SparkResource, WarehouseResource
from forecast_assets.defs.row_counts import ROW_COUNT
from forecast_assets.defs.run_state import RunStateResource
from forecast_assets.defs.schema_checks import record_schema_check, schema_check
from forecast_assets.defs.store_steps import (
    lock_periods,
    record_duration,
    record_failures,
    report_asset,
)
from forecast_assets.defs.upstream import available_cells, only_available

if TYPE_CHECKING:
    from warehouse.connection import Transaction
    from warehouse.forecaster import ForecastBatch


@dg.asset(
    **STORE_LEVEL,
    check_specs=[schema_check("forecasts"), NO_FUTURE_DATA, DAY_COMPLETE],
    group_name="forecasts",
    deps=["store_models", "features"],
    metadata=table_metadata("forecasts"),
    kinds={"postgres", "sktime"},
    description=(
        "What each store will sell on each future day, with intervals. A refresh issues forecasts "
        "from the newest day. Materializing a past partition is a backtest: it sees no sales after "
        "the partition's end and takes the days' actual openings and promos as the plan."
    ),
)
def forecasts(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    run_state: RunStateResource,
    pyspark: SparkResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Issue or backtest the forecasts of the run's partitions; close a refresh."""
    from forecast_assets.steps.period_forecasts import forecast_period
    from forecasting.schemas.frames import FORECASTS
    from warehouse import changes
    from warehouse.errors import ModelError

    scope = run_state.scope(context, warehouse, only_days)
    if scope.refresh_id is not None:
        run_state.require_all_computed()
    available = available_cells(context, warehouse, scope, scope.models)
    scope = only_available(scope, available)
    materialized: Materialized = {}
    results: list[dg.AssetCheckResult] = []
    with (
        record_schema_check(results),
        record_duration(context, warehouse),
        warehouse.transaction() as transaction,
    ):
        # One transaction: the changes close together with the forecasts that they made stale.
        lock_periods(transaction, "forecasts", scope.models)
        run = runner(spark_for(context, pyspark, scope, scope.models), FORECASTS)
        newest: ForecastBatch | None = None
        written: list[ForecastBatch] = []
        for period, stores in scope.models.items():
            try:
                batches, failed = forecast_period(
                    transaction, scope, context.run.run_id, stores, period, run
                )
            except ModelError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            if failed:
                record_failures(context, transaction, failed)
            metadata = _metadata(batches)
            written += batches
            for store in stores:
                if store not in failed:
                    materialized[partition_key(period, store)] = metadata.get(store, {ROW_COUNT: 0})
            if batches:
                latest = max(batches, key=lambda batch: batch.origin)
                model = latest.version or "none yet, so the stores' own models alone"
                context.log.info(f"{period}: origin {latest.origin}, pooled model {model}")
                if newest is None or latest.origin >= newest.origin:
                    newest = latest
        pictures = _pictures(newest) if materialized and newest is not None else {}
        if scope.refresh_id is not None:
            pictures |= _write_totals(transaction, scope.refresh_id, written)
            changes.close(
                transaction,
                scope.refresh_id,
                newest_origin=newest.origin if newest else None,
                model_version=newest.version if newest else None,
            )
        if materialized:
            # The UI shows the newest materialization of an asset, which is the last one reported.
            last = next(reversed(materialized))
            materialized[last] = materialized[last] | pictures
    results += [no_future_data(warehouse), day_complete(warehouse)]
    yield from report_asset(context, run_state, materialized, results)
    available.refuse_rest()


def _write_totals(
    transaction: "Transaction", refresh_id: str, batches: "list[ForecastBatch]"
) -> dict[str, dg.MetadataValue]:
    """Write the totals of a refresh; return the chain's weeks as metadata."""
    from forecast_assets.steps.totals import weeks_table, write_totals

    issued = {store for batch in batches for store in batch.issued}
    if not issued:
        return {}
    newest = max((batch for batch in batches if batch.issued), key=lambda batch: batch.origin)
    rows = write_totals(transaction, refresh_id, issued, newest.dependence, newest.version)
    return {"chain_weeks": dg.MetadataValue.md(weeks_table(rows))}


def _pictures(batch: "ForecastBatch") -> dict[str, dg.MetadataValue]:
    """Draw one store's forecast, small and with labels; all of them would swell the event log."""
    from forecast_assets.pictures import draw_forecast, draw_small_forecast

    store = int(batch.rows["store"].max())
    return {
        "picture": dg.MetadataValue.md(draw_small_forecast(batch.days, batch.rows, store)),
        "example": dg.MetadataValue.md(draw_forecast(batch.days, batch.rows, store)),
    }


def _metadata(batches: "list[ForecastBatch]") -> dict[int, dict[str, Any]]:
    """Return the metadata of each forecast store's materialization."""
    metadata: dict[int, dict[str, Any]] = {}
    for batch in batches:
        for store, days in batch.rows.groupby("store")["date"]:
            metadata[int(str(store))] = {
                ROW_COUNT: len(days),
                "kind": "issued" if store in batch.issued else "backtest",
                "origin": str(batch.origin),
                "model_version": batch.version or "none yet",
            }
    return metadata
