"""The proof that no event was lost or duplicated: the ledger's balance, and the deep comparison.

`audit` compares the ledger with the tables. `deep_audit` also reads everything that Kafka still
retains and compares it with the tables in both directions. Nothing here changes a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
from kafka import TopicPartition

from streaming_job import kafka_client, ledger
from streaming_job.ledger_rows import Counts
from streaming_job.settings import StreamSettings

#: Offsets to list in a fault before truncating.
LISTED_OFFSETS = 5
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
_OFFSETS = f"""
SELECT kafka_offset FROM ({_EVENTS}) AS events
WHERE stream_id = %s AND topic_partition = %s AND kafka_offset >= %s AND kafka_offset < %s
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
    """

    partitions: list[PartitionAudit]
    faults: list[str] = field(default_factory=list)
    compared: int = 0

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
    partitions = [PartitionAudit(*row) for row in rows]
    faults = [fault for partition in partitions for fault in partition.faults()]
    return AuditReport(partitions, faults)


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
    topic = kafka_client.describe_topic(settings.kafka_bootstrap_servers, settings.sales_topic)
    beginnings, _ = kafka_client.offset_bounds(
        settings.kafka_bootstrap_servers, topic.name, topic.partitions
    )
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
        for partition, row in ledger.offsets(connection, stream_id).items():
            if partition not in topic.partitions:
                continue
            start, end = max(beginnings[partition], row.first_offset), row.next_offset
            in_kafka = _offsets_in_kafka(settings, partition, start, end, report, on_progress)
            in_tables = _offsets_in_tables(connection, stream_id, partition, start, end)
            report.faults += _differences(f"{topic.name}-{partition}", in_kafka, in_tables)
    return report


def _differences(name: str, in_kafka: set[int], in_tables: set[int]) -> Iterator[str]:
    for offsets, problem in (
        (in_kafka - in_tables, "are in Kafka and in no table"),
        (in_tables - in_kafka, "are in the tables and not in Kafka"),
    ):
        if offsets:
            listed = ", ".join(map(str, sorted(offsets)[:LISTED_OFFSETS]))
            yield f"{name}: {len(offsets)} offsets {problem}: {listed} …"


def _offsets_in_kafka(
    settings: StreamSettings,
    partition: int,
    start: int,
    end: int,
    report: AuditReport,
    on_progress: Callable[[int], None] | None,
) -> set[int]:
    """Read the events in [start, end), count them in the report, and return their offsets."""
    offsets: set[int] = set()
    if start >= end:
        return offsets
    topic_partition = TopicPartition(settings.sales_topic, partition)
    with kafka_client.open_consumer(settings.kafka_bootstrap_servers) as consumer:
        consumer.assign([topic_partition])
        consumer.seek(topic_partition, start)
        while consumer.position(topic_partition) < end:
            polled = consumer.poll(timeout_ms=1_000, max_records=POLL_RECORDS)
            records = polled.get(topic_partition, [])
            offsets.update(record.offset for record in records if record.offset < end)
            report.compared += len(records)
            if on_progress is not None:
                on_progress(report.compared)
    return offsets


def _offsets_in_tables(
    connection: psycopg.Connection, stream_id: int, partition: int, start: int, end: int
) -> set[int]:
    rows = connection.execute(_OFFSETS.encode(), (stream_id, partition, start, end))
    return {row[0] for row in rows}
