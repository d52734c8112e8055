"""Requeueing: quarantined events whose cause is fixed (a store was added) move to `raw_sales`.

Events are validated as in the stream, outside any transaction. The valid ones keep their offsets
and move in one transaction per topic-partition, with its row of the ledger locked. Events that
another requeue has moved meanwhile are left out, so each event moves once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import closing

import pyarrow as pa
import pyarrow.compute as pc

from streaming_job import ledger, query, reason_codes, transform
from streaming_job.drain import ensure_monthly_tables
from streaming_job.failures import translate_errors
from streaming_job.ledger_rows import Counts
from streaming_job.settings import StreamSettings
from streaming_job.sink import Connection, session_url, statements
from streaming_job.sink.copy import copy_to_raw

#: Events validated and moved in one transaction.
ROWS_PER_PAGE = 50_000

_QUARANTINED = """
SELECT topic_partition AS partition, kafka_offset AS "offset", event_time AS timestamp, key, value
FROM sales.quarantined_events
WHERE stream_id = $1 AND topic_partition = $2 AND kafka_offset > $3
    AND length(value) <= $4 AND reason = ANY ($5::text[])
ORDER BY kafka_offset LIMIT $6
"""
_CLAIM = """
DELETE FROM sales.quarantined_events
WHERE stream_id = $1 AND topic_partition = $2 AND kafka_offset = ANY ($3::bigint[])
RETURNING kafka_offset
"""


def requeue(
    settings: StreamSettings,
    *,
    reasons: Collection[str] = reason_codes.REQUEUED,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Store every quarantined event that is valid by today's rules and stores.

    Those of the topic are meant, and those that a person withdrew from loaded files.

    Args:
        settings: The stream's settings.
        reasons: Requeue only events quarantined for one of these; by default all that no person
            withdrew.
        on_progress: Called with the number of events checked and stored so far.

    Returns:
        The number of events stored.

    Raises:
        StreamError: PostgreSQL failed; the message says what to do.
    """
    ensure_monthly_tables(settings)
    with ledger.connect(settings.database_url) as session:
        # Events of a topic that was deleted and recreated since are no less valid.
        places = [
            (stream_id, partition)
            for stream_id in (
                *ledger.streams_of(session, settings.sales_topic),
                *ledger.file_streams(session),
            )
            for partition in ledger.quarantined_partitions(session, stream_id, reasons)
        ]
    if not places:
        return 0
    url = session_url(
        settings.database_url,
        lock_timeout_seconds=settings.stream_lock_timeout_seconds,
        idle_timeout_seconds=settings.stream_idle_timeout_seconds,
    )
    checked = stored = 0
    with translate_errors(), closing(Connection(url)) as connection:
        for stream_id, partition in places:
            for rows in _pages(connection, stream_id, partition, reasons):
                valid = _valid_now(settings, connection, rows)
                checked += rows.num_rows
                stored += _move(connection, stream_id, partition, valid)
                if on_progress is not None:
                    on_progress(checked, stored)
    return stored


def _pages(
    connection: Connection, stream_id: int, partition: int, reasons: Collection[str]
) -> Iterator[pa.Table]:
    """Yield a topic-partition's quarantined events, in the order of their offsets."""
    after = -1
    reason_list = pa.array([[str(reason) for reason in reasons]], pa.list_(pa.string()))
    while True:
        rows = connection.fetch(
            _QUARANTINED,
            stream_id,
            partition,
            after,
            reason_codes.MAX_VALUE_BYTES,
            reason_list,
            ROWS_PER_PAGE,
        )
        if rows.num_rows == 0:
            return
        yield rows
        after = rows.column("offset")[-1].as_py()


def _valid_now(settings: StreamSettings, connection: Connection, rows: pa.Table) -> pa.Table:
    """Return the rows that are valid by the stream's rules and the current stores."""
    validated = transform.validate(rows, query.calendar_from(settings))
    return validated.filter(
        pc.and_(
            pc.is_null(validated.column("reason")),
            pc.is_in(validated.column("store"), value_set=statements.fetch_stores(connection)),
        )
    )


def _move(connection: Connection, stream_id: int, partition: int, valid: pa.Table) -> int:
    """Move events from quarantine to `raw_sales`; return how many were still in quarantine."""
    if valid.num_rows == 0:
        return 0
    connection.begin()
    next_offset = statements.lock_row(connection, stream_id, partition)
    offsets = pa.array([valid.column("kafka_offset").to_pylist()], pa.list_(pa.int64()))
    claimed = connection.fetch(_CLAIM, stream_id, partition, offsets).column(0)
    moved = valid.filter(pc.is_in(valid.column("kafka_offset"), value_set=claimed.combine_chunks()))
    if moved.num_rows:
        copy_to_raw(connection, stream_id, moved)
        first = pc.min(moved.column("kafka_offset")).as_py()
        last = pc.max(moved.column("kafka_offset")).as_py()
        statements.append_change(
            connection, "requeue", stream_id, partition, (first, last + 1), moved
        )
        added = Counts(stored=moved.num_rows, quarantined=-moved.num_rows)
        statements.advance_row(connection, stream_id, partition, next_offset, added)
    connection.commit()
    return int(moved.num_rows)
