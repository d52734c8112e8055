"""`cleaned_sales`: the winning event of each store and day."""

from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from forecast_assets.defs.asset_options import STORE_LEVEL, table_metadata
from forecast_assets.defs.reporting import Events, Materialized
from forecast_assets.defs.resources import OnlyDaysResource, WarehouseResource
from forecast_assets.defs.row_counts import ROW_COUNT, count_rows
from forecast_assets.defs.run_state import RunStateResource
from forecast_assets.defs.schema_checks import schema_check, validate
from forecast_assets.defs.scope import plan_context
from forecast_assets.defs.store_steps import lock_periods, materialize_chunks
from forecast_assets.planning.partition_cells import Chunk
from forecast_assets.settings import settings
from forecast_assets.steps.changed_days import first_differences

if TYPE_CHECKING:
    import pandas as pd

    from warehouse.connection import Transaction


@dg.asset(
    **STORE_LEVEL,
    check_specs=[schema_check("cleaned_sales")],
    group_name="sales",
    deps=["raw_sales"],
    metadata=table_metadata("cleaned_sales"),
    kinds={"postgres", "pandas"},
    description=(
        "The sales of each store and day. If a day was corrected, its newest event counts. Events "
        "about future days become the plan."
    ),
)
def cleaned_sales(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    run_state: RunStateResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Replace the winning events of the run's partitions."""
    from forecasting import cleaning
    from forecasting.schemas.frames import DAYS
    from warehouse import loading, sales, unusual

    scope = run_state.scope(context, warehouse, only_days)

    def known_plan(transaction: "Transaction", chunk: Chunk) -> "pd.DataFrame | None":
        """Return the plan as backtests that look at these days see it; None without any."""
        origins = [day for s in chunk.stores for day in scope.backtested.get(s, [])]
        if not origins:
            return None
        last = max(chunk.last_day, max(origins) + plan_context())
        return sales.known_plan(transaction, chunk.stores, chunk.first_day, last)

    def replace(chunk: Chunk) -> Materialized:
        with warehouse.transaction() as transaction:
            lock_periods(transaction, "cleaned_sales", chunk.periods)
            events = sales.raw_events(
                transaction,
                chunk.stores,
                chunk.first_day,
                chunk.last_day,
                # When a plan changes, the store's newest period that has sales becomes stale, not
                # the period of the plan. So a refresh reads all later plans, however far ahead.
                plans_until=date.max if scope.refresh_id else None,
                refresh_id=scope.refresh_id,
            )
            plan_before = known_plan(transaction, chunk)
            winners = cleaning.winning_events(events)
            validate(DAYS, cleaning.days_of(winners))
            sales.replace_days(
                transaction,
                "cleaned_sales",
                winners.drop(columns="topic"),
                chunk.stores,
                chunk.first_day,
                chunk.last_day,
            )
            plans = cleaning.plans(events)[[*loading.PLANNED_DAY_COLUMNS, "event_time"]]
            loading.merge_plans(transaction, plans, note=scope.refresh_id is None)
            plan_after = known_plan(transaction, chunk)
            if plan_before is not None and plan_after is not None:
                differing = first_differences(plan_before, plan_after)
                run_state.note_changed_plans(transaction, differing)
            marked = unusual.count_unconfirmed(
                transaction,
                chunk.stores,
                chunk.first_day,
                chunk.last_day,
                settings().unusual_factor,
            )
        totals = {ROW_COUNT: None, "corrections": "corrections", "unusual_sales": "unusual"}
        counted = winners.merge(marked, on=["store", "date"], how="left")
        return count_rows(chunk, counted, scope.calendar, totals)

    yield from materialize_chunks(context, warehouse, run_state, scope, scope.data, replace)
