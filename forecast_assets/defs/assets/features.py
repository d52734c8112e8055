"""`features`: what a model may know of each store and day."""

from datetime import timedelta
from functools import partial

import dagster as dg

from forecast_assets.defs.asset_options import STORE_LEVEL, table_metadata
from forecast_assets.defs.executors import runner, spark_for
from forecast_assets.defs.reporting import Events, Materialized
from forecast_assets.defs.resources import OnlyDaysResource, SparkResource, WarehouseResource
from forecast_assets.defs.row_counts import ROW_COUNT, count_rows
from forecast_assets.defs.run_state import RunStateResource
from forecast_assets.defs.schema_checks import schema_check
from forecast_assets.defs.store_steps import lock_periods, materialize_chunks
from forecast_assets.defs.upstream import available_cells
from forecast_assets.planning.partition_cells import Chunk
from forecast_assets.settings import settings
from forecast_assets.steps.changed_days import earlier_differences


@dg.asset(
    **STORE_LEVEL,
    check_specs=[schema_check("features")],
    group_name="sales",
    deps=["cleaned_sales", "planned_days", "stores"],
    metadata=table_metadata("features"),
    kinds={"postgres", "pandas"},
    description=(
        "What a model may know of each store and day: calendar, promos, holidays, closures, and "
        "the distance to each. Reads future days of the plan, never future sales. Sales of an "
        "unusual size are left out until a second event confirms them."
    ),
)
def features(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    run_state: RunStateResource,
    pyspark: SparkResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Replace the features of the run's partitions."""
    from forecasting.features.daily import CONTEXT_DAYS, LOOKAHEAD_DAYS, day_features
    from forecasting.schemas.frames import FEATURES
    from warehouse import sales, unusual

    scope = run_state.scope(context, warehouse, only_days)
    available = available_cells(context, warehouse, scope, scope.features)
    run = runner(spark_for(context, pyspark, scope, available.cells), FEATURES)

    def replace(chunk: Chunk) -> Materialized:
        with warehouse.transaction() as transaction:
            lock_periods(transaction, "features", chunk.periods)
            days = sales.day_panel(
                transaction,
                chunk.stores,
                chunk.first_day - timedelta(days=CONTEXT_DAYS),
                chunk.last_day + timedelta(days=LOOKAHEAD_DAYS),
                sales_until=chunk.last_day,
            )
            with_sales = days.loc[days["sales"].notna(), ["store", "date"]]
            ignored = unusual.unconfirmed(
                transaction, days, settings().unusual_factor, chunk.first_day, chunk.last_day
            )
            # A typing error of two digits would raise the store's level for four weeks.
            days.loc[ignored, ["sales", "customers"]] = float("nan")
            compute = partial(day_features, start=chunk.first_day, end=chunk.last_day)
            rows = run(compute, days)
            rows = rows.merge(with_sales, on=["store", "date"])
            differing = earlier_differences(transaction, scope, chunk, rows)
            counted: Materialized = {}
            for part in scope.features_to_replace(chunk, differing):
                inside = rows[
                    rows["store"].isin(part.stores)
                    & rows["date"].between(str(part.first_day), str(part.last_day))
                ]
                sales.replace_days(
                    transaction, "features", inside, part.stores, part.first_day, part.last_day
                )
                counted |= count_rows(part, inside, scope.calendar, {ROW_COUNT: None})
            run_state.note_changed_features(transaction, differing)
        return counted

    yield from materialize_chunks(context, warehouse, run_state, scope, available.cells, replace)
    available.refuse_rest()
