"""Lineage of a forecast: its row, the refresh that wrote it, and the offsets that it includes.

The effects of its regressors live in `forecasting/explanation.py`.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from warehouse.connection import Transaction
from warehouse.errors import NotFoundError, NotYetError
from warehouse.in_force import NOTHING_YET


@dataclass(frozen=True)
class Refresh:
    """The refresh that issued a forecast.

    Attributes:
        started_at: When it claimed its changes.
        finished_at: When its forecasts became current.
        changes: Number of changes that it claimed.
        next_offsets: First offset that it does not include, by (topic, topic id, topic-partition).
    """

    started_at: datetime
    finished_at: datetime | None
    changes: int
    next_offsets: dict[tuple[str, str, int], int]


def forecast(
    transaction: Transaction, store: int, day: date | None = None, origin: date | None = None
) -> dict[str, Any]:
    """Return the newest forecast of a store and day, preferring issued forecasts to backtests.

    Args:
        transaction: The open transaction.
        store: The store's number.
        day: The day that was forecast; by default the first open one.
        origin: The last day that the forecast saw; the newest one by default.

    Returns:
        The row of `forecasts`.

    Raises:
        NotYetError: No store has a forecast yet.
        NotFoundError: There is no such forecast; the message says which forecasts exist.
    """
    rows = transaction.rows(
        """
        SELECT * FROM sales.forecasts
        WHERE store = $1 AND ($3::date IS NULL OR origin = $3::date)
            AND date = coalesce($2::date, date)
        ORDER BY kind = 'issued' DESC, origin DESC, written_at DESC, open DESC, date LIMIT 1
        """,
        (store, day, origin),
    )
    if rows:
        return rows[0]
    (known,) = transaction.rows(
        """
        SELECT count(*) AS count, min(origin) AS first_origin, max(origin) AS last_origin,
            min(date) AS first_day, max(date) AS last_day
        FROM sales.forecasts WHERE store = $1
        """,
        (store,),
    )
    missing = f"store {store} has no forecast of {day or 'any day'}"
    missing += f" from {origin}" if origin else ""
    if transaction.value("SELECT NOT EXISTS (SELECT FROM sales.forecasts)"):
        raise NotYetError(f"store {store}: {NOTHING_YET}")
    if not known["count"]:
        raise NotFoundError(
            f"{missing}, nor of any other day; check the store's number and that a refresh has run"
        )
    raise NotFoundError(
        f"{missing}; its forecasts are of {known['first_day']} to {known['last_day']}, from "
        f"origins {known['first_origin']} to {known['last_origin']}"
    )


def refresh(transaction: Transaction, refresh_id: str) -> Refresh | None:
    """Return the refresh of a Dagster run; None if the run was no refresh."""
    rows = transaction.rows(
        """
        SELECT started_at, finished_at, changes, offsets::text AS offsets
        FROM sales.refreshes WHERE refresh_id = $1
        """,
        (refresh_id,),
    )
    if not rows:
        return None
    (row,) = rows
    return Refresh(
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        changes=row["changes"],
        next_offsets={
            (entry["topic"], entry["topic_uuid"], entry["topic_partition"]): entry["next_offset"]
            for entry in json.loads(row["offsets"])
        },
    )


def actual(transaction: Transaction, store: int, day: date) -> float | None:
    """Return what a store sold on a day; None while it is unknown."""
    rows = transaction.rows(
        "SELECT sales::float8 AS sales FROM sales.cleaned_sales WHERE store = $1 AND date = $2",
        (store, day),
    )
    return rows[0]["sales"] if rows else None
