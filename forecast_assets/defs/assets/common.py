"""What the store-level assets share: their arguments to `@dg.asset`, locks, counts and a timer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg

from forecast_assets.defs.partitions import partition_key, sales_partitions
from forecast_assets.defs.reporting import (
    Events,
    computed,
    postpone,
    report,
    report_postponed,
)
from forecast_assets.defs.scope import refresh_of
from forecasting.schemas.columns import ASSET_TABLES, LINEAGE, TABLES

if TYPE_CHECKING:
    import pandas as pd

    from forecast_assets.defs.resources import WarehouseResource
    from forecast_assets.defs.scope import Scope
    from forecast_assets.planning.partition_cells import Cells, Chunk
    from warehouse.connection import Transaction

T = TypeVar("T")

OWNERS = ["team:forecasting"]

ROWLESS: dict[str, Any] = {
    # One run for a range of partitions: runs are dear, rows are cheap.
    "backfill_policy": dg.BackfillPolicy.single_run(),
    # Assets keep their rows in PostgreSQL themselves: no IO manager stores a value.
    "dagster_type": dg.Nothing,
}

STORE_LEVEL: dict[str, Any] = {
    **ROWLESS,
    "partitions_def": sales_partitions,
    "owners": OWNERS,
}


def described(asset: str) -> dict[str, Any]:
    """The metadata of an asset's definition: its table, and what its columns say."""
    table = ASSET_TABLES[asset]
    return {
        "dagster/table_name": f"sales.{table}",
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn(column.name, column.type, column.description)
                for column in TABLES[table]
            ]
        ),
    }


def column_lineage(asset: str) -> dict[str, Any]:
    """What an asset's columns are made from, as metadata of a materialization."""
    if asset not in LINEAGE:
        return {}
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(dg.AssetKey(source), name) for source, name in made_from]
                for column, made_from in LINEAGE[asset].items()
            }
        )
    }


BEFORE_FORECASTS = ("raw_sales", "cleaned_sales", "features", "store_models")

ROW_COUNT = "dagster/row_count"
"""Dagster's own name for the number of rows: the UI plots it."""

Materialized = dict[str, dict[str, Any]]
"""Partition key -> the metadata of its materialization."""


