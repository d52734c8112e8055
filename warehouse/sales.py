"""Statements on raw events, cleaned sales, planned days and features, by store and day.

Files are loaded in `loading.py`. The rule for which event of a day counts is in
`forecasting/cleaning.py`.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pandas as pd

from forecasting.features.daily import CONTEXT_DAYS, FEATURE_COLUMNS, LOOKAHEAD_DAYS
from warehouse.connection import Transaction


def today() -> date:
    """Return today's date in UTC, the last day whose sales can be known."""
    return datetime.now(UTC).date()


#: Events stored before their times were judged may have one that no frame can hold.
READABLE = "least({}, timestamptz '2262-01-01 00:00:00+00')"


#: When a refresh claimed its changes, and how far each topic-partition had come by then.
CLAIM = """
    SELECT r.started_at, s.stream_id, (e ->> 'topic_partition')::int AS topic_partition,
        (e ->> 'next_offset')::int8 AS next_offset
    FROM sales.refreshes r, jsonb_array_elements(r.offsets) AS e
    JOIN sales.streams s ON s.topic = e ->> 'topic' AND s.topic_uuid = e ->> 'topic_uuid'
    WHERE r.refresh_id = {}
"""


def stores(transaction: Transaction) -> list[int]:
    """Return the stores of the store table, ascending."""
    rows = transaction.rows("SELECT store FROM sales.stores ORDER BY store")
    return [row["store"] for row in rows]


def raw_events(
    transaction: Transaction,
    stores: Sequence[int],
    first_day: date,
    last_day: date,
    *,
    plans_until: date | None = None,
    refresh_id: str | None = None,
) -> pd.DataFrame:
    """Return the delivered events of some stores and days, each with its topic.

    Args:
        transaction: The open transaction.
        stores: The stores to read.
        first_day: The first day.
        last_day: The last day.
        plans_until: The last day for plans; by default `last_day`.
        refresh_id: A refresh: events that came after its claim are left to the next one, so that
            its offsets say exactly what its forecasts saw.
    """
    return transaction.frame(
        f"""
        WITH claimed AS ({CLAIM.format("$5")})
        SELECT r.stream_id, s.topic || '/' || s.topic_uuid AS topic, r.topic_partition,
            r.kafka_offset, {READABLE.format("r.event_time")} AS event_time,
            r.store, r.date, r.day_of_week,
            r.sales::float8 AS sales, r.customers::float8 AS customers,
            r.open, r.promo, r.state_holiday, r.school_holiday
        FROM sales.raw_sales r JOIN sales.streams s USING (stream_id)
            LEFT JOIN claimed c USING (stream_id, topic_partition)
        WHERE r.date BETWEEN $2 AND $4 AND r.store = ANY($1::int4[])
            AND (r.date <= $3 OR r.sales IS NULL)
            AND ($5::text IS NULL OR r.kafka_offset < c.next_offset)
        """,
        (list(stores), first_day, last_day, plans_until or last_day, refresh_id),
    )


def raw_summary(
    transaction: Transaction, stores: Sequence[int], first_day: date, last_day: date
) -> pd.DataFrame:
    """Count the events of each store and day, with their newest times and offset."""
    return transaction.frame(
        f"""
        SELECT store, date, count(*) AS events,
            {READABLE.format("max(event_time)")} AS newest_event,
            max(ingest_time) AS newest_ingest, max(kafka_offset) AS newest_offset
        FROM sales.raw_sales
        WHERE date BETWEEN $2 AND $3 AND store = ANY($1::int4[])
        GROUP BY store, date
        """,
        (list(stores), first_day, last_day),
    )


def newest_days(
    transaction: Transaction, table: str, stores: Sequence[int], until: date | None = None
) -> dict[int, date]:
    """Return each store's newest day with sales, which is never later than today (UTC).

    Args:
        transaction: The open transaction.
        table: `raw_sales` or `cleaned_sales`.
        stores: The stores.
        until: The last day to consider; by default today.

    Raises:
        ValueError: The table is neither of these.
    """
    if table not in ("raw_sales", "cleaned_sales"):
        raise ValueError(f"table is {table!r}; raw_sales or cleaned_sales expected")
    # Nearly every store has sales in the last weeks. Only the other stores need earlier days.
    newest: dict[int, date] = {}
    missing = list(stores)
    last = transaction.value(
        f"SELECT max(date) FROM sales.{table} WHERE sales >= 0 AND date <= $1",
        (min(until or date.max, today()),),
    )
    span = timedelta(days=45)
    first = last - span if last else None
    while missing and last is not None:
        rows = transaction.rows(
            f"""
            SELECT store, max(date) AS newest FROM sales.{table}
            WHERE store = ANY($1::int4[]) AND date BETWEEN $2 AND $3 AND sales IS NOT NULL
            GROUP BY store
            """,
            (missing, first or date.min, last),
        )
        newest |= {row["store"]: row["newest"] for row in rows}
        missing = [store for store in missing if store not in newest]
        if first is None:
            break
        first = None
    return newest


