"""`features`: what a model may know of each store and day."""

from datetime import timedelta
from functools import partial

import dagster as dg

from forecast_assets.defs.assets.common import (
    ROW_COUNT,
    STORE_LEVEL,
    Materialized,
    chunk_by_chunk,
    count_cells,
    described,
    finish,
    lock,
    timed,
)
from forecast_assets.defs.executors import run_by_stores, spark_for
from forecast_assets.defs.reporting import Events, checking, schema_check, validated
from forecast_assets.defs.resources import OnlyDaysResource, SparkResource, WarehouseResource
from forecast_assets.defs.scope import scope_of
from forecast_assets.planning.partition_cells import Chunk


@dg.asset(
    **STORE_LEVEL,
    check_specs=[schema_check("features")],
    group_name="sales",
    deps=["cleaned_sales"],
    metadata=described("features"),
    kinds={"postgres", "pandas"},
    description=(
        "What a model may know of each store and day: calendar, promos, holidays, closures, and "
        "how far each lies. Looks ahead in the plan only, never in sales."
    ),
)
def features(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    pyspark: SparkResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Replaces the features of the run's partitions."""
    from forecast_assets.settings import settings
    from forecasting.features.daily import CONTEXT_DAYS, LOOKAHEAD_DAYS, day_features
    from forecasting.schemas.frames import FEATURES
    from warehouse import sales

    grain = settings().date_grain
    scope = scope_of(context, warehouse, only_days)
    spark = spark_for(context, pyspark, scope, scope.data)

    def replace(chunk: Chunk) -> Materialized:
        with warehouse.transaction() as transaction:
            lock(transaction, "features", chunk.periods)
            days = sales.day_panel(
                transaction,
                chunk.stores,
                chunk.first_day - timedelta(days=CONTEXT_DAYS),
                chunk.last_day + timedelta(days=LOOKAHEAD_DAYS),
                sales_until=chunk.last_day,
            )
            of_days = partial(day_features, start=chunk.first_day, end=chunk.last_day)
            rows = validated(FEATURES, run_by_stores(spark, of_days, days, FEATURES))
            sold = days.loc[days["sales"].notna(), ["store", "date"]]
            rows = rows.merge(sold, on=["store", "date"])
            sales.replace_days(
                transaction, "features", rows, chunk.stores, chunk.first_day, chunk.last_day
            )
        return count_cells(chunk, rows, grain, {ROW_COUNT: None})

    materialized: Materialized = {}
    found: list[dg.AssetCheckResult] = []
    with checking(found), timed(scope.refresh_id, context, warehouse):
        materialized = chunk_by_chunk(context, scope, scope.data, warehouse, replace)
    yield from finish(context, materialized, found)
