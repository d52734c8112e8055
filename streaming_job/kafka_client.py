"""What the stream asks the broker apart from Spark: a topic's UUID, its partitions, its ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from streaming_job.errors import RefusedError, UnavailableError

UNKNOWN_TOPIC = 3
"""The broker's error code for a topic that it does not have."""

READ_COMMITTED = "read_committed"

RECONNECT_MS = 1_000
"""The longest pause between two tries to connect. kafka-python doubles its pauses up to 30 s, so
that a broker that was away for 15 s would be missed for 30."""
BOOTSTRAP_MS = 10_000
"""How long opening a client may take: the stream heeds no signal meanwhile."""


@dataclass(frozen=True)
class Topic:
    """A topic as the broker describes it now."""

    name: str
    uuid: str
    partitions: tuple[int, ...]


@contextmanager
def _unavailable(bootstrap_servers: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError(
            f"Kafka at {bootstrap_servers} does not answer: {type(error).__name__}"
        ) from error


def describe(admin: KafkaAdminClient, topic: str) -> Topic:
    """Describes a topic over an open admin client.

    Raises:
        RefusedError: The broker has no such topic.
    """
    (found,) = admin.describe_topics([topic])
    if found["error_code"] == UNKNOWN_TOPIC:
        raise RefusedError(
            f"Kafka has no topic {topic!r}: create it, or set SALES_TOPIC to the right name"
        )
    if found["error_code"] != 0:
        raise UnavailableError(f"Kafka cannot describe {topic!r}: error {found['error_code']}")
    partitions = sorted(partition["partition_index"] for partition in found["partitions"])
    return Topic(topic, str(found["topic_id"]), tuple(partitions))


def open_admin(bootstrap_servers: str) -> KafkaAdminClient:
    """Opens an admin client; the caller closes it."""
    with _unavailable(bootstrap_servers):
        return KafkaAdminClient(
            bootstrap_servers=bootstrap_servers,
            reconnect_backoff_max_ms=RECONNECT_MS,
            bootstrap_timeout_ms=BOOTSTRAP_MS,
        )


def describe_topic(bootstrap_servers: str, topic: str) -> Topic:
    """Describes a topic.

    Raises:
        RefusedError: The broker has no such topic.
        UnavailableError: No broker answers.
    """
    with _unavailable(bootstrap_servers), closing(open_admin(bootstrap_servers)) as admin:
        return describe(admin, topic)


@contextmanager
def open_consumer(bootstrap_servers: str) -> Iterator[KafkaConsumer]:
    """A consumer without a group that sees committed events only.

    Raises:
        UnavailableError: No broker answers.
    """
    with (
        _unavailable(bootstrap_servers),
        closing(
            KafkaConsumer(
                bootstrap_servers=bootstrap_servers,
                isolation_level=READ_COMMITTED,
                enable_auto_commit=False,
                group_id=None,
                reconnect_backoff_max_ms=RECONNECT_MS,
                bootstrap_timeout_ms=BOOTSTRAP_MS,
            )
        ) as consumer,
    ):
        yield consumer


def offset_bounds(
    bootstrap_servers: str, topic: str, partitions: Iterable[int]
) -> tuple[dict[int, int], dict[int, int]]:
    """The first retained offset and the end (exclusive) of each topic-partition."""
    wanted = [TopicPartition(topic, partition) for partition in partitions]
    with open_consumer(bootstrap_servers) as consumer:
        first = consumer.beginning_offsets(wanted)
        last = consumer.end_offsets(wanted)
    return (
        {where.partition: offset for where, offset in first.items()},
        {where.partition: offset for where, offset in last.items()},
    )


def first_event_between(
    bootstrap_servers: str, topic: str, partition: int, start: int, end: int
) -> int | None:
    """The offset of the first committed event in [start, end), or None when there is none.

    An expired stretch counts as an event: nobody can say what was there.
    """
    where = TopicPartition(topic, partition)
    with open_consumer(bootstrap_servers) as consumer:
        consumer.assign([where])
        if consumer.beginning_offsets([where])[where] > start:
            return start
        consumer.seek(where, start)
        while consumer.position(where) < end:
            for record in consumer.poll(timeout_ms=1_000, max_records=1).get(where, []):
                return int(record.offset) if record.offset < end else None
    return None