def replace_days(
    transaction: Transaction,
    table: str,
    rows: pd.DataFrame,
    stores: Sequence[int],
    first_day: date,
    last_day: date,
) -> int:
    """Replace the rows of some stores and days in a table.

    Args:
        transaction: The open transaction, which holds the periods' locks.
        table: `cleaned_sales` or `features`.
        rows: All rows of those stores and days.
        stores: The stores to replace.
        first_day: First day to replace.
        last_day: Last day to replace.

    Returns:
        The number of rows written.
    """
    transaction.execute(
        f"DELETE FROM sales.{table} WHERE date BETWEEN $2 AND $3 AND store = ANY($1::int4[])",
        (list(stores), first_day, last_day),
    )
    return transaction.insert(table, rows)


def day_panel(
    transaction: Transaction,
    stores: Sequence[int],
    first_day: date,
    last_day: date,
    *,
    sales_until: date | None = None,
) -> pd.DataFrame:
    """Return the day panel: sales where they are known, the plan elsewhere.

    Args:
        transaction: The open transaction.
        stores: The stores to read.
        first_day: First day of the panel.
        last_day: Last day of the panel.
        sales_until: Last day whose sales and customers are read; later days have their plan only.

    Returns:
        One row per store and day with sales or a plan: store, date, day_of_week, sales and
        customers (NaN where unknown), open, promo, state_holiday, school_holiday; sorted by store
        and date.
    """
    return transaction.frame(
        """
        SELECT store, date, extract(isodow FROM date)::int2 AS day_of_week,
            sales, customers, open, promo, state_holiday, school_holiday
        FROM (
            SELECT store, date,
                CASE WHEN date <= $4 THEN sales END::float8 AS sales,
                CASE WHEN date <= $4 THEN customers END::float8 AS customers,
                open, promo, state_holiday, school_holiday
            FROM sales.cleaned_sales
            WHERE date BETWEEN $2 AND $3 AND store = ANY($1::int4[])
            UNION ALL
            SELECT p.store, p.date, NULL, NULL, coalesce(p.open, 1::int2), p.promo,
                p.state_holiday, p.school_holiday
            FROM sales.planned_days p
            WHERE p.date BETWEEN $2 AND $3 AND p.store = ANY($1::int4[])
                AND NOT EXISTS (
                    SELECT FROM sales.cleaned_sales c
                    WHERE c.store = p.store AND c.date = p.date)
        ) AS days
        ORDER BY store, date
        """,
        (list(stores), first_day, last_day, sales_until or date.max),
    )


def known_plan(
    transaction: Transaction, stores: Sequence[int], first_day: date, last_day: date
) -> pd.DataFrame:
    """Return the plan that a backtest uses, which is the day panel without its sales.

    Args:
        transaction: The open transaction.
        stores: The stores to read.
        first_day: First day.
        last_day: Last day.
    """
    panel = day_panel(transaction, stores, first_day, last_day)
    return panel.drop(columns=["sales", "customers"])


def known_at(
    transaction: Transaction, stores: Sequence[int], origin: date, horizon: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the past days and the plan from which the features of the horizon are computed.

    Args:
        transaction: The open transaction.
        stores: The stores to read.
        origin: Last day whose sales may be used.
        horizon: Days ahead.

    Returns:
        The day panel up to the origin, and the plan of the days after it.
    """
    days = day_panel(
        transaction,
        stores,
        origin - timedelta(days=CONTEXT_DAYS),
        origin + timedelta(days=horizon + LOOKAHEAD_DAYS),
        sales_until=origin,
    )
    known = days["date"] <= pd.Timestamp(origin)
    return days[known], days[~known]


def features(
    transaction: Transaction,
    until: date,
    stores: Sequence[int] | None = None,
    since: date | None = None,
) -> pd.DataFrame:
    """Return day-level features up to a day, sorted by store and date.

    Args:
        transaction: The open transaction.
        until: The last day.
        stores: The stores; all of them by default.
        since: The first day; the whole history by default.
    """
    listed = ", ".join(f'"{name}"' for name in FEATURE_COLUMNS)
    return transaction.frame(
        f"""
        SELECT store, date, {listed} FROM sales.features
        WHERE date <= $1 AND date >= $2 AND ($3::int4[] IS NULL OR store = ANY($3::int4[]))
        ORDER BY store, date
        """,
        (until, since or date.min, list(stores) if stores is not None else None),
    )
