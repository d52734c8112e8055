"""Row counts: the metadata of a materialized partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.reporting import Materialized

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd

    from forecast_assets.planning.calendar import Calendar
    from forecast_assets.planning.partition_cells import Chunk

#: Dagster's own name for the number of rows; the UI plots it.
ROW_COUNT = "dagster/row_count"

#: How many empty partitions a log message lists.
LISTED_PARTITIONS = 5


def count_rows(
    chunk: Chunk, rows: pd.DataFrame, calendar: Calendar, totals: dict[str, str | None]
) -> Materialized:
    """Count a chunk's rows by partition; a partition without rows gets zeros.

    If the chunk covers only some days of a partition, the metadata says which.

    Args:
        chunk: The cells that were computed.
        rows: One row per store and date.
        calendar: The periods.
        totals: Name of a metadata entry -> the column to sum for it, or None to count rows.
    """
    starts = rows["date"].map({day: calendar.start_of(day.date()) for day in rows["date"].unique()})
    grouped = rows.groupby([starts, "store"])
    counted = {
        name: (grouped.size() if column is None else grouped[column].sum()).to_dict()
        for name, column in totals.items()
    }
    partial_days = {period: _partial_days(chunk, period, calendar) for period in chunk.periods}
    return {
        partition_key(period, store): {
            **{name: int(counts.get((period, store), 0)) for name, counts in counted.items()},
            **partial_days[period],
        }
        for period in chunk.periods
        for store in chunk.stores
    }


def _partial_days(chunk: Chunk, period: date, calendar: Calendar) -> dict[str, str]:
    end = calendar.end_of(period)
    first, last = max(period, chunk.first_day), min(end, chunk.last_day)
    return {} if (first, last) == (period, end) else {"only_days": f"{first} to {last}"}


def log_row_counts(context: dg.AssetExecutionContext, materialized: Materialized) -> None:
    """Log how much was materialized, and which of the partitions are empty."""
    rows = sum(metadata[ROW_COUNT] for metadata in materialized.values())
    context.log.info(f"{len(materialized):,} partitions, {rows:,} rows")
    empty = [key for key, metadata in materialized.items() if not metadata[ROW_COUNT]]
    if empty:
        listed = ", ".join(empty[:LISTED_PARTITIONS])
        more = " …" if len(empty) > LISTED_PARTITIONS else ""
        context.log.info(
            f"{len(empty)} partitions have no data and are materialized as empty: {listed}{more}"
        )
