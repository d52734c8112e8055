"""Accuracy measures by partition cell."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, cast

from forecast_assets.planning.calendar import Calendar
from forecasting.evaluation.accuracy import Accuracy

if TYPE_CHECKING:
    import pandas as pd


def accuracy_by_cell(
    scored: pd.DataFrame, day_column: str, calendar: Calendar
) -> dict[tuple[date, int], tuple[int, Accuracy]]:
    """Return the number of scored rows and the accuracy of each partition cell.

    Args:
        scored: Rows with `store`, `rows` and the sums that
            `forecasting.evaluation.accuracy.SUMS` names.
        day_column: The column whose day decides which period a row belongs in.
        calendar: The periods.
    """
    cells: dict[tuple[date, int], list[dict[str, Any]]] = {}
    for row in cast("list[dict[str, Any]]", scored.to_dict("records")):
        cell = (calendar.start_of(row[day_column].date()), int(row["store"]))
        cells.setdefault(cell, []).append(row)
    return {
        cell: (int(sum(row["rows"] for row in rows)), Accuracy.of(rows))
        for cell, rows in cells.items()
    }
