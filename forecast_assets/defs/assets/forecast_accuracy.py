"""`forecast_accuracy`: forecasts compared with actual sales, as soon as those are known."""

from typing import TYPE_CHECKING

import dagster as dg

from forecast_assets.defs.asset_options import STORE_LEVEL, table_metadata
from forecast_assets.defs.jobs import REFRESHED
from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.reporting import Events, Materialized, cache_partition_status
from forecast_assets.defs.resources import OnlyDaysResource, WarehouseResource
from forecast_assets.defs.row_counts import ROW_COUNT
from forecast_assets.defs.run_state import RunStateResource
from forecast_assets.defs.scope import refresh_id_of, requested_scope
from forecast_assets.defs.store_steps import record_duration, report_asset
from forecast_assets.defs.upstream import Availability, available_cells, only_available
from forecast_assets.planning.scope import Scope

if TYPE_CHECKING:
    import pandas as pd

CHECK = "coverage_and_bias"
TOTALS_CHECK = "totals_coverage"


@dg.asset(
    **STORE_LEVEL,
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="forecast_accuracy",
            description=(
                "Over the newest scored days, the intervals contained about the promised share of "
                "sales, and forecast totals were close to actual totals."
            ),
        ),
        dg.AssetCheckSpec(
            TOTALS_CHECK,
            asset="forecast_accuracy",
            description=(
                "The intervals of weekly totals of stores, and of daily and weekly totals of the "
                "chain and its groups, contained about the promised share of actual totals."
            ),
        ),
    ],
    group_name="forecasts",
    deps=["forecasts", "cleaned_sales"],
    metadata=table_metadata("forecast_accuracy"),
    kinds={"postgres"},
    description=(
        "Accuracy of forecasts, by lead time. A refresh scores the forecasts of new and corrected "
        "days against the sales of those days. Materializing a past partition scores its backtest "
        "against the days whose sales are known by now."
    ),
)
def forecast_accuracy(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    run_state: RunStateResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Score a refresh's new and corrected days, or the backtests of another run's partitions."""
    from forecast_assets.pictures import draw_accuracy
    from forecast_assets.steps.scoring import recent_days, score_refreshes
    from forecast_assets.steps.totals import judge_totals, recent_totals
    from forecasting.evaluation.accuracy import judge

    is_refresh = refresh_id_of(context) is not None
    materialized: Materialized = {}
    available: Availability | None = None
    with record_duration(context, warehouse):
        if not is_refresh:
            scope = requested_scope(context, only_days)
            available = available_cells(context, warehouse, scope, scope.models)
            materialized = _score_backtests(only_available(scope, available), warehouse)
        with warehouse.transaction() as transaction:
            if is_refresh:
                scored = score_refreshes(transaction, run_state.renewed_backtests())
                materialized = {} if scored is None else _measures(scored, "date")
            recent = recent_days(transaction)
            passed, summary, table = judge_totals(recent_totals(transaction))
    verdict = judge(recent)
    if materialized:
        # The UI shows the newest materialization of an asset, which is the last one reported.
        last = next(reversed(materialized))
        pictures = {name: dg.MetadataValue.md(p) for name, p in draw_accuracy(recent).items()}
        materialized[last] = materialized[last] | pictures
    result = dg.AssetCheckResult(
        check_name=CHECK,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=verdict.summary,
        metadata={"by_lead_time": dg.MetadataValue.md(verdict.table)},
    )
    totals_result = dg.AssetCheckResult(
        check_name=TOTALS_CHECK,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=summary,
        metadata={"by_kind": dg.MetadataValue.md(table)},
    )
    yield from report_asset(context, run_state, materialized, [result, totals_result])
    # The refresh has committed its forecasts before this last step, so nobody waits for the cache.
    cache_partition_status(context, REFRESHED)
    if available is not None:
        available.refuse_rest()


def _score_backtests(scope: Scope, warehouse: WarehouseResource) -> Materialized:
    from forecast_assets.steps.scoring import score_backtests

    materialized: Materialized = {
        partition_key(period, store): {ROW_COUNT: 0}
        for period, stores in scope.models.items()
        for store in stores
    }
    for scored in score_backtests(scope, warehouse.transaction):
        materialized |= _measures(scored, "origin")
    return materialized


def _measures(scored: "pd.DataFrame", day_column: str) -> Materialized:
    """Return the accuracy measures of each partition, as metadata of its materialization."""
    from forecast_assets.planning.measures import accuracy_by_cell
    from forecast_assets.settings import settings

    return {
        partition_key(period, store): {
            ROW_COUNT: rows,
            "forecasts": accuracy.forecasts,
            **accuracy.measures(),
        }
        for (period, store), (rows, accuracy) in accuracy_by_cell(
            scored, day_column, settings().calendar
        ).items()
    }
