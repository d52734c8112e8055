"""How a store-level asset runs: chunk by chunk, isolating failing stores, then timed and reported.

Contains the steps that the assets share; what an asset computes is in its own file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from forecast_assets.defs.asset_options import column_lineage
from forecast_assets.defs.reporting import (
    Events,
    Materialized,
    output_without_partitions,
    report,
)
from forecast_assets.defs.row_counts import log_row_counts
from forecast_assets.defs.run_state import BEFORE_FORECASTS, RunStateResource
from forecast_assets.defs.schema_checks import record_schema_check
from forecast_assets.defs.scope import refresh_id_of
from forecast_assets.steps.isolation import isolate_failures

if TYPE_CHECKING:
    from forecast_assets.defs.resources import WarehouseResource
    from forecast_assets.planning.partition_cells import Chunk, StorePeriods
    from forecast_assets.planning.scope import Scope
    from warehouse.connection import Transaction


def materialize_chunks(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    run_state: RunStateResource,
    scope: Scope,
    cells: StorePeriods,
    work: Callable[[Chunk], Materialized],
) -> Events:
    """Run an asset's work for all its cells, then report it with its schema check.

    Args:
        context: The asset's context.
        warehouse: Where failures and durations are recorded.
        run_state: The state of the run.
        scope: What the run computes.
        cells: The cells of this asset.
        work: Replaces a chunk's rows in a transaction of its own.
    """
    materialized: Materialized = {}
    results: list[dg.AssetCheckResult] = []
    with record_schema_check(results), record_duration(context, warehouse):
        materialized = _work_on_chunks(context, warehouse, scope, cells, work)
    yield from report_asset(context, run_state, materialized, results)


def _work_on_chunks(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    scope: Scope,
    cells: StorePeriods,
    work: Callable[[Chunk], Materialized],
) -> Materialized:
    from forecast_assets.planning.partition_cells import chunks

    materialized: Materialized = {}
    all_chunks = list(chunks(cells, scope.calendar, scope.days))
    for number, chunk in enumerate(all_chunks, 1):

        def work_on(stores: list[int], chunk: Chunk = chunk) -> Materialized:
            return work(replace(chunk, stores=tuple(stores)))

        parts, failed = isolate_failures(scope, chunk.stores, work_on)
        for part in parts:
            materialized |= part
        if failed:
            with warehouse.transaction() as transaction:
                record_failures(context, transaction, failed)
        if len(all_chunks) > 1:
            context.log.info(
                f"chunk {number} of {len(all_chunks)} done, {len(materialized):,} partitions so far"
            )
    return materialized


def record_failures(
    context: dg.AssetExecutionContext, transaction: Transaction, failed: dict[int, str]
) -> None:
    """Log the stores that failed in a refresh and record them for its retry.

    Args:
        context: The asset's context; the recorded errors begin with its name.
        transaction: The open transaction.
        failed: Store -> error.
    """
    from warehouse import changes

    asset = context.asset_key.to_user_string()
    for store, error in failed.items():
        context.log.error(f"Store {store} keeps its previous rows and will be retried: {error}")
    errors = {store: f"{asset}: {error}" for store, error in failed.items()}
    changes.note_failed(transaction, context.run.run_id, errors)


@contextmanager
def record_duration(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[None]:
    """Record how long an asset took in a refresh."""
    from warehouse import changes

    started = time.perf_counter()
    yield
    refresh_id = refresh_id_of(context)
    if refresh_id is not None:
        seconds = time.perf_counter() - started
        asset = context.asset_key.to_user_string()
        with warehouse.transaction() as transaction:
            changes.note_timing(transaction, refresh_id, asset, seconds)


def lock_periods(transaction: Transaction, asset: str, periods: Iterable[date]) -> None:
    """Lock an asset's periods until the transaction ends, so that replacements don't interleave."""
    transaction.lock(*(f"{asset} {period}" for period in periods))


def report_asset(
    context: dg.AssetExecutionContext,
    run_state: RunStateResource,
    materialized: Materialized,
    results: Iterable[dg.AssetCheckResult] = (),
) -> Events:
    """Report what an asset materialized, and the results of its checks.

    A refresh reports the assets upstream of `forecasts` only once `forecasts` has written
    its rows: planners are waiting for forecasts, and nobody is waiting for the upstream reports.
    If the refresh fails before that, its retry reports them.
    """
    log_row_counts(context, materialized)
    asset = context.asset_key.to_user_string()
    run_state.note_computed(asset)
    if materialized:
        # The UI reads lineage from an asset's newest materialization, so one per run is enough.
        last = next(reversed(materialized))
        materialized[last] = materialized[last] | column_lineage(asset)
    yield from results
    if refresh_id_of(context) is not None and asset in BEFORE_FORECASTS:
        run_state.postpone(context, materialized)
    else:
        run_state.report_postponed(context.log)
        report(context, materialized)
    yield output_without_partitions()
