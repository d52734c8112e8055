"""Events whose times Spark's source cannot read, taken without Spark.

Kafka counts milliseconds, Spark microseconds in 64 bits. A time in nanoseconds, which old brokers
accept, overflows in Spark's source before any of our code sees the event, so the query could never
get past it. Here the stretch up to that event goes through the same transaction as a Spark task's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
from kafka.consumer.fetcher import ConsumerRecord

from rossmann import event_times
from streaming_job import kafka_client, query
from streaming_job.failures import translate_errors
from streaming_job.settings import StreamSettings
from streaming_job.sink import Connection
from streaming_job.sink.task import PartitionTask
from streaming_job.source import Start

log = logging.getLogger(__name__)

#: The times that Spark's source can read, in Kafka's milliseconds.
READABLE_MS = range(-(2**63) // 1_000 + 1, (2**63 - 1) // 1_000 + 1)
#: Events per batch.
PAGE_EVENTS = 20_000


def take_unreadable(settings: StreamSettings, start: Start) -> int:
    """Take every topic-partition up to its last event that Spark cannot read.

    Looks as far as one batch of the stream reaches.

    Args:
        settings: The stream's settings.
        start: Where the ledger stands.

    Returns:
        The number of events that Spark could not have read.

    Raises:
        StreamError: PostgreSQL or Kafka failed; the message says what to do.
    """
    servers = settings.kafka_bootstrap_servers
    _, ends = kafka_client.offset_bounds(servers, start.topic, start.offsets)
    taken = 0
    for partition, offset in start.offsets.items():
        reach = min(ends[partition], offset + settings.stream_max_offsets_per_trigger)
        offsets = [
            record.offset
            for records, _ in kafka_client.read_events(
                servers, start.topic, partition, offset, reach, PAGE_EVENTS
            )
            for record in records
            if record.timestamp not in READABLE_MS
        ]
        if not offsets:
            continue
        _take(settings, start, partition, offset, offsets[-1] + 1)
        log.warning(
            "%s-%d: took %d events with impossible times, which Spark cannot read, without it",
            start.topic,
            partition,
            len(offsets),
        )
        taken += len(offsets)
    return taken


def _take(settings: StreamSettings, start: Start, partition: int, first: int, end: int) -> None:
    """Take a range of one topic-partition in one transaction."""
    batches = _batches(settings, start, partition, first, end)
    options = query.sink_options(start, settings)
    with translate_errors(), closing(Connection(options.session_url)) as connection:
        # Closing without a commit makes PostgreSQL roll back.
        connection.begin()
        PartitionTask(options, connection, next(batches)).run(batches)
        connection.commit()


def _batches(
    settings: StreamSettings, start: Start, partition: int, first: int, end: int
) -> Iterator[pa.RecordBatch]:
    pages = kafka_client.read_events(
        settings.kafka_bootstrap_servers, start.topic, partition, first, end, PAGE_EVENTS
    )
    for records, _ in pages:
        if records:
            yield as_batch(records)


def as_batch(records: list[ConsumerRecord]) -> pa.RecordBatch:
    """Return events in the columns that Spark's source gives to the sink."""
    sent = [event_times.as_stored(r.timestamp * event_times.MILLI_MICROS) for r in records]
    return pa.record_batch(
        {
            "key": pa.array([record.key for record in records], pa.binary()),
            "value": pa.array([record.value for record in records], pa.binary()),
            "partition": pa.array([record.partition for record in records], pa.int32()),
            "offset": pa.array([record.offset for record in records], pa.int64()),
            "timestamp": pa.array(sent, pa.timestamp("us", tz="UTC")),
        }
    )
