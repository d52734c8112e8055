"""Loading whole files: stores, sales with their ledger entry, and plans.

Reading the files lives in `rossmann/kaggle.py`; the stream fills the same tables from
`streaming_job`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pandas as pd

from forecasting.columns import DAY_COLUMNS, PLAN_COLUMNS
from warehouse.connection import Transaction, Warehouse
from warehouse.errors import LoadError

#: Rows per COPY: large enough to be fast, small enough for a progress bar to move.
CHUNK_ROWS = 100_000

#: Columns of a planned day: one row per store and date.
PLANNED_DAY_COLUMNS = ["store", "date", *PLAN_COLUMNS]


@dataclass(frozen=True)
class Loaded:
    """Result of a load.

    Attributes:
        topic: The name under which the ledger knows the sales: `file:` and their hash.
        sales_rows: Rows of sales in the file.
        already_loaded: Whether an earlier load wrote the same sales.
        stores_changed: Stores that are new or whose attributes changed.
        plans_changed: Planned days that are new or changed.
    """

    topic: str
    sales_rows: int
    already_loaded: bool
    stores_changed: int
    plans_changed: int


def load(
    warehouse: Warehouse,
    *,
    stores: pd.DataFrame,
    sales: pd.DataFrame,
    plans: pd.DataFrame,
    as_of: datetime | None = None,
    calendar: tuple[date, date | None],
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Loaded:
    """Load stores, sales and planned days in one transaction; equal sales load only once.

    Args:
        warehouse: The database.
        stores: Rows of the table `stores`.
        sales: One row per store and day with sales, with `DAY_COLUMNS`.
        plans: One row per store and planned day, with `PLANNED_DAY_COLUMNS`; `open` may be missing.
        as_of: The event time of the rows; by default each row's own date.
        calendar: First and last day that the partitions cover; None means that there is no end.
        on_rows: Called with the number of sales rows written so far in this call.

    Raises:
        LoadError: A row names an unknown store or lies outside the calendar.
    """
    start, end = calendar
    _refuse_outside(sales, start, end)
    for frame, what in ((sales, "sales"), (plans, "planned days")):
        unknown = sorted(set(frame["store"].unique()) - set(stores["store"]))
        if unknown:
            raise LoadError(
                f"{what} name {len(unknown)} stores that the store table does not know, such as "
                f"{', '.join(map(str, unknown[:5]))}; add them to the stores or remove their rows"
            )
    topic = f"file:{content_hash(sales)}"
    days = pd.concat([sales["date"], plans["date"]])
    if len(days):
        # In a transaction of its own: the load takes long, and others add months, too.
        with warehouse.transaction() as transaction:
            transaction.execute(
                "SELECT sales.ensure_months($1, $2)",
                (max(days.min().date(), start), days.max().date()),
            )
    with warehouse.transaction() as transaction:
        transaction.lock("load")
        stores_changed = _replace_stores(transaction, stores)
        already = _is_loaded(transaction, topic)
        if len(sales) and not already:
            _append_sales(transaction, topic, sales, as_of, on_rows)
        plans_changed = merge_plans(transaction, _with_plan_times(plans, as_of))
    return Loaded(topic, len(sales), already, stores_changed, plans_changed)


def plans_of(train: pd.DataFrame, test: pd.DataFrame, until: date | None) -> pd.DataFrame:
    """Return the planned days: all days of test.csv, and the held-back days of train.csv.

    Args:
        train: Days with sales.
        test: Planned days.
        until: The last day whose sales are loaded; None holds nothing back.
    """
    later = train.iloc[:0] if until is None else train[train["date"] > pd.Timestamp(until)]
    parts = [part[PLANNED_DAY_COLUMNS] for part in (later, test) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else test[PLANNED_DAY_COLUMNS]


def content_hash(sales: pd.DataFrame) -> str:
    """Return the SHA-256 of the rows in their order; a file's name and compression don't matter."""
    digest = hashlib.sha256()
    for name in DAY_COLUMNS:
        column = sales[name]
        if name == "date":
            data = column.to_numpy("datetime64[D]").tobytes()
        elif name == "state_holiday":
            data = "".join(column).encode()
        else:
            data = column.to_numpy("float64").tobytes()
        digest.update(name.encode() + data)
    return digest.hexdigest()


def merge_plans(transaction: Transaction, plans: pd.DataFrame, *, note: bool = True) -> int:
    """Store planned days unless a later plan is stored, and record the change of their stores.

    Args:
        transaction: The open transaction.
        plans: Columns store, date, open, promo, state_holiday, school_holiday, event_time.
        note: Whether to add a change for the stores whose plans differ. A refresh passes False,
            because it already handles the events that brought the plans.

    Returns:
        The number of days whose plan is new or differs from the stored one.
    """
    if plans.empty:
        return 0
    transaction.execute(
        "CREATE TEMP TABLE IF NOT EXISTS incoming_plans (LIKE sales.planned_days) ON COMMIT DROP"
    )
    transaction.execute("TRUNCATE incoming_plans")
    transaction.insert_temporary("incoming_plans", "planned_days", plans)
    rows = transaction.rows(
        """
        WITH merged AS (
            INSERT INTO sales.planned_days AS known
            SELECT * FROM incoming_plans
            ON CONFLICT (store, date) DO UPDATE SET
                open = excluded.open, promo = excluded.promo,
                state_holiday = excluded.state_holiday,
                school_holiday = excluded.school_holiday, event_time = excluded.event_time
            WHERE excluded.event_time >= known.event_time
                AND (known.open, known.promo, known.state_holiday, known.school_holiday)
                    IS DISTINCT FROM
                    (excluded.open, excluded.promo, excluded.state_holiday,
                     excluded.school_holiday)
            RETURNING known.store, known.date
        ), touched AS (
            SELECT store, min(date) AS first_day, count(*) AS days FROM merged GROUP BY store
        )
        SELECT count(*) AS stores, coalesce(sum(days), 0)::bigint AS days,
            array_agg(store ORDER BY store) AS ids,
            array_agg(first_day ORDER BY store) AS first_days
        FROM touched
        """
    )
    (summary,) = rows
    if note and summary["stores"]:
        _note_change(transaction, "plan", summary["ids"], summary["first_days"])
    return int(summary["days"])


def _replace_stores(transaction: Transaction, stores: pd.DataFrame) -> int:
    known = transaction.frame("SELECT * FROM sales.stores ORDER BY store")
    columns = list(stores.columns)
    merged = stores.astype(object).where(stores.notna(), None)
    before = known[columns].astype(object).where(known[columns].notna(), None)
    old = {row[0]: row for row in before.itertuples(index=False, name=None)}
    changed = [
        row[0] for row in merged.itertuples(index=False, name=None) if old.get(row[0]) != row
    ]
    if changed:
        transaction.execute("DELETE FROM sales.stores WHERE store = ANY($1::int4[])", (changed,))
        transaction.insert("stores", stores[stores["store"].isin(changed)])
        # A store's attributes affect its models from its first day.
        transaction.execute(
            """
            INSERT INTO sales.changes (kind, stores, first_days)
            SELECT 'stores', array_agg(store ORDER BY store), array_agg(first_day ORDER BY store)
            FROM (
                SELECT store, min(date) AS first_day FROM sales.raw_sales
                WHERE store = ANY($1::int4[]) GROUP BY store
            ) AS touched
            HAVING count(*) > 0
            """,
            (changed,),
        )
    return len(changed)


def _is_loaded(transaction: Transaction, topic: str) -> bool:
    streams = transaction.value(
        "SELECT count(*) FROM sales.streams WHERE topic = $1 AND topic_uuid = ''", (topic,)
    )
    return bool(streams)


def _append_sales(
    transaction: Transaction,
    topic: str,
    sales: pd.DataFrame,
    as_of: datetime | None,
    on_rows: Callable[[int], None],
) -> None:
    stream_id = transaction.value(
        "INSERT INTO sales.streams (topic, topic_uuid) VALUES ($1, '') RETURNING stream_id",
        (topic,),
    )
    for begin in range(0, len(sales), CHUNK_ROWS):
        chunk = sales.iloc[begin : begin + CHUNK_ROWS]
        rows = chunk[list(DAY_COLUMNS)].assign(
            stream_id=stream_id,
            topic_partition=0,
            kafka_offset=range(begin, begin + len(chunk)),
            event_time=_event_times(chunk["date"], as_of),
        )
        transaction.insert("raw_sales", rows)
        on_rows(begin + len(chunk))
    transaction.execute(
        """
        INSERT INTO sales.stream_offsets
            (stream_id, topic_partition, first_offset, next_offset, stored)
        VALUES ($1, 0, 0, $2, $2)
        """,
        (stream_id, len(sales)),
    )
    first_days = sales.groupby("store")["date"].min()
    _note_change(
        transaction,
        "file",
        [int(store) for store in first_days.index],
        [day.date() for day in first_days],
        stream_id=stream_id,
        until_offset=len(sales),
    )


def _note_change(
    transaction: Transaction,
    kind: str,
    stores: list[int],
    first_days: list[date],
    *,
    stream_id: int | None = None,
    until_offset: int | None = None,
) -> None:
    transaction.execute(
        """
        INSERT INTO sales.changes
            (kind, stores, first_days, stream_id, topic_partition, from_offset, until_offset)
        VALUES ($1, $2::int4[], $3::date[], $4::int2,
            CASE WHEN $4::int2 IS NULL THEN NULL ELSE 0 END,
            CASE WHEN $4::int2 IS NULL THEN NULL ELSE 0 END, $5::int8)
        """,
        (kind, stores, first_days, stream_id, until_offset),
    )


def _event_times(dates: pd.Series, as_of: datetime | None) -> pd.Series:
    if as_of is None:
        return dates.dt.tz_localize(UTC)
    return pd.Series(pd.Timestamp(as_of), index=dates.index)


def _with_plan_times(plans: pd.DataFrame, as_of: datetime | None) -> pd.DataFrame:
    # A planned day lies ahead. An event that is sent today must be able to replace the day's plan.
    times, now = _event_times(plans["date"], as_of), pd.Timestamp.now(UTC)
    times = times.where(times <= now, now)
    return plans[PLANNED_DAY_COLUMNS].assign(event_time=times)


def _refuse_outside(sales: pd.DataFrame, start: date, end: date | None) -> None:
    if sales.empty:
        return
    first, last = sales["date"].min().date(), sales["date"].max().date()
    if first < start or (end is not None and last > end):
        raise LoadError(
            f"the sales run from {first} to {last}, outside the calendar {start} to "
            f"{end or 'today'}; set SALES_CALENDAR_START and SALES_CALENDAR_END to cover them"
        )
