"""Loading whole files: stores, sales with their ledger entry, and plans.

Reading the files lives in `rossmann/kaggle.py`, which sales of a file are new is decided in
`file_sales.py`; the stream fills the same tables from `streaming_job`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

import pandas as pd

from forecasting.columns import PLAN_COLUMNS
from warehouse.connection import Transaction, Warehouse
from warehouse.errors import LoadError
from warehouse.file_sales import (
    SalesLoad,
    event_times,
    load_sales,
    note_change,
    refuse_impossible_times,
)

#: Columns of a planned day: one row per store and date.
PLANNED_DAY_COLUMNS = ["store", "date", *PLAN_COLUMNS]


@dataclass(frozen=True)
class Loaded:
    """Result of a load.

    Attributes:
        sales_rows: Rows of sales in the file.
        sales: What became of them.
        stores_changed: Stores that are new or whose attributes changed.
        plans_changed: Planned days that are new or changed.
        plans_outdated: Planned days that do not count, because a later plan is stored.
    """

    sales_rows: int
    sales: SalesLoad
    stores_changed: int
    plans_changed: int
    plans_outdated: int

    @property
    def already_loaded(self) -> bool:
        """Whether no row of the file added anything."""
        return self.sales.topic is None


def load(
    warehouse: Warehouse,
    *,
    stores: pd.DataFrame,
    sales: pd.DataFrame,
    plans: pd.DataFrame,
    as_of: datetime | None = None,
    planned_at: datetime | None = None,
    calendar: tuple[date, date | None],
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Loaded:
    """Load stores, sales and planned days in one transaction; only what is new is stored.

    Args:
        warehouse: The database.
        stores: Rows of the table `stores`.
        sales: One row per store and day with sales, with `DAY_COLUMNS`.
        plans: One row per store and planned day, with `PLANNED_DAY_COLUMNS`; `open` may be missing.
        as_of: The event time of the rows; by default each row's own date.
        planned_at: The latest event time of a plan without `as_of`; by default now. Loaded again,
            a file that nobody has changed must not undo a plan that came later.
        calendar: First and last day that the partitions cover; None means that there is no end.
        on_rows: Called with the number of sales rows written so far in this call.

    Raises:
        LoadError: A row names an unknown store, lies outside the calendar, is of a day that has
            not come, or contradicts what is stored while nothing says which is right.
    """
    start, end = calendar
    _refuse_outside(sales, start, end)
    refuse_impossible_times(sales, as_of)
    for frame, what in ((sales, "sales"), (plans, "planned days")):
        unknown = sorted(set(frame["store"].unique()) - set(stores["store"]))
        if unknown:
            raise LoadError(
                f"{what} name {len(unknown)} stores that the store table does not know, such as "
                f"{', '.join(map(str, unknown[:5]))}; add them to the stores or remove their rows"
            )
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
        loaded = load_sales(transaction, sales, as_of, on_rows)
        merged = merge_plans(transaction, _with_plan_times(plans, as_of, planned_at))
    return Loaded(len(sales), loaded, stores_changed, merged.changed, merged.outdated)


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


class MergedPlans(NamedTuple):
    """How many days' plans changed, and how many do not count, because a later one is stored."""

    changed: int
    outdated: int


def merge_plans(transaction: Transaction, plans: pd.DataFrame, *, note: bool = True) -> MergedPlans:
    """Store planned days unless a later plan is stored, and record the change of their stores.

    A plan that repeats what is stored is no change, but from its time on an earlier plan that
    arrives late no longer counts.

    Args:
        transaction: The open transaction.
        plans: Columns store, date, open, promo, state_holiday, school_holiday, event_time.
        note: Whether to add a change for the stores whose plans differ. A refresh passes False,
            because it already handles the events that brought the plans.
    """
    if plans.empty:
        return MergedPlans(0, 0)
    transaction.execute(
        "CREATE TEMP TABLE IF NOT EXISTS incoming_plans (LIKE sales.planned_days) ON COMMIT DROP"
    )
    transaction.execute("TRUNCATE incoming_plans")
    transaction.insert_temporary("incoming_plans", "planned_days", plans)
    rows = transaction.rows(
        """
        WITH before AS (
            SELECT known.* FROM sales.planned_days known JOIN incoming_plans USING (store, date)
        ), merged AS (
            INSERT INTO sales.planned_days AS known
            SELECT * FROM incoming_plans
            ON CONFLICT (store, date) DO UPDATE SET
                open = excluded.open, promo = excluded.promo,
                state_holiday = excluded.state_holiday,
                school_holiday = excluded.school_holiday, event_time = excluded.event_time
            WHERE excluded.event_time > known.event_time
                OR excluded.event_time = known.event_time
                AND (known.open, known.promo, known.state_holiday, known.school_holiday)
                    IS DISTINCT FROM
                    (excluded.open, excluded.promo, excluded.state_holiday,
                     excluded.school_holiday)
            RETURNING known.*
        ), changed AS (
            SELECT merged.store, merged.date FROM merged LEFT JOIN before USING (store, date)
            WHERE (before.open, before.promo, before.state_holiday, before.school_holiday)
                IS DISTINCT FROM
                (merged.open, merged.promo, merged.state_holiday, merged.school_holiday)
                OR before.store IS NULL
        ), touched AS (
            SELECT store, min(date) AS first_day, count(*) AS days FROM changed GROUP BY store
        )
        SELECT count(*) AS stores, coalesce(sum(days), 0)::bigint AS days,
            (SELECT count(*) FROM incoming_plans i JOIN before b USING (store, date)
                WHERE b.event_time > i.event_time
                    AND (b.open, b.promo, b.state_holiday, b.school_holiday) IS DISTINCT FROM
                        (i.open, i.promo, i.state_holiday, i.school_holiday)) AS outdated,
            array_agg(store ORDER BY store) AS ids,
            array_agg(first_day ORDER BY store) AS first_days
        FROM touched
        """
    )
    (summary,) = rows
    if note and summary["stores"]:
        note_change(transaction, "plan", summary["ids"], summary["first_days"])
    return MergedPlans(int(summary["days"]), int(summary["outdated"]))


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


def _with_plan_times(
    plans: pd.DataFrame, as_of: datetime | None, planned_at: datetime | None
) -> pd.DataFrame:
    # A planned day lies ahead. An event that is sent today must be able to replace the day's plan.
    times, latest = event_times(plans["date"], as_of), pd.Timestamp.now(UTC)
    if as_of is None and planned_at is not None:
        latest = min(latest, pd.Timestamp(planned_at))
    times = times.where(times <= latest, latest)
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
