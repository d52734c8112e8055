"""How the ledger and the broker fit together: what waits, what expired, and what forbids to go on.

`source.plan_start` applies these rules when a query starts and notes what it finds. `compare` only
looks, so that a restore and `make doctor` can say what a start would do. Nothing here needs Spark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rossmann import event_times
from streaming_job import kafka_client, ledger
from streaming_job.errors import RefusedError
from streaming_job.kafka_client import Topic
from streaming_job.ledger import OffsetRow
from streaming_job.ledger_rows import event_digest
from streaming_job.settings import StreamSettings


@dataclass(frozen=True)
class Continuity:
    """What a start of the stream would find.

    Attributes:
        topic: The topic's name.
        waiting: Offsets that the broker holds and the ledger has not taken.
        expired: Offsets that retention deleted before the ledger took them.
        refusal: Why a start would refuse; None if it would not.
    """

    topic: str
    waiting: int = 0
    expired: int = 0
    refusal: str | None = None


def refuse_recreated(topic: Topic, known: tuple[int, str] | None) -> None:
    """Refuse a topic that is another one than the ledger knows under its name.

    Args:
        topic: The topic as the broker describes it.
        known: Id and topic UUID of its newest stream; None if the ledger knows none.

    Raises:
        RefusedError: The topic was recreated.
    """
    if known is not None and known[1] != topic.uuid:
        raise RefusedError(
            f"topic {topic.name!r} was recreated: its id is {topic.uuid}, the ledger knows "
            f"{known[1]}. Events of the old topic that were not stored are gone. To read the "
            "new one as another stream from its first event, start once with "
            "--accept-recreated-topic"
        )


def refuse_lost_events(topic: str, rows: Mapping[int, OffsetRow], ends: Mapping[int, int]) -> None:
    """Refuse a broker that ends before the ledger does.

    Raises:
        RefusedError: It lost events that were stored.
    """
    for partition, row in rows.items():
        end = ends.get(partition, 0)
        if row.next_offset > end:
            raise RefusedError(
                f"{topic}-{partition} ends at offset {end}, but the ledger has stored events "
                f"up to {row.next_offset}: the broker lost events. Restore it, or recreate the "
                "topic and start once with --accept-recreated-topic"
            )


def refuse_overtaken(
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


def compare(settings: StreamSettings) -> Continuity:
    """Compare the ledger with the broker as a start would, and change nothing.

    Raises:
        RefusedError: The topic does not exist.
        UnavailableError: PostgreSQL or Kafka does not answer.
    """
    servers = settings.kafka_bootstrap_servers
    topic = kafka_client.describe_topic(servers, settings.sales_topic)
    with ledger.connect(settings.database_url) as connection:
        known = ledger.newest_stream(connection, topic.name)
        rows = {} if known is None else ledger.offsets(connection, known[0])
    try:
        refuse_recreated(topic, known)
        # Asked after the ledger was read, so that nothing in it can be newer.
        beginnings, ends = kafka_client.offset_bounds(servers, topic.name, topic.partitions)
        refuse_lost_events(topic.name, rows, ends)
        refuse_overtaken(servers, topic.name, rows, beginnings)
    except RefusedError as refusal:
        return Continuity(topic.name, refusal=str(refusal))
    taken = {p: row.next_offset for p, row in rows.items()}
    # A topic-partition that the ledger does not know begins with what the broker still holds.
    return Continuity(
        topic.name,
        waiting=sum(end - max(taken.get(p, 0), beginnings.get(p, 0)) for p, end in ends.items()),
        expired=sum(max(0, beginnings[p] - taken.get(p, beginnings[p])) for p in beginnings),
    )
