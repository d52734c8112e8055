"""The COPY path: events into `raw_sales` and `quarantined_events`, by binary COPY.

Shared by a stream's task and by `requeue`. Which rows are held back until the next COPY is decided
in `task`; the session that copies is in `connection`.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from streaming_job import transform
from streaming_job.sink.connection import Connection

#: A task validates and copies its rows when it holds this many of them, or this many bytes.
ROWS_PER_COPY = 100_000
BYTES_PER_COPY = 64 * 1024 * 1024


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
