"""What the stream asks the broker without Spark: a topic's UUID, its partitions, their offsets.

Spark's own source is in `source`; sending is in `producer`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigFilterType, ConfigResource, ConfigResourceType, NewTopic
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import (
    AuthorizationError,
    BrokerResponseError,
    IllegalSaslStateError,
    KafkaError,
    OffsetOutOfRangeError,
    RequestTimedOutError,
    RetriableError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    UnsupportedCodecError,
    UnsupportedSaslMechanismError,
    for_code,
)

from streaming_job.broker_access import BrokerAccess, broker_access
from streaming_job.broker_probe import check_access, find_fault
from streaming_job.errors import RefusedError, SettingsError, StreamError, UnavailableError

READ_COMMITTED = "read_committed"
READ_UNCOMMITTED = "read_uncommitted"

#: Longest pause between two attempts to connect, in milliseconds. kafka-python doubles its pauses
#: up to 30 s, so without the cap a broker that was away for 15 s would be missed for 30.
RECONNECT_MS = 1_000
#: How long opening a client may take, in milliseconds. The stream ignores signals meanwhile.
BOOTSTRAP_MS = 10_000
#: How long a reader waits for a broker that sends nothing, in seconds; kafka-python waits for ever.
STALLED_SECONDS = 30.0


@dataclass(frozen=True)
class Topic:
    """A topic as the broker describes it now."""

    name: str
    uuid: str
    partitions: tuple[int, ...]


@contextmanager
def translate_errors(bootstrap_servers: str, access: BrokerAccess) -> Iterator[None]:
    """Translate kafka-python's exceptions inside the block into the stream's errors.

    Raises:
        StreamError: The broker does not answer, refuses, or the settings do not fit it.
    """
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        if _is_silence(error):
            fault = find_fault(bootstrap_servers, access)
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            raise fault or UnavailableError(
                f"Kafka at {bootstrap_servers} accepts connections, but left a request without an "
                f"answer ({reason}): compare the addresses that it advertises "
                "(advertised.listeners) with those that this machine reaches, and see its log"
            ) from error
        raise to_stream_error(bootstrap_servers, error) from error


def _is_silence(error: Exception) -> bool:
    """Tell whether an error means that no answer came, whatever the reason is."""
    if isinstance(error, BrokerResponseError) and not isinstance(error, RequestTimedOutError):
        return False
    return isinstance(error, RetriableError | OSError | TimeoutError)


def to_stream_error(bootstrap_servers: str, error: Exception) -> StreamError:
    """Return the stream's error for one of kafka-python's: what is wrong, and what to do."""
    name, broker = type(error).__name__, f"Kafka at {bootstrap_servers}"
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, UnsupportedCodecError):
        return SettingsError(
            f"{broker} holds events in a compression that this environment cannot read ({text}): "
            "install what requirements.lock names, for example with `make setup`"
        )
    if isinstance(error, UnknownTopicOrPartitionError):
        return RefusedError(
            f"{broker} has no such topic ({text or name}): create it, or set SALES_TOPIC to the "
            "right name"
        )
    if isinstance(
        error, SaslAuthenticationFailedError | IllegalSaslStateError | UnsupportedSaslMechanismError
    ):
        return RefusedError(
            f"{broker} refuses access ({text or name}): set KAFKA_SASL_USERNAME, "
            "KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM to a user that the broker knows"
        )
    # The idempotent producer quotes the broker's error in one of its own.
    if isinstance(error, AuthorizationError) or "AuthorizationFailedError" in text:
        return RefusedError(
            f"{broker} refuses access ({text or name}): let the stream's user describe and read "
            "the topic, and its configuration if it is compacted, and the producer's write to it"
        )
    # A name that does not resolve or a port that is closed ends in one of these too.
    if _is_silence(error):
        return UnavailableError(f"{broker} does not answer: {name}")
    return UnavailableError(f"{broker} answers with an error: {text or name}")


def describe(admin: KafkaAdminClient, topic: str) -> Topic:
    """Describe a topic over an open admin client.

    Raises:
        RefusedError: The broker has no such topic, or the user may not describe it.
        UnavailableError: The broker answers with another error.
    """
    (description,) = admin.describe_topics([topic])
    kind = for_code(description["error_code"])
    if issubclass(kind, UnknownTopicOrPartitionError):
        raise RefusedError(
            f"Kafka has no topic {topic!r}: create it, or set SALES_TOPIC to the right name"
        )
    if issubclass(kind, AuthorizationError):
        raise RefusedError(
            f"Kafka refuses access to the topic {topic!r} ({kind.__name__}), or does not have it: "
            "let KAFKA_SASL_USERNAME describe and read it, or set SALES_TOPIC to the right name"
        )
    if description["error_code"] != 0:
        raise UnavailableError(f"Kafka cannot describe {topic!r}: {kind.__name__}")
    partitions = sorted(partition["partition_index"] for partition in description["partitions"])
    return Topic(topic, str(description["topic_id"]), tuple(partitions))


def open_admin(bootstrap_servers: str, access: BrokerAccess | None = None) -> KafkaAdminClient:
    """Open an admin client; the caller closes it.

    Args:
        bootstrap_servers: host:port of one or more brokers.
        access: How to prove who asks; by default as the settings say.

    Raises:
        SettingsError: The settings do not fit the broker.
        UnavailableError: No broker answers.
    """
    access = access or broker_access()
    check_access(bootstrap_servers, access)
    with translate_errors(bootstrap_servers, access):
        return KafkaAdminClient(
            bootstrap_servers=bootstrap_servers,
            reconnect_backoff_max_ms=RECONNECT_MS,
            bootstrap_timeout_ms=BOOTSTRAP_MS,
            **access.client_options(),
        )


def describe_topic(bootstrap_servers: str, topic: str, access: BrokerAccess | None = None) -> Topic:
    """Describe a topic.

    Args:
        bootstrap_servers: host:port of one or more brokers.
        topic: The topic.
        access: How to prove who asks; by default as the settings say.

    Raises:
        SettingsError: The settings do not fit the broker.
        RefusedError: The broker has no such topic, or the user may not describe it.
        UnavailableError: No broker answers.
    """
    access = access or broker_access()
    with (
        translate_errors(bootstrap_servers, access),
        closing(open_admin(bootstrap_servers, access)) as admin,
    ):
        return describe(admin, topic)


def create_topic(bootstrap_servers: str, topic: str, partitions: int, replicas: int) -> bool:
    """Create a topic; leave one that exists as it is.

    Args:
        bootstrap_servers: host:port of one or more brokers.
        topic: The topic.
        partitions: Its topic-partitions.
        replicas: How many brokers keep a copy of each.

    Returns:
        Whether it is new.

    Raises:
        StreamError: No broker answers, or it refuses.
    """
    access = broker_access()
    with (
        translate_errors(bootstrap_servers, access),
        closing(open_admin(bootstrap_servers, access)) as admin,
    ):
        try:
            admin.create_topics([NewTopic(topic, partitions, replicas)], wait_for_metadata=True)
        except TopicAlreadyExistsError:
            return False
    return True


@contextmanager
def open_consumer(
    bootstrap_servers: str, isolation_level: str = READ_COMMITTED
) -> Iterator[KafkaConsumer]:
    """Open a consumer that has no group and by default reads committed events only.

    Raises:
        SettingsError: The settings do not fit the broker.
        UnavailableError: No broker answers.
    """
    access = broker_access()
    check_access(bootstrap_servers, access)
    with (
        translate_errors(bootstrap_servers, access),
        closing(
            KafkaConsumer(
                bootstrap_servers=bootstrap_servers,
                isolation_level=isolation_level,
                enable_auto_commit=False,
                group_id=None,
                # An offset that retention deletes meanwhile must be an error, not a leap.
                auto_offset_reset="none",
                reconnect_backoff_max_ms=RECONNECT_MS,
                bootstrap_timeout_ms=BOOTSTRAP_MS,
                **access.client_options(),
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
        try:
            for records, _ in _pages(consumer, topic_partition, start, end, 1):
                if records:
                    return int(records[0].offset)
        except OffsetOutOfRangeError:
            return start
    return None


def _pages(
    consumer: KafkaConsumer, topic_partition: TopicPartition, start: int, end: int, page: int
) -> Iterator[tuple[list[ConsumerRecord], int]]:
    """Yield what `read_events` yields, from a consumer that stands at the start.

    Raises:
        TimeoutError: The broker sends nothing more.
    """
    position, moved = start, time.monotonic()
    while position < end:
        records = consumer.poll(timeout_ms=1_000, max_records=page).get(topic_partition, [])
        before, position = position, consumer.position(topic_partition)
        if position > before:
            moved = time.monotonic()
        elif time.monotonic() - moved > STALLED_SECONDS:
            raise TimeoutError(f"nothing more since offset {position}")
        yield [record for record in records if record.offset < end], min(position, end)


def read_events(
    bootstrap_servers: str, topic: str, partition: int, start: int, end: int, page: int
) -> Iterator[tuple[list[ConsumerRecord], int]]:
    """Yield the committed events in [start, end) in pages, each with the offset after it.

    Args:
        bootstrap_servers: host:port of one or more brokers.
        topic: The topic.
        partition: The topic-partition.
        start: The first offset; the broker must still retain it.
        end: The offset after the last; not after the end of committed events.
        page: The most events of one page.

    Raises:
        UnavailableError: No broker answers, or it answers with an error.
    """
    if start >= end:
        return
    topic_partition = TopicPartition(topic, partition)
    with open_consumer(bootstrap_servers) as consumer:
        consumer.assign([topic_partition])
        consumer.seek(topic_partition, start)
        yield from _pages(consumer, topic_partition, start, end, page)


def events_at(
    bootstrap_servers: str, topic: str, offsets: Mapping[int, int]
) -> dict[int, ConsumerRecord | None]:
    """Return the committed event at one offset of each topic-partition; None if there is none.

    Args:
        bootstrap_servers: host:port of one or more brokers.
        topic: The topic.
        offsets: The offset by topic-partition; the broker must still retain it.

    Raises:
        UnavailableError: No broker answers, or it answers with an error.
    """
    events: dict[int, ConsumerRecord | None] = {}
    with open_consumer(bootstrap_servers) as consumer:
        for partition, offset in offsets.items():
            topic_partition = TopicPartition(topic, partition)
            consumer.assign([topic_partition])
            consumer.seek(topic_partition, offset)
            pages = _pages(consumer, topic_partition, offset, offset + 1, 1)
            events[partition] = next((records[0] for records, _ in pages if records), None)
    return events


def is_compacted(bootstrap_servers: str, topic: str) -> bool:
    """Return whether the broker may remove events of the topic that a later one replaces.

    Raises:
        UnavailableError: No broker answers, or it answers with an error.
    """
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    with (
        translate_errors(bootstrap_servers, broker_access()),
        closing(open_admin(bootstrap_servers)) as admin,
    ):
        answer = admin.describe_configs([resource], config_filter=ConfigFilterType.ALL)
    return "compact" in str(answer["topic"][topic]["cleanup.policy"])
