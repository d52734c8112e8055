"""What the sink's transactions read and write, shared by a stream's task and by `requeue`.

The transaction itself is in `task`; the text of the ledger's statements is in `ledger_rows`.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pyarrow as pa

from streaming_job import transform
from streaming_job.ledger_rows import ADVANCE_ROW, LOCK_ROW, OPEN_ROW, Counts
from streaming_job.sink.connection import Connection

_APPEND_CHANGE = """
INSERT INTO sales.changes
    (kind, stream_id, topic_partition, from_offset, until_offset, stores, first_days)
VALUES ($1, $2, $3, $4, $5, $6::integer[], $7::date[])
"""


def lock_row(connection: Connection, stream_id: int, partition: int) -> int:
    """Lock a topic-partition's row of the ledger; open it at offset 0 if there is none.

    Returns:
        The row's next offset.
    """
    row = connection.fetch(LOCK_ROW, stream_id, partition)
    if row.num_rows == 0:
        # The topic-partition was added while the stream runs.
        connection.execute(OPEN_ROW, stream_id, partition, 0)
        row = connection.fetch(LOCK_ROW, stream_id, partition)
    return int(row.column(0)[0].as_py())


def advance_row(
    connection: Connection, stream_id: int, partition: int, next_offset: int, added: Counts
) -> None:
    """Set a row's next offset and add to its counts."""
    connection.execute(ADVANCE_ROW, stream_id, partition, next_offset, *astuple(added))


def fetch_stores(connection: Connection) -> pa.Array:
    """Return the ids in `sales.stores`, as the connection's transaction sees them."""
    stores = connection.fetch("SELECT store FROM sales.stores").column(0)
    return stores.cast(transform.COLUMN_TYPES["store"]).combine_chunks()


def copy_to_raw(connection: Connection, stream_id: int, rows: pa.Table) -> None:
    """Append valid events to `raw_sales`.

    Args:
        connection: In the transaction that stores the events.
        stream_id: The stream.
        rows: Columns of `transform.VALIDATED`.
    """
    columns = {name: rows.column(name) for name in transform.COLUMN_TYPES}
    connection.copy("raw_sales", pa.table(_position(stream_id, rows) | columns))


def copy_to_quarantine(connection: Connection, stream_id: int, rows: pa.Table) -> None:
    """Append invalid events to `quarantined_events`; arguments as in `copy_to_raw`."""
    columns = {name: rows.column(name) for name in ("key", "value", "reason", "detail")}
    connection.copy("quarantined_events", pa.table(_position(stream_id, rows) | columns))


def _position(stream_id: int, rows: pa.Table) -> dict[str, Any]:
    return {
        "stream_id": pa.repeat(pa.scalar(stream_id, pa.int16()), rows.num_rows),
        "topic_partition": rows.column("topic_partition"),
        "kafka_offset": rows.column("kafka_offset"),
        "event_time": rows.column("event_time"),
    }


def append_change(
    connection: Connection,
    kind: str,
    stream_id: int,
    partition: int,
    offsets: tuple[int, int],
    days: pa.Table,
) -> None:
    """Append one row to the change ledger: each store once, with its earliest day.

    Args:
        connection: In the transaction that stores the events.
        kind: 'stream' or 'requeue'.
        stream_id: The stream.
        partition: The topic-partition.
        offsets: The first offset, and the one after the last.
        days: Columns store and date of what was stored.
    """
    stores = days.group_by("store").aggregate([("date", "min")]).sort_by("store")
    connection.execute(
        _APPEND_CHANGE,
        pa.array([kind]),
        stream_id,
        partition,
        *offsets,
        pa.array([stores.column("store").to_pylist()], pa.list_(pa.int32())),
        pa.array([stores.column("date_min").to_pylist()], pa.list_(pa.date32())),
    )
