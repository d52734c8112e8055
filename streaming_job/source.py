"""Where a query starts, and Spark's Kafka source.

The ledger in PostgreSQL alone decides where to start; a checkpoint never does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from pyspark.sql import DataFrame, SparkSession

from rossmann import event_times
from streaming_job import kafka_client, ledger
from streaming_job.broker_access import broker_access
from streaming_job.errors import RefusedError
from streaming_job.kafka_client import Topic
from streaming_job.ledger import OffsetRow
from streaming_job.ledger_rows import event_digest
from streaming_job.settings import StreamSettings

log = logging.getLogger(__name__)

#: Options that split one topic-partition over several tasks, which could hide a gap.
REFUSED_OPTIONS = ("minpartitions", "maxrecordsperpartition")

#: Bytes and records per fetch. With Kafka's defaults (1 MB, 500 records), reading a backlog
#: mostly waits for the broker.
FETCH_BYTES = str(8 * 1024 * 1024)
FETCH_RECORDS = "5000"


@dataclass(frozen=True)
class Start:
    """A start of the stream: the topic, and the next offset of each topic-partition."""

    stream_id: int
    topic: str
    topic_uuid: str
    offsets: dict[int, int]

    @property
    def starting_offsets(self) -> str:
        """Spark's option `startingOffsets`."""
        return json.dumps({self.topic: {str(k): v for k, v in sorted(self.offsets.items())}})


def plan_start(settings: StreamSettings, *, accept_recreated_topic: bool = False) -> Start:
    """Read the broker and the ledger, register what is new, and return where to start.

    Args:
        settings: The stream's settings.
        accept_recreated_topic: The operator accepts that the topic was recreated. Its events
            become another stream that starts at its oldest event.

    Raises:
        RefusedError: The topic does not exist, was recreated, ends before the ledger, or no longer
            holds the last event that was stored.
        UnavailableError: PostgreSQL or Kafka does not answer.
    """
    topic = kafka_client.describe_topic(settings.kafka_bootstrap_servers, settings.sales_topic)
    beginnings, ends = kafka_client.offset_bounds(
        settings.kafka_bootstrap_servers, topic.name, topic.partitions
    )
    with ledger.connect(settings.database_url) as connection:
        newest = ledger.newest_stream(connection, topic.name)
        if newest is not None and newest[1] != topic.uuid and not accept_recreated_topic:
            raise RefusedError(
                f"topic {topic.name!r} was recreated: its id is {topic.uuid}, the ledger knows "
                f"{newest[1]}. Events of the old topic that were not stored are gone. To read the "
                "new one as another stream from its first event, start once with "
                "--accept-recreated-topic"
            )
        stream_id = ledger.accept_stream(connection, topic.name, topic.uuid)
        ledger.open_partitions(connection, stream_id, beginnings)
        _count_expired(connection, topic, stream_id, beginnings)
        rows = ledger.offsets(connection, stream_id)
    offsets = {partition: row.next_offset for partition, row in rows.items()}
    for partition, next_offset in offsets.items():
        end = ends.get(partition, 0)
        if next_offset > end:
            raise RefusedError(
                f"{topic.name}-{partition} ends at offset {end}, but the ledger has stored events "
                f"up to {next_offset}: the broker lost events. Restore it, or recreate the topic "
                "and start once with --accept-recreated-topic"
            )
    _refuse_overtaken(settings.kafka_bootstrap_servers, topic.name, rows, beginnings)
    return Start(stream_id, topic.name, topic.uuid, offsets)


def _count_expired(
    connection: psycopg.Connection, topic: Topic, stream_id: int, beginnings: dict[int, int]
) -> None:
    for partition, beginning in beginnings.items():
        expired = ledger.count_expired(connection, stream_id, partition, beginning)
        if expired:
            log.error(
                "retention deleted %d unread events of %s-%d, up to offset %d; "
                "they are counted as expired in sales.stream_offsets",
                expired,
                topic.name,
                partition,
                beginning,
            )


def _refuse_overtaken(
    bootstrap_servers: str,
    topic: str,
    rows: Mapping[int, OffsetRow],
    beginnings: Mapping[int, int],
) -> None:
    """Refuse a broker that lost its newest events and has taken others at their offsets since.

    Raises:
        RefusedError: The last event that was stored is not the one that the broker holds there.
    """
    last = {
        partition: row
        for partition, row in rows.items()
        if row.last_event_offset is not None
        and row.last_event_offset >= beginnings.get(partition, row.last_event_offset + 1)
    }
    events = kafka_client.events_at(
        bootstrap_servers, topic, {p: row.last_event_offset or 0 for p, row in last.items()}
    )
    for partition, row in last.items():
        event = events[partition]
        if event is None and kafka_client.is_compacted(bootstrap_servers, topic):
            continue
        if event is None or row.last_event_digest != event_digest(
            event.timestamp * event_times.MILLI_MICROS, event.key, event.value
        ):
            raise RefusedError(
                f"{topic}-{partition} holds {'no event' if event is None else 'another event'} at "
                f"offset {row.last_event_offset}, where one was stored: the broker lost its "
                "newest events and took others in their place. Restore it; or send what it took "
                "to a new topic of the same name, and start once with --accept-recreated-topic. "
                "`audit --deep` lists the offsets that differ"
            )


def read_stream(
    spark: SparkSession,
    start: Start,
    settings: StreamSettings,
    extra_options: dict[str, str] | None = None,
) -> DataFrame:
    """Return the topic's events from the ledger's offsets on.

    Args:
        spark: A session with `session.spark_config`.
        start: The topic and the offsets.
        settings: The stream's settings.
        extra_options: Further options of Spark's Kafka source.

    Returns:
        Spark's columns: key, value, partition, offset, timestamp and others.

    Raises:
        RefusedError: An option would split a topic-partition over several tasks.
    """
    options = {
        "kafka.bootstrap.servers": settings.kafka_bootstrap_servers,
        "subscribe": start.topic,
        "startingOffsets": start.starting_offsets,
        "kafka.max.partition.fetch.bytes": FETCH_BYTES,
        "kafka.max.poll.records": FETCH_RECORDS,
        "kafka.isolation.level": kafka_client.READ_COMMITTED,
        **broker_access().java_options("kafka."),
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": str(settings.stream_max_offsets_per_trigger),
        **(extra_options or {}),
    }
    for name in options:
        if name.lower() in REFUSED_OPTIONS:
            raise RefusedError(
                f"the source option {name} would split a topic-partition over several tasks, "
                "which could hide lost events: remove it and add topic-partitions instead"
            )
    return spark.readStream.format("kafka").options(**options).load()
