"""Lineage of a forecast: its row, the refresh that wrote it, and the offsets that it includes.

The effects of its regressors live in `forecasting/explanation.py`.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd

from warehouse.connection import Transaction
from warehouse.errors import NotFoundError, NotYetError
from warehouse.in_force import NOTHING_YET
from warehouse.sales import CLAIM, READABLE


@dataclass(frozen=True)
class Refresh:
    """The refresh that issued a forecast.

    Attributes:
        refresh_id: Its Dagster run.
        started_at: When it claimed its changes.
        finished_at: When its forecasts became current.
        changes: Number of changes that it claimed.
    """

    refresh_id: str
    started_at: datetime
    finished_at: datetime | None
    changes: int


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
        WHERE store = $1 AND date = coalesce($2::date, date) AND (
            origin = $3::date
            OR $3::date IS NULL AND NOT sales.is_void(store, origin, written_at))
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
            f"store {store} has no forecast of any day: check the store's number and that a "
            "refresh has run"
        )
    raise NotFoundError(
        f"{missing}; its forecasts are of {known['first_day']} to {known['last_day']}, from "
        f"origins {known['first_origin']} to {known['last_origin']}"
    )


def refresh(transaction: Transaction, refresh_id: str) -> Refresh | None:
    """Return the refresh of a Dagster run; None if the run was no refresh."""
    rows = transaction.rows(
        """
        SELECT refresh_id, started_at, finished_at, changes
        FROM sales.refreshes WHERE refresh_id = $1
        """,
        (refresh_id,),
    )
    if not rows:
        return None
    return Refresh(**rows[0])


def events_seen(
    transaction: Transaction, store: int, first_day: date, last_day: date, refresh_id: str
) -> pd.DataFrame:
    """Return the events with sales that a refresh saw, as `sales.raw_events` does.

    Those that were withdrawn since are among them; those that were requeued since are not.

    Args:
        transaction: The open transaction.
        store: The store's number.
        first_day: The first day.
        last_day: The last day.
        refresh_id: The Dagster run of the refresh.
    """
    return transaction.frame(
        f"""
        WITH claim AS ({CLAIM.format("$4")}), withdrawn AS (
            SELECT w.stream_id, w.topic_partition, w.kafka_offset,
                max(w.withdrawn_at) AS withdrawn_at
            FROM sales.withdrawals w WHERE w.store = $1 AND w.date BETWEEN $2 AND $3
            GROUP BY 1, 2, 3
        ), events AS (
            SELECT stream_id, topic_partition, kafka_offset, event_time, ingest_time, store, date,
                day_of_week, sales, customers, open, promo, state_holiday, school_holiday
            FROM sales.raw_sales
            WHERE store = $1 AND date BETWEEN $2 AND $3 AND sales IS NOT NULL
            UNION ALL
            SELECT q.stream_id, q.topic_partition, q.kafka_offset, q.event_time, q.ingest_time,
                $1, (v ->> 'Date')::date, (v ->> 'DayOfWeek')::int2, (v ->> 'Sales')::int,
                (v ->> 'Customers')::int, (v ->> 'Open')::int2, (v ->> 'Promo')::int2,
                v ->> 'StateHoliday', (v ->> 'SchoolHoliday')::int2
            FROM sales.quarantined_events q JOIN withdrawn
                USING (stream_id, topic_partition, kafka_offset),
                LATERAL (SELECT convert_from(q.value, 'UTF8')::jsonb) AS parsed (v)
            WHERE q.reason = 'withdrawn'
        )
        SELECT e.stream_id, s.topic || '/' || s.topic_uuid AS topic, e.topic_partition,
            e.kafka_offset, {READABLE.format("e.event_time")} AS event_time, e.store, e.date,
            e.day_of_week, e.sales::float8 AS sales, e.customers::float8 AS customers, e.open,
            e.promo, e.state_holiday, e.school_holiday
        FROM events e JOIN sales.streams s USING (stream_id)
            JOIN claim c USING (stream_id, topic_partition)
            LEFT JOIN withdrawn w USING (stream_id, topic_partition, kafka_offset)
        WHERE e.kafka_offset < c.next_offset
            AND coalesce(w.withdrawn_at > c.started_at, e.ingest_time < c.started_at)
        """,
        (store, first_day, last_day, refresh_id),
    )


def actual(transaction: Transaction, store: int, day: date) -> float | None:
    """Return what a store sold on a day; None while it is unknown."""
    rows = transaction.rows(
        "SELECT sales::float8 AS sales FROM sales.cleaned_sales WHERE store = $1 AND date = $2",
        (store, day),
    )
    return rows[0]["sales"] if rows else None
