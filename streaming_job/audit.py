"""The proof that no event was lost or duplicated: the ledger's balance, and the deep comparison.

`audit` compares the ledger with the tables. `deep_audit` also reads everything that Kafka still
retains and compares it with the tables in both directions, by place and by content (`comparison`).
Nothing here changes a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime

import psycopg

from streaming_job import comparison, kafka_client, lag, ledger
from streaming_job.ledger_rows import Counts
from streaming_job.settings import StreamSettings

#: Outdated corrections to show before truncating.
LISTED_CORRECTIONS = 5
#: Records per poll in a deep audit.
POLL_RECORDS = 20_000

# Every event that was taken is in one of these tables; 1 where the ledger counts it as stored.
_EVENTS = " UNION ALL ".join(
    f"SELECT stream_id, topic_partition, kafka_offset, {stored} AS stored FROM sales.{table}"
    for table, stored in (("raw_sales", 1), ("removed_events", 1), ("quarantined_events", 0))
)
_PARTITIONS = f"""
WITH events AS (
    {_EVENTS}
),
held AS (
    SELECT stream_id, topic_partition, sum(stored)::bigint AS stored,
        count(*) - sum(stored)::bigint AS quarantined, count(DISTINCT kafka_offset) AS offsets,
        min(kafka_offset) AS lowest, max(kafka_offset) AS highest
    FROM events GROUP BY stream_id, topic_partition
)
SELECT s.topic, s.stream_id, coalesce(o.topic_partition, h.topic_partition),
    o.first_offset, o.next_offset, o.stored, o.quarantined, o.gaps, o.expired,
    coalesce(h.stored, 0), coalesce(h.quarantined, 0), coalesce(h.offsets, 0),
    h.lowest, h.highest
FROM held h
FULL JOIN sales.stream_offsets o USING (stream_id, topic_partition)
JOIN sales.streams s ON s.stream_id = coalesce(o.stream_id, h.stream_id)
ORDER BY s.topic, s.stream_id, 3
"""
_OUTDATED = """
SELECT count(*) OVER (), store, date, sales, event_time, kept_sales, kept_event_time, topic,
    topic_partition, kafka_offset
FROM sales.outdated_in_force
ORDER BY noted_at DESC, kafka_offset DESC LIMIT %s
"""


@dataclass(frozen=True)
class PartitionAudit:
    """One topic-partition: what the ledger says (None without a row), and what the tables hold."""

    topic: str
    stream_id: int
    topic_partition: int
    first_offset: int | None
    next_offset: int | None
    stored: int | None
    quarantined: int | None
    gaps: int | None
    expired: int | None
    raw_rows: int
    quarantine_rows: int
    distinct_offsets: int
    lowest: int | None
    highest: int | None

    @property
    def name(self) -> str:
        """Topic and topic-partition as Kafka's tools write them."""
        return f"{self.topic}-{self.topic_partition}"

    def faults(self) -> list[str]:
        """Return what does not balance, one sentence per fault."""
        return [f"{self.name}: {fault}" for fault in self._faults()]

    def _faults(self) -> Iterator[str]:
        rows = self.raw_rows + self.quarantine_rows
        if self.next_offset is None or self.first_offset is None:
            yield f"{rows} rows without a ledger"
            return
        counts = Counts(self.stored or 0, self.quarantined or 0, self.gaps or 0, self.expired or 0)
        consumed = self.next_offset - self.first_offset
        if consumed != counts.total:
            yield f"{consumed} offsets consumed, {counts.total} accounted for"
        if self.raw_rows != self.stored:
            yield f"the ledger says {self.stored} stored, raw_sales has {self.raw_rows}"
        if self.quarantine_rows != self.quarantined:
            yield (
                f"the ledger says {self.quarantined} quarantined, "
                f"quarantined_events has {self.quarantine_rows}"
            )
        if rows != self.distinct_offsets:
            yield f"{rows - self.distinct_offsets} rows share another's offset"
        if self.lowest is not None and self.lowest < self.first_offset:
            yield f"offset {self.lowest} lies before the ledger's first"
        if self.highest is not None and self.highest >= self.next_offset:
            yield f"offset {self.highest} lies beyond the ledger's next"


@dataclass
class AuditReport:
    """The outcome of an audit.

    Attributes:
        partitions: Every topic-partition of every stream.
        faults: Everything that is wrong, one sentence each.
        compared: Events of Kafka compared with the tables in a deep audit.
        compacted: Events in the tables that Kafka has compacted away since, which is no fault.
        outdated: Corrections that arrived late and do not count, because their time is earlier.
        outdated_examples: The newest of them, one sentence each.
    """

    partitions: list[PartitionAudit]
    faults: list[str] = field(default_factory=list)
    compared: int = 0
    compacted: int = 0
    outdated: int = 0
    outdated_examples: list[str] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def audit(database_url: str) -> AuditReport:
    """Compare the ledger with the tables, in one snapshot.

    Raises:
        UnavailableError: PostgreSQL does not answer.
    """
    with ledger.connect(database_url) as connection:
        rows = connection.execute(_PARTITIONS.encode()).fetchall()
        outdated = connection.execute(_OUTDATED.encode(), (LISTED_CORRECTIONS,)).fetchall()
    partitions = [PartitionAudit(*row) for row in rows]
    faults = [fault for partition in partitions for fault in partition.faults()]
    return AuditReport(
        partitions,
        faults,
        outdated=outdated[0][0] if outdated else 0,
        outdated_examples=[_describe_correction(*row[1:]) for row in outdated],
    )


