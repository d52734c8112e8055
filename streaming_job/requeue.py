"""Puts quarantined events through again, once their cause is mended (a store was added).

The events are judged as in the stream, outside any transaction. Those that are good now move to
`raw_sales` under their own offsets, in one transaction for each topic-partition with its line of
the ledger locked. What another requeue moved meanwhile is left out, so each event moves once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import closing

import pyarrow as pa
import pyarrow.compute as pc

from streaming_job import events, ledger, query, sink, transform
from streaming_job.drain import ensure_monthly_tables
from streaming_job.failures import translate_errors
from streaming_job.settings import StreamSettings
from streaming_job.sink import Connection, SinkOptions

ROWS_AT_A_TIME = 50_000

_QUARANTINED = """
SELECT topic_partition AS partition, kafka_offset AS "offset", event_time AS timestamp, key, value
FROM sales.quarantined_events
WHERE stream_id = $1 AND topic_partition = $2 AND kafka_offset > $3
    AND length(value) <= $4 AND reason = ANY ($5::text[])
ORDER BY kafka_offset LIMIT $6
"""
_LOCK = """
SELECT next_offset FROM sales.stream_offsets
WHERE stream_id = $1 AND topic_partition = $2 FOR UPDATE
"""
_TAKE = """
DELETE FROM sales.quarantined_events
WHERE stream_id = $1 AND topic_partition = $2 AND kafka_offset = ANY ($3::bigint[])
RETURNING kafka_offset
"""
_MOVE = """
UPDATE sales.stream_offsets SET stored = stored + $3, quarantined = quarantined - $3,
    updated_at = clock_timestamp()
WHERE stream_id = $1 AND topic_partition = $2
"""


def requeue(
    settings: StreamSettings,
    *,
    reasons: Collection[str] = tuple(events.Reason),
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Stores every quarantined event of the topic that is good by today's rules and stores.

    Args:
        settings: The stream's settings.
        reasons: Only events quarantined for one of these.
        on_progress: Called with events looked at and events stored so far.

    Returns:
        How many events were stored.

    Raises:
        StreamError: What failed and what to do.
    """
    ensure_monthly_tables(settings)
    with ledger.connect(settings.database_url) as connection:
        newest = ledger.newest_stream(connection, settings.sales_topic)
        if newest is None:
            return 0
        stream_id = newest[0]
        partitions = ledger.quarantined_partitions(connection, stream_id, list(reasons))
    if not partitions:
        return 0
    looked_at = stored = 0
    with (
        translate_errors(),
        closing(Connection(_session_url(settings, stream_id))) as database,
    ):
        for partition in partitions:
            for rows in _pages(database, stream_id, partition, reasons):
                good = _good_now(settings, database, rows)
                looked_at += rows.num_rows
                stored += _store(database, stream_id, partition, good)
                if on_progress is not None:
                    on_progress(looked_at, stored)
    return stored


def _session_url(settings: StreamSettings, stream_id: int) -> str:
    return SinkOptions(
        database_url=settings.database_url,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        topic=settings.sales_topic,
        topic_uuid="",
        stream_id=stream_id,
        calendar=query.calendar_from(settings),
        lock_timeout_seconds=settings.stream_lock_timeout_seconds,
        idle_timeout_seconds=settings.stream_idle_timeout_seconds,
    ).session_url


def _pages(
    database: Connection, stream_id: int, partition: int, reasons: Collection[str]
) -> Iterator[pa.Table]:
    after = -1
    wanted = pa.array([[str(reason) for reason in reasons]], pa.list_(pa.string()))
    while True:
        rows = database.fetch(
            _QUARANTINED,
            stream_id,
            partition,
            after,
            events.MAX_VALUE_BYTES,
            wanted,
            ROWS_AT_A_TIME,
        )
        if rows.num_rows == 0:
            return
        yield rows
        after = rows.column("offset")[-1].as_py()


def _good_now(settings: StreamSettings, database: Connection, rows: pa.Table) -> pa.Table:
    """The rows that the stream's own rules, and the stores of now, let pass."""
    judged = transform.validate(rows, query.calendar_from(settings))
    good = pc.and_(
        pc.is_null(judged.column("reason")),
        pc.is_in(judged.column("store"), value_set=sink.known_stores(database)),
    )
    return judged.filter(good)


def _store(database: Connection, stream_id: int, partition: int, good: pa.Table) -> int:
    if good.num_rows == 0:
        return 0
    database.begin()
    database.fetch(_LOCK, stream_id, partition)
    offsets = pa.array([good.column("kafka_offset").to_pylist()], pa.list_(pa.int64()))
    taken = database.fetch(_TAKE, stream_id, partition, offsets).column(0)
    moved = good.filter(pc.is_in(good.column("kafka_offset"), value_set=taken.combine_chunks()))
    if moved.num_rows:
        database.copy("raw_sales", sink.raw_rows(stream_id, moved))
        first = pc.min(moved.column("kafka_offset")).as_py()
        last = pc.max(moved.column("kafka_offset")).as_py()
        sink.append_change(database, "requeue", (stream_id, partition, first, last + 1), moved)
        database.execute(_MOVE, stream_id, partition, moved.num_rows)
    database.commit()
    return int(moved.num_rows)
