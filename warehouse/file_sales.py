"""The sales of a file: which of them are new to the database, and the ledger entry of those.

A file does not say when its numbers were right. So a row that contradicts what is stored needs an
event time (`as_of`); a row that repeats what is stored needs no storing. The rest of a load, stores
and plans, is in `loading.py`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pandas as pd

from forecasting.columns import DAY_COLUMNS
from rossmann.event_times import CLOCK_AHEAD_DAYS, last_sales_day
from warehouse.connection import Transaction
from warehouse.errors import LoadError

#: Rows per COPY: large enough to be fast, small enough for a progress bar to move.
CHUNK_ROWS = 100_000
#: Before this, nobody exported anything: the year was mistyped.
FIRST_AS_OF = datetime(1990, 1, 1, tzinfo=UTC)
#: The columns of a sale besides its store and date.
_VALUES = [name for name in DAY_COLUMNS if name not in ("store", "date", "day_of_week")]


@dataclass(frozen=True)
class SalesLoad:
    """What became of a file's sales.

    Attributes:
        topic: The name under which the ledger knows the stored rows, `file:` and their hash. None
            if no row was stored.
        new: Rows of days that had no sales.
        corrected: Rows that replace other numbers.
        confirmed: Rows with the numbers that are stored, and a later event time.
        outdated: Rows that do not count, because an event with a later time is stored.
        withdrawn: Rows that a person withdrew after their time: they are not stored again.
    """

    topic: str | None = None
    new: int = 0
    corrected: int = 0
    confirmed: int = 0
    outdated: int = 0
    withdrawn: int = 0


def load_sales(
    transaction: Transaction,
    sales: pd.DataFrame,
    as_of: datetime | None,
    on_rows: Callable[[int], None],
) -> SalesLoad:
    """Store the sales that add something to what is stored, and note the change of their stores.

    Args:
        transaction: The open transaction, which holds the lock of loads.
        sales: One row per store and day, with `DAY_COLUMNS`.
        as_of: The event time of the rows; None means each row's own date.
        on_rows: Called with the number of rows written so far.

    Raises:
        LoadError: Rows contradict stored ones, and nothing says which of them count.
    """
    if sales.empty:
        return SalesLoad()
    rows = sales[list(DAY_COLUMNS)].sort_values(["date", "store"], ignore_index=True)
    rows["event_time"] = event_times(rows["date"], as_of)
    taken_back = _is_withdrawn(transaction, rows)
    withdrawn = int(taken_back.sum())
    rows = rows[~taken_back].reset_index(drop=True)
    if rows.empty:
        return SalesLoad(withdrawn=withdrawn)
    stored = _stored_winners(transaction, rows)
    known = stored["known_time"].notna()
    differs = known & stored["differs"]
    tied = differs & (stored["known_time"] == rows["event_time"])
    contradicting = differs if as_of is None else tied
    if contradicting.any():
        raise LoadError(_contradiction(rows, stored, contradicting, as_of))
    outdated = differs & (stored["known_time"] > rows["event_time"])
    confirmed = known & ~differs & (stored["known_time"] < rows["event_time"])
    kept = rows[~known | differs | confirmed].reset_index(drop=True)
    topic = f"file:{content_hash(kept)}"
    if kept.empty or _is_loaded(transaction, topic):
        return SalesLoad(outdated=int(outdated.sum()), withdrawn=withdrawn)
    _append(transaction, topic, kept, on_rows)
    return SalesLoad(
        topic=topic,
        new=int((~known).sum()),
        corrected=int((differs & ~outdated).sum()),
        confirmed=int(confirmed.sum()),
        outdated=int(outdated.sum()),
        withdrawn=withdrawn,
    )


def refuse_impossible_times(sales: pd.DataFrame, as_of: datetime | None) -> None:
    """Refuse an impossible event time, and sales of days that have not come.

    Raises:
        LoadError: There is one.
    """
    now = datetime.now(UTC)
    clock_ahead = timedelta(days=CLOCK_AHEAD_DAYS)
    if as_of is not None and not FIRST_AS_OF <= as_of <= now + clock_ahead:
        raise LoadError(
            f"the event time {as_of:%Y-%m-%d %H:%M} lies "
            f"{'in the future' if as_of > now else 'before 1990'}; give the time at which the "
            "file's numbers were right, such as that of its export"
        )
    moment = as_of or now
    future = sales[sales["date"] > pd.Timestamp(last_sales_day(moment))]
    if len(future):
        row = future.iloc[0]
        raise LoadError(
            f"{len(future):,} sales are of days that had not come on {moment:%Y-%m-%d}, the first "
            f"of store {row['store']} on {row['date']:%Y-%m-%d}; correct their dates, or leave "
            "them out"
        )


def content_hash(sales: pd.DataFrame) -> str:
    """Return the SHA-256 of sorted rows with their event times."""
    digest = hashlib.sha256()
    for name in (*DAY_COLUMNS, "event_time"):
        column = sales[name]
        if name == "date":
            data = column.to_numpy("datetime64[D]").tobytes()
        elif name == "event_time":
            data = column.dt.tz_convert(None).to_numpy("datetime64[us]").tobytes()
        elif name == "state_holiday":
            data = "".join(column).encode()
        else:
            data = column.to_numpy("float64").tobytes()
        digest.update(name.encode() + data)
    return digest.hexdigest()


def event_times(dates: pd.Series, as_of: datetime | None) -> pd.Series:
    """Return the event time of each day: `as_of`, or the day itself."""
    if as_of is None:
        return dates.dt.tz_localize(UTC)
    return pd.Series(pd.Timestamp(as_of), index=dates.index)


def note_change(
    transaction: Transaction,
    kind: str,
    stores: list[int],
    first_days: list[date],
    *,
    stream_id: int | None = None,
    until_offset: int | None = None,
) -> None:
    """Add a change of some stores, each from its first day on."""
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


def _is_withdrawn(transaction: Transaction, rows: pd.DataFrame) -> pd.Series:
    """Tell which rows say what a person withdrew after the row's time."""
    found = transaction.frame(
        """
        SELECT w.store, w.date, max(w.withdrawn_at) AS withdrawn_at,
            (convert_from(q.value, 'UTF8')::jsonb ->> 'Sales')::float8 AS sales
        FROM sales.withdrawals w
            JOIN sales.quarantined_events q USING (stream_id, topic_partition, kafka_offset)
        WHERE q.reason = 'withdrawn' AND w.date BETWEEN $1 AND $2
        GROUP BY w.store, w.date, sales
        """,
        (rows["date"].min().date(), rows["date"].max().date()),
    )
    keys = ["store", "date", "sales"]
    times = found.set_index(keys)["withdrawn_at"]
    wanted = pd.MultiIndex.from_frame(rows[keys].astype({"sales": "float64"}))
    withdrawn_at = pd.Series(times.reindex(wanted).to_numpy(), index=rows.index)
    return pd.to_datetime(withdrawn_at, utc=True) > rows["event_time"]


