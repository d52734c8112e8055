"""Sales by store and day: raw events out, cleaned days and their features in and out."""

from collections.abc import Sequence
from datetime import date, timedelta

import pandas as pd

from forecasting.features.daily import CONTEXT_DAYS, FEATURE_COLUMNS, LOOKAHEAD_DAYS
from warehouse.connection import Transaction


def stores(transaction: Transaction) -> list[int]:
    """The stores that the store table knows, ascending."""
    rows = transaction.rows("SELECT store FROM sales.stores ORDER BY store")
    return [row["store"] for row in rows]


def raw_events(
    transaction: Transaction,
    chosen: Sequence[int],
    first_day: date,
    last_day: date,
    *,
    plans_until: date | None = None,
) -> pd.DataFrame:
    """The delivered events of some stores and days, with the topic that each came from.

    Args:
        transaction: The open transaction.
        chosen: The stores to read.
        first_day: The first day.
        last_day: The last day.
        plans_until: The last day of plans, where they reach further than the days with sales.
    """
    return transaction.frame(
        """
        SELECT r.stream_id, s.topic || '/' || s.topic_uuid AS topic, r.topic_partition,
            r.kafka_offset, r.event_time, r.store, r.date, r.day_of_week,
            r.sales::float8 AS sales, r.customers::float8 AS customers,
            r.open, r.promo, r.state_holiday, r.school_holiday
        FROM sales.raw_sales r JOIN sales.streams s USING (stream_id)
        WHERE r.date BETWEEN $2 AND $4 AND r.store = ANY($1::int4[])
            AND (r.date <= $3 OR r.sales IS NULL)
        """,
        (list(chosen), first_day, last_day, plans_until or last_day),
    )


def raw_summary(
    transaction: Transaction, chosen: Sequence[int], first_day: date, last_day: date
) -> pd.DataFrame:
    """Rows, newest event and newest ingest of each store and day in a span."""
    return transaction.frame(
        """
        SELECT store, date, count(*) AS events, max(event_time) AS newest_event,
            max(ingest_time) AS newest_ingest, max(kafka_offset) AS newest_offset
        FROM sales.raw_sales
        WHERE date BETWEEN $2 AND $3 AND store = ANY($1::int4[])
        GROUP BY store, date
        """,
        (list(chosen), first_day, last_day),
    )


def newest_days(
    transaction: Transaction, table: str, chosen: Sequence[int], until: date | None = None
) -> dict[int, date]:
    """Each store's newest day with sales.

    Args:
        transaction: The open transaction.
        table: `raw_sales` or `cleaned_sales`.
        chosen: The stores to look at.
        until: The last day to look at.

    Raises:
        ValueError: Another table was named.
    """
    if table not in ("raw_sales", "cleaned_sales"):
        raise ValueError(f"no sales by day in {table!r}")
    # A store's newest day is nearly always among the newest of all: the months before are read
    # only for stores that have none there.
    found: dict[int, date] = {}
    wanted = list(chosen)
    last = until or transaction.value(f"SELECT max(date) FROM sales.{table} WHERE sales >= 0")
    span = timedelta(days=45)
    first = last - span if last else None
    while wanted and last is not None:
        rows = transaction.rows(
            f"""
            SELECT store, max(date) AS newest FROM sales.{table}
            WHERE store = ANY($1::int4[]) AND date BETWEEN $2 AND $3 AND sales IS NOT NULL
            GROUP BY store
            """,
            (wanted, first or date.min, last),
        )
        found |= {row["store"]: row["newest"] for row in rows}
        wanted = [store for store in wanted if store not in found]
        if first is None:
            break
        first = None
    return found


def replace_days(
    transaction: Transaction,
    table: str,
    rows: pd.DataFrame,
    chosen: Sequence[int],
    first_day: date,
    last_day: date,
) -> int:
    """Replaces what a table holds of some stores and days.

    Args:
        transaction: The open transaction; hold the periods' locks.
        table: `cleaned_sales` or `features`.
        rows: All rows of those stores and days.
        chosen: The stores to replace.
        first_day: First day to replace.
        last_day: Last day to replace.

    Returns:
        The number of rows written.
    """
    transaction.execute(
        f"DELETE FROM sales.{table} WHERE date BETWEEN $2 AND $3 AND store = ANY($1::int4[])",
        (list(chosen), first_day, last_day),
    )
    return transaction.insert(table, rows)


def day_panel(
    transaction: Transaction,
    chosen: Sequence[int],
    first_day: date,
    last_day: date,
    *,
    sales_until: date | None = None,
) -> pd.DataFrame:
    """Sales where they are known, the plan where they are not.

    Args:
        transaction: The open transaction.
        chosen: The stores to read.
        first_day: First day of the panel.
        last_day: Last day of the panel.
        sales_until: Later sales and customers are not read at all: such a day gives its plan.

    Returns:
        A row a store and known day: store, date, day_of_week, sales and customers (NaN where
        not known), open, promo, state_holiday, school_holiday; sorted by store and date.
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
        (list(chosen), first_day, last_day, sales_until or date.max),
    )


def known_at(
    transaction: Transaction, chosen: Sequence[int], origin: date, horizon: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a forecast from an origin may know: as much as features of the coming days look at.

    Args:
        transaction: The open transaction.
        chosen: The stores to read.
        origin: The last day with sales.
        horizon: Days ahead.

    Returns:
        The day panel up to the origin, and the plan of the days after it.
    """
    days = day_panel(
        transaction,
        chosen,
        origin - timedelta(days=CONTEXT_DAYS),
        origin + timedelta(days=horizon + LOOKAHEAD_DAYS),
        sales_until=origin,
    )
    known = days["date"] <= pd.Timestamp(origin)
    return days[known], days[~known]


def features(
    transaction: Transaction,
    until: date,
    chosen: Sequence[int] | None = None,
    since: date | None = None,
) -> pd.DataFrame:
    """Day-level features up to a day, sorted by store and date.

    Args:
        transaction: The open transaction.
        until: The last day: nothing later is read.
        chosen: The stores; all of them by default.
        since: The first day; the whole history by default.
    """
    listed = ", ".join(f'"{name}"' for name in FEATURE_COLUMNS)
    return transaction.frame(
        f"""
        SELECT store, date, {listed} FROM sales.features
        WHERE date <= $1 AND date >= $2 AND ($3::int4[] IS NULL OR store = ANY($3::int4[]))
        ORDER BY store, date
        """,
        (until, since or date.min, list(chosen) if chosen is not None else None),
    )
