"""Forecasting the stores of a period. The asset `forecasts` runs this.

Reading, forecasting and writing are in `warehouse/forecaster.py`.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from forecast_assets.planning.partition_cells import CHUNK_STORES
from forecast_assets.planning.scope import Scope
from forecast_assets.settings import settings
from forecast_assets.steps.isolation import isolate_failures

if TYPE_CHECKING:
    from warehouse.connection import Transaction
    from warehouse.forecaster import ForecastBatch, Runner


def forecast_period(
    transaction: Transaction,
    scope: Scope,
    run_id: str,
    stores: list[int],
    period: date,
    run: Runner,
) -> tuple[list[ForecastBatch], dict[int, str]]:
    """Forecast stores from their origins in a period.

    A refresh issues the forecasts of stores whose newest day is in the period. All other forecasts
    are backtests and replace the previous ones.

    Args:
        transaction: The open transaction; hold the period's lock.
        scope: What the run computes.
        run_id: The Dagster run.
        stores: The stores.
        period: The period.
        run: Where to compute.

    Returns:
        What was written, and store -> error for the stores that failed.

    Raises:
        ModelError: A stored model has seen later days, or this version cannot read it.
    """
    from warehouse import forecaster

    def work(chunk: list[int]) -> list[ForecastBatch]:
        with transaction.savepoint():
            return forecaster.write_period(
                transaction,
                chunk,
                (period, scope.calendar.end_of(period)),
                run_id,
                until=scope.end_of(period),
                issue=scope.refresh_id is not None,
                horizon=settings().horizon,
                error_measure=settings().error_measure,
                run=run,
            )

    batches: list[ForecastBatch] = []
    failed: dict[int, str] = {}
    for begin in range(0, len(stores), CHUNK_STORES):
        parts, errors = isolate_failures(scope, stores[begin : begin + CHUNK_STORES], work)
        batches += [batch for part in parts for batch in part]
        failed |= errors
    return batches, failed
