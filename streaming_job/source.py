"""Where a query starts, and Spark's Kafka source.

The ledger in PostgreSQL alone decides where to start; a checkpoint never does. Whether it fits the
broker is decided in `continuity`.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

import psycopg
from pyspark.sql import DataFrame, SparkSession

from streaming_job import continuity, kafka_client, ledger
from streaming_job.broker_access import broker_access
from streaming_job.errors import RefusedError
from streaming_job.kafka_client import Topic
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
        if not accept_recreated_topic:
            continuity.refuse_recreated(topic, ledger.newest_stream(connection, topic.name))
        stream_id = ledger.accept_stream(connection, topic.name, topic.uuid)
        ledger.open_partitions(connection, stream_id, beginnings)
        _count_expired(connection, topic, stream_id, beginnings)
        rows = ledger.offsets(connection, stream_id)
    offsets = {partition: row.next_offset for partition, row in rows.items()}
    continuity.refuse_lost_events(topic.name, rows, ends)
    continuity.refuse_overtaken(settings.kafka_bootstrap_servers, topic.name, rows, beginnings)
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
