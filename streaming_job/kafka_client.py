"""What the stream asks the broker without Spark: a topic's UUID, its partitions, their offsets.

Spark's own source is in `source`; sending is in `producer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from streaming_job.broker_access import broker_access
from streaming_job.errors import RefusedError, UnavailableError

#: The broker's error code for a topic that it does not have.
UNKNOWN_TOPIC = 3

READ_COMMITTED = "read_committed"
READ_UNCOMMITTED = "read_uncommitted"

#: Longest pause between two attempts to connect, in milliseconds. kafka-python doubles its pauses
#: up to 30 s, so without the cap a broker that was away for 15 s would be missed for 30.
RECONNECT_MS = 1_000
#: How long opening a client may take, in milliseconds. The stream ignores signals meanwhile.
BOOTSTRAP_MS = 10_000


@dataclass(frozen=True)
class Topic:
    """A topic as the broker describes it now."""

    name: str
    uuid: str
    partitions: tuple[int, ...]


@contextmanager
def _translate_errors(bootstrap_servers: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError(
            f"Kafka at {bootstrap_servers} does not answer: {type(error).__name__}"
        ) from error


def describe(admin: KafkaAdminClient, topic: str) -> Topic:
    """Describe a topic over an open admin client.

    Raises:
        RefusedError: The broker has no such topic.
        UnavailableError: The broker answers with another error.
    """
    (description,) = admin.describe_topics([topic])
    code = description["error_code"]
    if code == UNKNOWN_TOPIC:
        raise RefusedError(
            f"Kafka has no topic {topic!r}: create it, or set SALES_TOPIC to the right name"
        )
    if code != 0:
        raise UnavailableError(f"Kafka cannot describe {topic!r}: error {code}")
    partitions = sorted(partition["partition_index"] for partition in description["partitions"])
    return Topic(topic, str(description["topic_id"]), tuple(partitions))


def open_admin(bootstrap_servers: str) -> KafkaAdminClient:
    """Open an admin client; the caller closes it.

    Raises:
        UnavailableError: No broker answers.
    """
    with _translate_errors(bootstrap_servers):
        return KafkaAdminClient(
            bootstrap_servers=bootstrap_servers,
            reconnect_backoff_max_ms=RECONNECT_MS,
            bootstrap_timeout_ms=BOOTSTRAP_MS,
            **broker_access().client_options(),
        )


def describe_topic(bootstrap_servers: str, topic: str) -> Topic:
    """Describe a topic.

    Raises:
        RefusedError: The broker has no such topic.
        UnavailableError: No broker answers.
    """
    with _translate_errors(bootstrap_servers), closing(open_admin(bootstrap_servers)) as admin:
        return describe(admin, topic)


@contextmanager
def open_consumer(
    bootstrap_servers: str, isolation_level: str = READ_COMMITTED
) -> Iterator[KafkaConsumer]:
    """Open a consumer that has no group and by default reads committed events only.

    Raises:
        UnavailableError: No broker answers.
    """
    with (
        _translate_errors(bootstrap_servers),
        closing(
            KafkaConsumer(
                bootstrap_servers=bootstrap_servers,
                isolation_level=isolation_level,
                enable_auto_commit=False,
                group_id=None,
                reconnect_backoff_max_ms=RECONNECT_MS,
                bootstrap_timeout_ms=BOOTSTRAP_MS,
                **broker_access().client_options(),
            )
        ) as consumer,
    ):
        yield consumer


def offset_bounds(
    bootstrap_servers: str,
    topic: str,
    partitions: Iterable[int],
    isolation_level: str = READ_COMMITTED,
) -> tuple[dict[int, int], dict[int, int]]:
    """Return the first retained offset and the end (exclusive) of each topic-partition.

    The end of committed events is where the oldest open transaction begins.

    Raises:
        UnavailableError: No broker answers.
    """
    topic_partitions = [TopicPartition(topic, partition) for partition in partitions]
    with open_consumer(bootstrap_servers, isolation_level) as consumer:
        beginnings = consumer.beginning_offsets(topic_partitions)
        ends = consumer.end_offsets(topic_partitions)
    return (
        {key.partition: offset for key, offset in beginnings.items()},
        {key.partition: offset for key, offset in ends.items()},
    )


def first_event_between(
    bootstrap_servers: str, topic: str, partition: int, start: int, end: int
) -> int | None:
    """Return the offset of the first committed event in [start, end), or None.

    An expired stretch counts as an event, because nobody can tell what it held.

    Raises:
        UnavailableError: No broker answers.
    """
    topic_partition = TopicPartition(topic, partition)
    with open_consumer(bootstrap_servers) as consumer:
        consumer.assign([topic_partition])
        if consumer.beginning_offsets([topic_partition])[topic_partition] > start:
            return start
        consumer.seek(topic_partition, start)
        while consumer.position(topic_partition) < end:
            polled = consumer.poll(timeout_ms=1_000, max_records=1)
            for record in polled.get(topic_partition, []):
                return int(record.offset) if record.offset < end else None
    return None
