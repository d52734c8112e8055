"""The lag: how many events wait in Kafka for the stream.

The difference of two offsets is not it. Transaction markers at the end of a topic-partition have
offsets and hold no event, so the difference would never return to 0; and a reader of committed
events does not see the end of a topic-partition on which a transaction is open.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from streaming_job import kafka_client
from streaming_job.errors import RestartError


def waiting_events(
    bootstrap_servers: str, topic: str, next_offsets: Mapping[int, int], unmoved: Collection[int]
) -> dict[int, int]:
    """Return how many offsets that hold or may hold an event wait, by topic-partition.

    Args:
        bootstrap_servers: host:port of one or more brokers.
        topic: The topic.
        next_offsets: The ledger's next offset of each topic-partition.
        unmoved: The topic-partitions whose next offset has not moved since the last call. Only
            these are read to tell events from markers; the others are moving anyway.

    Raises:
        UnavailableError: No broker answers.
        RestartError: The broker lost events that were stored.
    """
    _, committed = kafka_client.offset_bounds(bootstrap_servers, topic, next_offsets)
    _, written = kafka_client.offset_bounds(
        bootstrap_servers, topic, next_offsets, isolation_level=kafka_client.READ_UNCOMMITTED
    )
    lag = {}
    for partition, start in next_offsets.items():
        end = committed[partition]
        if written[partition] < start:
            raise RestartError(
                f"{topic}-{partition} ends at offset {written[partition]}, before the ledger's "
                f"{start}: the broker lost events"
            )
        first: int | None = start
        if start < end and partition in unmoved:
            first = kafka_client.first_event_between(
                bootstrap_servers, topic, partition, start, end
            )
        waiting = 0 if first is None else max(0, end - first)
        lag[partition] = waiting + max(0, written[partition] - max(end, start))
    return lag
