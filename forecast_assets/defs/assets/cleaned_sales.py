"""`cleaned_sales`: of several events for a store's day, the one that counts."""

from datetime import date

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
from forecast_assets.defs.reporting import Events, checking, schema_check, validated
from forecast_assets.defs.resources import OnlyDaysResource, WarehouseResource
from forecast_assets.defs.scope import scope_of
from forecast_assets.planning.partition_cells import Chunk


@dg.asset(
    **STORE_LEVEL,
    check_specs=[schema_check("cleaned_sales")],
    group_name="sales",
    deps=["raw_sales"],
    metadata=described("cleaned_sales"),
    kinds={"postgres", "pandas"},
    description=(
        "The sales of each store and day: where corrections arrived, the newest event counts. "
        "Events about coming days become the plan."
    ),
)
def cleaned_sales(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, only_days: OnlyDaysResource
) -> Events:
    """Replaces the winning events of the run's partitions."""
    from forecast_assets.settings import settings
    from forecasting import cleaning
    from forecasting.schemas.frames import DAYS
    from warehouse import loading, sales

    grain = settings().date_grain
    scope = scope_of(context, warehouse, only_days)

    def replace(chunk: Chunk) -> Materialized:
        with warehouse.transaction() as transaction:
            lock(transaction, "cleaned_sales", chunk.periods)
            events = sales.raw_events(
                transaction,
                chunk.stores,
                chunk.first_day,
                chunk.last_day,
                # A refresh is told of plans by the newest period with sales, wherever they lie.
                plans_until=date.max if scope.refresh_id else None,
            )
            winners = cleaning.winning_events(events)
            validated(DAYS, cleaning.days_of(winners))
            sales.replace_days(
                transaction,
                "cleaned_sales",
                winners.drop(columns="topic"),
                chunk.stores,
                chunk.first_day,
                chunk.last_day,
            )
            plans = cleaning.plans(events)[[*loading.PLAN_COLUMNS, "event_time"]]
            loading.merge_plans(transaction, plans, note=scope.refresh_id is None)
        return count_cells(chunk, winners, grain, {ROW_COUNT: None, "corrections": "corrections"})

    materialized: Materialized = {}
    found: list[dg.AssetCheckResult] = []
    with checking(found), timed(scope.refresh_id, context, warehouse):
        materialized = chunk_by_chunk(context, scope, scope.data, warehouse, replace)
    yield from finish(context, materialized, found)
