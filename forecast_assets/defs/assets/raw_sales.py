"""`raw_sales`: the events that the stream and the file loader have delivered."""

import dagster as dg

from forecast_assets.defs.asset_options import STORE_LEVEL, table_metadata
from forecast_assets.defs.checks import LEDGER_BALANCES, ledger_balances
from forecast_assets.defs.reporting import Events, Materialized
from forecast_assets.defs.resources import OnlyDaysResource, SparkResource, WarehouseResource
from forecast_assets.defs.row_counts import ROW_COUNT, count_rows
from forecast_assets.defs.run_state import RunStateResource
from forecast_assets.defs.store_steps import record_duration, report_asset


class RawSalesConfig(dg.Config):
    """What to do before counting the events."""

    drain: bool = False
    """Before counting, store the events that are waiting in Kafka, with a bounded Spark run. For
    pipelines that don't run the stream."""


@dg.asset(
    **STORE_LEVEL,
    check_specs=[LEDGER_BALANCES],
    group_name="sales",
    deps=["sales_topic"],
    metadata=table_metadata("raw_sales"),
    kinds={"postgres", "kafka", "spark"},
    description=(
        "Sales events as they arrived, one row per event, never changed and never deleted by a "
        "correction. The stream and the file loader write the rows; materializing counts them. "
        "With `drain: true` it first stores the events waiting in Kafka."
    ),
)
def raw_sales(
    context: dg.AssetExecutionContext,
    config: RawSalesConfig,
    warehouse: WarehouseResource,
    run_state: RunStateResource,
    pyspark: SparkResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Report the events of each of the run's partitions."""
    from forecast_assets.planning.partition_cells import chunks
    from warehouse import sales

    if config.drain:
        _drain(context, pyspark)
    scope = run_state.scope(context, warehouse, only_days)
    materialized: Materialized = {}
    with record_duration(context, warehouse):
        for chunk in chunks(scope.data, scope.calendar, scope.days):
            with warehouse.transaction() as transaction:
                days = sales.raw_summary(transaction, chunk.stores, chunk.first_day, chunk.last_day)
            materialized |= count_rows(chunk, days, scope.calendar, {ROW_COUNT: "events"})
    yield from report_asset(context, run_state, materialized, [ledger_balances(warehouse)])


def _drain(context: dg.AssetExecutionContext, pyspark: SparkResource) -> None:
    from streaming_job.drain import drain
    from streaming_job.settings import load_settings

    with pyspark.draining() as spark:
        counts = drain(load_settings(), spark)
    context.log.info(f"Drained the topic: {counts}")
