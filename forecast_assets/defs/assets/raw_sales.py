"""`raw_sales`: what the stream and the file loader have delivered."""

import dagster as dg

from forecast_assets.defs.assets.common import (
    ROW_COUNT,
    STORE_LEVEL,
    Materialized,
    count_cells,
    described,
    finish,
    timed,
)
from forecast_assets.defs.checks import LEDGER_BALANCES, ledger_balances
from forecast_assets.defs.reporting import Events
from forecast_assets.defs.resources import OnlyDaysResource, SparkResource, WarehouseResource
from forecast_assets.defs.scope import scope_of


class RawSalesConfig(dg.Config):
    """What to do before reporting."""

    drain: bool = False
    """First take what Kafka holds, by a bounded Spark run: for pipelines without the stream."""


@dg.asset(
    **STORE_LEVEL,
    check_specs=[LEDGER_BALANCES],
    group_name="sales",
    metadata=described("raw_sales"),
    kinds={"postgres", "kafka", "spark"},
    description=(
        "Sales events as they arrived, one row an event: nothing is changed or thrown away. Rows "
        "land from outside (the stream, the file loader); materializing reports how many there "
        "are, and with `drain: true` takes what waits in Kafka first."
    ),
)
def raw_sales(
    context: dg.AssetExecutionContext,
    config: RawSalesConfig,
    warehouse: WarehouseResource,
    pyspark: SparkResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Reports the events that each partition holds."""
    from forecast_assets.planning.partition_cells import chunks
    from forecast_assets.settings import settings
    from warehouse import sales

    grain = settings().date_grain
    if config.drain:
        _drain(context, pyspark)
    scope = scope_of(context, warehouse, only_days)
    materialized: Materialized = {}
    with timed(scope.refresh_id, context, warehouse):
        for chunk in chunks(scope.data, grain, scope.days):
            with warehouse.transaction() as transaction:
                days = sales.raw_summary(transaction, chunk.stores, chunk.first_day, chunk.last_day)
            materialized |= count_cells(chunk, days, grain, {ROW_COUNT: "events"})
    yield from finish(context, materialized, [ledger_balances(warehouse)])


def _drain(context: dg.AssetExecutionContext, pyspark: SparkResource) -> None:
    from streaming_job.drain import drain
    from streaming_job.settings import load_settings

    with pyspark.draining() as spark:
        counts = drain(load_settings(), spark)
    context.log.info(f"Drained the topic: {counts}")