def waiting_events(settings: StreamSettings, report: AuditReport) -> int:
    """Return how many events of the topic an audit says nothing about: they wait in Kafka.

    Args:
        settings: The stream's settings.
        report: The audit; what was stored after it counts as waiting.

    Raises:
        StreamError: PostgreSQL or Kafka does not answer, there is no topic, or the broker lost
            events.
    """
    servers = settings.kafka_bootstrap_servers
    topic = kafka_client.describe_topic(servers, settings.sales_topic)
    with ledger.connect(settings.database_url) as connection:
        stream_id = ledger.find_stream(connection, topic.name, topic.uuid)
    # A topic-partition that the ledger does not know waits from its first event on.
    next_offsets, _ = kafka_client.offset_bounds(servers, topic.name, topic.partitions)
    next_offsets = dict(next_offsets)
    for row in report.partitions:
        taken = row.stream_id == stream_id and row.topic_partition in topic.partitions
        if taken and row.next_offset is not None:
            next_offsets[row.topic_partition] = row.next_offset
    return sum(lag.waiting_events(servers, topic.name, next_offsets, topic.partitions).values())


def _describe_correction(
    store: int,
    day: date,
    sales: int | None,
    sent: datetime,
    kept_sales: int | None,
    kept_sent: datetime,
    topic: str,
    partition: int,
    offset: int,
) -> str:
    return (
        f"store {store} on {day}: {_sales(sales)} sent {sent:%Y-%m-%d %H:%M:%S} "
        f"({topic}-{partition} offset {offset}) arrived after {_sales(kept_sales)} sent "
        f"{kept_sent:%Y-%m-%d %H:%M:%S}, which counts"
    )


def _sales(sales: int | None) -> str:
    return "a plan" if sales is None else f"Sales {sales}"


def deep_audit(
    settings: StreamSettings, on_progress: Callable[[int], None] | None = None
) -> AuditReport:
    """Compare what Kafka retains below the ledger's offsets with the tables, in both directions.

    Args:
        settings: The stream's settings.
        on_progress: Called with the number of events compared so far.

    Raises:
        UnavailableError: PostgreSQL or Kafka does not answer.
        RefusedError: Kafka has no such topic.
    """
    servers = settings.kafka_bootstrap_servers
    topic = kafka_client.describe_topic(servers, settings.sales_topic)
    report = audit(settings.database_url)
    with ledger.connect(settings.database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        stream_id = ledger.find_stream(connection, topic.name, topic.uuid)
        if stream_id is None:
            # An audit must not accept a topic: a person decides that when the stream starts.
            if ledger.newest_stream(connection, topic.name) is not None:
                report.faults.append(
                    f"{topic.name}: recreated since the stream read it, so the stored events can "
                    "no longer be compared with Kafka; see --accept-recreated-topic"
                )
            return report
        rows = ledger.offsets(connection, stream_id)
        # Asked after the ledger was read, so that nothing in it can be newer.
        bounds = kafka_client.offset_bounds(servers, topic.name, topic.partitions)
        for partition, row in rows.items():
            if partition not in topic.partitions:
                continue
            place = _Place(settings, stream_id, row, bounds[0][partition], bounds[1][partition])
            _compare(connection, place, report, on_progress or (lambda compared: None))
    return report


@dataclass(frozen=True)
class _Place:
    """One topic-partition of a deep audit, and what Kafka holds of it."""

    settings: StreamSettings
    stream_id: int
    row: ledger.OffsetRow
    beginning: int
    end: int


def _compare(
    connection: psycopg.Connection,
    place: _Place,
    report: AuditReport,
    on_progress: Callable[[int], None],
) -> None:
    """Compare one topic-partition, and add what differs to the report."""
    servers, topic = place.settings.kafka_bootstrap_servers, place.settings.sales_topic
    partition = place.row.topic_partition
    name = f"{topic}-{partition}"
    if place.end < place.row.next_offset:
        report.faults.append(
            f"{name}: Kafka ends at offset {place.end}, the ledger at {place.row.next_offset}: "
            "the broker lost its newest events"
        )
    start = max(place.beginning, place.row.first_offset)
    end = min(place.row.next_offset, place.end)
    before = report.compared
    differences = comparison.compare(
        name,
        kafka_client.read_events(servers, topic, partition, start, end, POLL_RECORDS),
        comparison.stored_rows(connection, place.stream_id, partition, start, end),
        lambda compared: on_progress(before + compared),
    )
    report.compared += differences.compared
    # Asked only when it matters: it takes a right that the stream does not need.
    is_compacted = bool(differences.only_in_tables) and kafka_client.is_compacted(servers, topic)
    if is_compacted:
        report.compacted += len(differences.only_in_tables)
    report.faults += differences.faults(is_compacted=is_compacted)
