"""The small statements of the sink's transactions: the ledger's rows, stores and changes.

Shared by a stream's task and by `requeue`. The events themselves go in by `copy`; `data_source`
opens and commits the transaction; the text of the ledger's statements is in `ledger_rows`.
"""

from __future__ import annotations

from dataclasses import astuple

import pyarrow as pa

from streaming_job import transform
from streaming_job.ledger_rows import ADVANCE_ROW, LOCK_ROW, NOTE_LAST_EVENT, OPEN_ROW, Counts
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


def note_last_event(
    connection: Connection,
    stream_id: int,
    partition: int,
    offset: int,
    digest: bytes,
    newest: pa.Scalar,
) -> None:
    """Remember a topic-partition's last event and, if it is newer, the newest possible time.

    Args:
        connection: In the transaction that stores the events.
        stream_id: The stream.
        partition: The topic-partition.
        offset: The last event's offset.
        digest: Its `ledger_rows.event_digest`.
        newest: The newest time of the stored events; null without one.
    """
    connection.execute(
        NOTE_LAST_EVENT,
        stream_id,
        partition,
        offset,
        pa.array([digest], pa.binary()),
        pa.array([newest.as_py()], transform.VALIDATED.field("event_time").type),
    )


def fetch_stores(connection: Connection) -> pa.Array:
    """Return the ids in `sales.stores`, as the connection's transaction sees them."""
    stores = connection.fetch("SELECT store FROM sales.stores").column(0)
    return stores.cast(transform.COLUMN_TYPES["store"]).combine_chunks()


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