@contextmanager
def timed(
    refresh_id: str | None, context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[None]:
    """Notes in a refresh how long an asset took."""
    from warehouse import changes

    started = time.perf_counter()
    yield
    if refresh_id is not None:
        seconds = time.perf_counter() - started
        with warehouse.transaction() as transaction:
            changes.note_timing(
                transaction, refresh_id, context.asset_key.to_user_string(), seconds
            )


def chunk_by_chunk(
    context: dg.AssetExecutionContext,
    scope: Scope,
    cells: Cells,
    warehouse: WarehouseResource,
    work: Callable[[Chunk], Materialized],
) -> Materialized:
    """Does an asset's work for all cells; in a refresh, a store that fails fails alone.

    Args:
        context: The asset's context.
        scope: What the run computes.
        cells: The cells of this asset.
        warehouse: Where a store's failure is noted.
        work: Replaces a chunk's rows in a transaction of its own.
    """
    from forecast_assets.planning.partition_cells import chunks
    from forecast_assets.settings import settings
    from warehouse import changes

    materialized: Materialized = {}
    cut = list(chunks(cells, settings().date_grain, scope.days))
    for number, chunk in enumerate(cut, 1):

        def some_of_it(some: list[int], chunk: Chunk = chunk) -> Materialized:
            return work(replace(chunk, stores=tuple(some)))

        done, failed = apart_in_refresh(scope, chunk.stores, some_of_it)
        for part in done:
            materialized |= part
        if scope.refresh_id is not None and failed:
            with warehouse.transaction() as transaction:
                changes.note_failed(transaction, scope.refresh_id, named(context, failed))
        if len(cut) > 1:
            context.log.info(f"{number} of {len(cut)} parts done: {len(materialized):,} partitions")
    return materialized


def apart_in_refresh(
    scope: Scope, stores: Sequence[int], work: Callable[[list[int]], T]
) -> tuple[list[T], dict[int, str]]:
    """Does a work for some stores; in a refresh, those that fail are named and the others done.

    Partitions that somebody asked for fail together: whoever asked is there to see it.
    """
    from forecast_assets.planning.isolation import apart
    from warehouse.connection import SERVERS_FAULT

    if scope.refresh_id is None:
        return [work(list(stores))], {}
    return apart(stores, work, SERVERS_FAULT, scope.suspects)


def named(context: dg.AssetExecutionContext, failed: Mapping[int, str]) -> dict[int, str]:
    """The reasons of failed stores with the asset's name before them; they are logged too."""
    asset = context.asset_key.to_user_string()
    for store, reason in failed.items():
        context.log.error(f"Store {store} is left as it was, and tried again later: {reason}")
    return {store: f"{asset}: {reason}" for store, reason in failed.items()}


def lock(transaction: Transaction, asset: str, periods: tuple[date, ...]) -> None:
    """Holds an asset's periods until the transaction ends, so that replaces do not interleave."""
    transaction.lock(*(f"{asset} {period}" for period in periods))


def count_cells(
    chunk: Chunk, rows: pd.DataFrame, grain: str, totals: dict[str, str | None]
) -> Materialized:
    """Counts a chunk's rows by partition; a partition without rows is there with zeros.

    A partition of which the chunk holds only some days says which.

    Args:
        chunk: The cells that were computed.
        rows: A row a store and date.
        grain: monthly, weekly or daily.
        totals: Name of a metadata entry -> the column to sum for it, or None to count rows.
    """
    from forecast_assets.planning.calendar import period_end, period_start

    starts = rows["date"].map(
        {day: period_start(day.date(), grain) for day in rows["date"].unique()}
    )
    grouped = rows.groupby([starts, "store"])
    counted = {
        name: (grouped.size() if column is None else grouped[column].sum()).to_dict()
        for name, column in totals.items()
    }
    partly: dict[date, dict[str, str]] = {}
    for period in chunk.periods:
        whole = (period, period_end(period, grain))
        days = (max(whole[0], chunk.first_day), min(whole[1], chunk.last_day))
        partly[period] = {} if days == whole else {"only_days": f"{days[0]} to {days[1]}"}
    return {
        partition_key(period, store): {
            **{name: int(counts.get((period, store), 0)) for name, counts in counted.items()},
            **partly[period],
        }
        for period in chunk.periods
        for store in chunk.stores
    }


def say_empty(context: dg.AssetExecutionContext, materialized: Materialized) -> None:
    """Says which partitions were asked for and hold nothing; they count as materialized."""
    empty = [key for key, metadata in materialized.items() if not metadata[ROW_COUNT]]
    if empty:
        shown = ", ".join(empty[:5]) + (" …" if len(empty) > 5 else "")
        context.log.info(f"Without data, materialized as empty: {len(empty)} partitions: {shown}")


def finish(
    context: dg.AssetExecutionContext,
    materialized: Materialized,
    found: Iterable[dg.AssetCheckResult] = (),
) -> Events:
    """Ends an asset: says what was empty, what its check found, and what it materialized.

    In a refresh, what lies before `forecasts` is reported after them: planners wait for forecasts,
    nobody for the records of how they came to be. A refresh that fails before is done again.
    """
    asset = context.asset_key.to_user_string()
    rows = sum(metadata[ROW_COUNT] for metadata in materialized.values())
    context.log.info(f"{len(materialized):,} partitions, {rows:,} rows")
    say_empty(context, materialized)
    if materialized:
        # The UI looks at an asset's newest materialization only: once a run is enough.
        last = next(reversed(materialized))
        materialized[last] = materialized[last] | column_lineage(asset)
    yield from found
    if refresh_of(context) is not None and asset in BEFORE_FORECASTS:
        postpone(context, materialized)
    else:
        report_postponed(context)
        report(context, materialized)
    yield computed()