def _stored_winners(transaction: Transaction, rows: pd.DataFrame) -> pd.DataFrame:
    """Return what is stored for each row's store and day: `known_time`, `differs` and the values.

    The order of events is that of `forecasting/cleaning.py`.
    """
    known = ", ".join(f"k.{name} AS known_{name}" for name in _VALUES)
    mine, theirs = (", ".join(f"{alias}.{name}" for name in _VALUES) for alias in ("i", "k"))
    transaction.execute(
        "CREATE TEMP TABLE IF NOT EXISTS incoming_sales (LIKE sales.raw_sales) ON COMMIT DROP"
    )
    transaction.execute("TRUNCATE incoming_sales")
    places = rows.assign(
        stream_id=0,
        topic_partition=0,
        kafka_offset=range(len(rows)),
        ingest_time=rows["event_time"],
    )
    days = (rows["date"].min().date(), rows["date"].max().date())
    overlaps = transaction.value(
        "SELECT EXISTS (SELECT FROM sales.raw_sales WHERE date BETWEEN $1 AND $2)", days
    )
    if overlaps:
        transaction.insert_temporary("incoming_sales", "raw_sales", places)
        transaction.execute("ANALYZE incoming_sales")
    found = transaction.frame(
        f"""
        SELECT i.kafka_offset AS place, k.event_time AS known_time,
            ({mine}) IS DISTINCT FROM ({theirs}) AS differs, {known}
        FROM incoming_sales i JOIN (
            SELECT DISTINCT ON (r.store, r.date) r.*
            FROM sales.raw_sales r
                JOIN sales.streams s USING (stream_id)
                JOIN incoming_sales w ON w.store = r.store AND w.date = r.date
            WHERE r.sales IS NOT NULL AND r.date BETWEEN $1 AND $2
            ORDER BY r.store, r.date, r.event_time DESC,
                s.topic || '/' || s.topic_uuid COLLATE "C" DESC,
                r.topic_partition DESC, r.kafka_offset DESC
        ) k USING (store, date)
        """,
        days,
    ).set_index("place")
    aligned = found.reindex(range(len(rows)))
    aligned["differs"] = aligned["differs"].eq(True)
    return aligned


def _contradiction(
    rows: pd.DataFrame, stored: pd.DataFrame, contradicting: pd.Series, as_of: datetime | None
) -> str:
    place = int(contradicting.to_numpy().argmax())
    row, known = rows.iloc[place], stored.iloc[place]
    name = next(
        (name for name in _VALUES if _differ(row[name], known[f"known_{name}"])), _VALUES[0]
    )
    now = datetime.now(UTC)
    ways = (
        f"load it with its time of export, such as --as-of {now:%Y-%m-%dT%H:%M:%S}, and the later "
        "time counts for each day; or remove these days from the file"
        if as_of is None
        else "give another --as-of"
    )
    return (
        f"{int(contradicting.sum()):,} of {len(rows):,} days are stored with other values, the "
        f"first: store {row['store']} on {row['date']:%Y-%m-%d} has {name} {_plain(row[name])} in "
        f"the file and {_plain(known[f'known_{name}'])} in the database. Nothing says which are "
        f"right: {ways}"
    )


def _differ(mine: object, theirs: object) -> bool:
    return _plain(mine) != _plain(theirs)


def _plain(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _is_loaded(transaction: Transaction, topic: str) -> bool:
    """Tell whether the same rows with the same times are stored, though no longer in force."""
    streams = transaction.value(
        "SELECT count(*) FROM sales.streams WHERE topic = $1 AND topic_uuid = ''", (topic,)
    )
    return bool(streams)


def _append(
    transaction: Transaction, topic: str, sales: pd.DataFrame, on_rows: Callable[[int], None]
) -> None:
    stream_id = transaction.value(
        "INSERT INTO sales.streams (topic, topic_uuid) VALUES ($1, '') RETURNING stream_id",
        (topic,),
    )
    for begin in range(0, len(sales), CHUNK_ROWS):
        chunk = sales.iloc[begin : begin + CHUNK_ROWS]
        rows = chunk.assign(
            stream_id=stream_id,
            topic_partition=0,
            kafka_offset=range(begin, begin + len(chunk)),
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
    note_change(
        transaction,
        "file",
        [int(store) for store in first_days.index],
        [day.date() for day in first_days],
        stream_id=stream_id,
        until_offset=len(sales),
    )
