"""`store_models`: each store's own coefficients, shrunk towards the pooled ones."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from forecast_assets.defs.asset_options import STORE_LEVEL, table_metadata
from forecast_assets.defs.executors import runner, spark_for
from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.reporting import Events, Materialized
from forecast_assets.defs.resources import OnlyDaysResource, SparkResource, WarehouseResource
from forecast_assets.defs.row_counts import ROW_COUNT
from forecast_assets.defs.run_state import RunStateResource
from forecast_assets.defs.schema_checks import schema_check
from forecast_assets.defs.store_steps import lock_periods, materialize_chunks
from forecast_assets.defs.upstream import available_cells
from forecast_assets.planning.partition_cells import Chunk

if TYPE_CHECKING:
    from forecast_assets.steps.store_fitting import FittedStore


@dg.asset(
    **STORE_LEVEL,
    check_specs=[schema_check("store_models")],
    group_name="models",
    deps=["features", "pooled_model"],
    metadata=table_metadata("store_models"),
    kinds={"postgres", "sktime"},
    description=(
        "Each store's own model, fitted to what was known at the end of the period and shrunk "
        "towards what all stores have in common. In the current period each store is refitted "
        "once a week, and whenever its past sales or the pooled model change."
    ),
)
def store_models(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    run_state: RunStateResource,
    pyspark: SparkResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Fit the models of the run's partitions; a refresh keeps those that are still valid."""
    from forecast_assets.steps.store_fitting import fit_period
    from forecasting.schemas.frames import STORE_MODELS

    scope = run_state.scope(context, warehouse, only_days)
    available = available_cells(context, warehouse, scope, scope.models)
    run = runner(spark_for(context, pyspark, scope, available.cells), STORE_MODELS)

    def fit(chunk: Chunk) -> Materialized:
        materialized: Materialized = {}
        for period in chunk.periods:
            with warehouse.transaction() as transaction:
                lock_periods(transaction, "store_models", [period])
                fitted = fit_period(transaction, scope, chunk.stores, period, run)
            for store, model in fitted.items():
                materialized[partition_key(period, store)] = _metadata(model)
            if len(chunk.periods) > 1:
                context.log.info(f"{period}: the models of {len(fitted):,} stores")
        return materialized

    yield from materialize_chunks(context, warehouse, run_state, scope, available.cells, fit)
    available.refuse_rest()


def _metadata(model: "FittedStore | None") -> dict[str, Any]:
    if model is None:
        return {ROW_COUNT: 0}
    source = (
        {"carried_over": "from the period before"} if model.days is None else {"days": model.days}
    )
    return {
        ROW_COUNT: 1,
        "trained_until": str(model.trained_until),
        "pooled_version": model.pooled_version or "none yet",
        **source,
    }
