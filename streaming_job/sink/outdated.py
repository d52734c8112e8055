"""Corrections that arrive late and lose: noted with the event that counts instead.

Which event counts for a store and day is decided by the events' times (`forecasting/cleaning.py`).
So a correction from a clock that runs behind would be lost in silence. Looking for it costs nothing
while times ascend: only an event that is older than one taken before can lose.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from streaming_job.sink.connection import Connection

# Files have no newest time of their own: nothing in one is later than its load. Older streams of
# the same topic count too.
_NEWEST_TIME = """
SELECT (extract(epoch FROM greatest(
    (SELECT newest_event_time FROM sales.stream_offsets
        WHERE stream_id = $1 AND topic_partition = $2),
    (SELECT max(accepted_at) FROM sales.streams WHERE topic LIKE 'file:%'),
    (SELECT max(o.newest_event_time)
        FROM sales.streams this
        JOIN sales.streams other ON other.topic = this.topic AND other.stream_id <> this.stream_id
        JOIN sales.stream_offsets o ON o.stream_id = other.stream_id
        WHERE this.stream_id = $1)
)) * 1000000)::bigint
"""
_NOTE = """
WITH days AS MATERIALIZED (
    SELECT r.*, s.topic, s.topic || '/' || s.topic_uuid AS stream
    FROM sales.raw_sales r JOIN sales.streams s USING (stream_id)
    WHERE r.date = ANY ($3::date[]) AND r.store = ANY ($4::integer[])
), winners AS (
    SELECT DISTINCT ON (late.kafka_offset) late.kafka_offset AS late_offset, known.*
    FROM days late JOIN days known ON known.store = late.store AND known.date = late.date
        AND (known.sales IS NULL) = (late.sales IS NULL) AND known.event_time > late.event_time
        -- What came later in the same topic-partition had not arrived yet.
        AND NOT (known.stream_id = $1 AND known.topic_partition = $2
            AND known.kafka_offset >= late.kafka_offset)
    WHERE late.stream_id = $1 AND late.topic_partition = $2
        AND late.kafka_offset = ANY ($5::bigint[])
    ORDER BY late.kafka_offset, known.event_time DESC, known.stream COLLATE "C" DESC,
        known.topic_partition DESC, known.kafka_offset DESC
)
INSERT INTO sales.outdated_corrections (stream_id, topic_partition, kafka_offset, store, date,
    event_time, sales, kept_topic, kept_partition, kept_offset, kept_event_time, kept_sales)
SELECT late.stream_id, late.topic_partition, late.kafka_offset, late.store, late.date,
    late.event_time, late.sales, w.topic, w.topic_partition, w.kafka_offset,
    -- Stored before times were judged, it may be one that Python does not understand.
    least(w.event_time, timestamptz '2262-01-01 00:00:00+00'), w.sales
FROM winners w JOIN days late ON late.stream_id = $1 AND late.topic_partition = $2
    AND late.kafka_offset = w.late_offset
WHERE (late.sales, late.customers, late.open, late.promo, late.state_holiday, late.school_holiday)
    IS DISTINCT FROM
    (w.sales, w.customers, w.open, w.promo, w.state_holiday, w.school_holiday)
ON CONFLICT DO NOTHING
"""


class OutdatedCorrections:
    """Collects the events of a range that may have lost, and notes those that did."""

    def __init__(self, connection: Connection, stream_id: int, partition: int) -> None:
        """Read the newest time taken so far.

        Args:
            connection: In the transaction that stores the events.
            stream_id: The stream.
            partition: The topic-partition.
        """
        self._connection, self._stream_id, self._partition = connection, stream_id, partition
        newest = connection.fetch(_NEWEST_TIME, stream_id, partition).column(0)[0].as_py()
        #: The newest time of an event that was stored, in microseconds; None before the first.
        self.newest: int | None = newest
        self._suspects: list[pa.Table] = []

    def add(self, stored: pa.Table) -> None:
        """Look at events that were just stored, in the order of their offsets."""
        times = stored.column("event_time").combine_chunks().cast(pa.int64())
        before = times[0] if self.newest is None else pa.scalar(self.newest, pa.int64())
        newest = pc.max_element_wise(pc.cumulative_max(times), before)
        is_older = pc.less(times, newest)
        if pc.any(is_older).as_py():
            suspects = stored.filter(is_older).select(["store", "date", "kafka_offset"])
            self._suspects.append(suspects)
        self.newest = newest[-1].as_py()

    def note(self) -> None:
        """Append the collected events that lost to `outdated_corrections`."""
        if not self._suspects:
            return
        suspects = pa.concat_tables(self._suspects)
        self._connection.execute(
            _NOTE,
            self._stream_id,
            self._partition,
            _list(suspects.column("date").unique()),
            _list(suspects.column("store").unique()),
            _list(suspects.column("kafka_offset")),
        )


def _list(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return pa.array([values.to_pylist()], pa.list_(values.type))
