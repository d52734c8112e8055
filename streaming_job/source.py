"""Where the stream starts: the topic by its UUID, offsets from the ledger, Spark's source options.

The ledger in PostgreSQL is the only memory; a checkpoint never decides where to start.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from streaming_job import kafka_client, ledger
from streaming_job.errors import RefusedError
from streaming_job.settings import StreamSettings

log = logging.getLogger(__name__)

REFUSED_OPTIONS = ("minpartitions", "maxrecordsperpartition")
"""They split one topic-partition over several tasks, which could hide a gap from the ledger."""

# Kafka's defaults (1 MB, 500 records) make a backlog wait for the broker between small answers.
FETCH_BYTES = str(8 * 1024 * 1024)
FETCH_RECORDS = "5000"


@dataclass(frozen=True)
class Start:
    """A start of the stream: which topic, and the next offset of each topic-partition."""

    stream_id: int
    topic: str
    topic_uuid: str
    offsets: dict[int, int]

    @property
    def starting_offsets(self) -> str:
        """Spark's `startingOffsets`."""
        return json.dumps({self.topic: {str(k): v for k, v in sorted(self.offsets.items())}})


def plan_start(settings: StreamSettings, *, accept_recreated_topic: bool = False) -> Start:
    """Reads the broker and the ledger, and registers what is new in the ledger.

    Args:
        settings: The stream's settings.
        accept_recreated_topic: The operator accepts that the topic was made anew: its events
            become another stream that begins at its oldest event.

    Raises:
        RefusedError: No topic; the topic was recreated; the broker holds less than was taken.
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
                f"{newest[1]}. What the old one held beyond the ledger is gone. To take the new "
                "one as another stream from its first event, start once with "
                "--accept-recreated-topic"
            )
        stream_id = ledger.accept_stream(connection, topic.name, topic.uuid)
        ledger.open_partitions(connection, stream_id, beginnings)
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
        rows = ledger.offsets(connection, stream_id)
    for partition, row in rows.items():
        if row.next_offset > ends.get(partition, 0):
            raise RefusedError(
                f"{topic.name}-{partition} ends at offset {ends.get(partition, 0)}, but the ledger "
                f"has taken events up to {row.next_offset}: the broker lost events. Restore it, "
                "or recreate the topic and start once with --accept-recreated-topic"
            )
    return Start(
        stream_id,
        topic.name,
        topic.uuid,
        {partition: row.next_offset for partition, row in rows.items()},
    )


def read_stream(
    spark: SparkSession,
    start: Start,
    settings: StreamSettings,
    extra_options: dict[str, str] | None = None,
) -> DataFrame:
    """The topic's events from the ledger's offsets on: key, value, partition, offset, timestamp.

    Raises:
        RefusedError: An option that would split a topic-partition over several tasks.
    """
    options = {
        "kafka.bootstrap.servers": settings.kafka_bootstrap_servers,
        "subscribe": start.topic,
        "startingOffsets": start.starting_offsets,
        "kafka.max.partition.fetch.bytes": FETCH_BYTES,
        "kafka.max.poll.records": FETCH_RECORDS,
        "kafka.isolation.level": kafka_client.READ_COMMITTED,
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": str(settings.stream_max_offsets_per_trigger),
        **(extra_options or {}),
    }
    for name in options:
        if name.lower() in REFUSED_OPTIONS:
            raise RefusedError(
                f"the source option {name} would split a topic-partition over several tasks, "
                "which could hide lost events: leave it out and add topic-partitions instead"
            )
    return spark.readStream.format("kafka").options(**options).load()
