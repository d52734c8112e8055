"""The proof that nothing was lost or doubled: the ledger's arithmetic, and the deep comparison.

`audit` holds the ledger against the tables. `audit --deep` reads everything that Kafka still
retains and holds it against raw and quarantine, both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from kafka import TopicPartition

from streaming_job import kafka_client, ledger
from streaming_job.settings import StreamSettings

SHOWN_OFFSETS = 5
POLL_RECORDS = 20_000

_TABLES = """
WITH rows AS (
    SELECT stream_id, topic_partition, kafka_offset, 1 AS stored FROM sales.raw_sales
    UNION ALL
    SELECT stream_id, topic_partition, kafka_offset, 1 FROM sales.removed_events
    UNION ALL
    SELECT stream_id, topic_partition, kafka_offset, 0 FROM sales.quarantined_events
),
found AS (
    SELECT stream_id, topic_partition, sum(stored)::bigint AS stored,
        count(*) - sum(stored)::bigint AS quarantined, count(DISTINCT kafka_offset) AS offsets,
        min(kafka_offset) AS lowest, max(kafka_offset) AS highest
    FROM rows GROUP BY stream_id, topic_partition
)
SELECT s.topic, s.stream_id, coalesce(o.topic_partition, f.topic_partition),
    o.first_offset, o.next_offset, o.stored, o.quarantined, o.gaps, o.expired,
    coalesce(f.stored, 0), coalesce(f.quarantined, 0), coalesce(f.offsets, 0),
    f.lowest, f.highest
FROM found f
FULL JOIN sales.stream_offsets o USING (stream_id, topic_partition)
JOIN sales.streams s ON s.stream_id = coalesce(o.stream_id, f.stream_id)
ORDER BY s.topic, s.stream_id, 3
"""


@dataclass(frozen=True)
class PartitionAudit:
    """One topic-partition: what the ledger says, and what the tables hold."""

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
        """What does not add up, in words."""
        if self.next_offset is None or self.first_offset is None:
            return [f"{self.name}: {self.raw_rows + self.quarantine_rows} rows without a ledger"]
        found = []
        counted = (
            (self.stored or 0) + (self.quarantined or 0) + (self.gaps or 0) + (self.expired or 0)
        )
        consumed = self.next_offset - self.first_offset
        if consumed != counted:
            found.append(f"{self.name}: {consumed} offsets consumed, {counted} accounted for")
        if self.raw_rows != self.stored:
            found.append(
                f"{self.name}: the ledger says {self.stored} stored, raw_sales has {self.raw_rows}"
            )
        if self.quarantine_rows != self.quarantined:
            found.append(
                f"{self.name}: the ledger says {self.quarantined} quarantined, "
                f"quarantined_events has {self.quarantine_rows}"
            )
        doubled = self.raw_rows + self.quarantine_rows - self.distinct_offsets
        if doubled:
            found.append(f"{self.name}: {doubled} rows share another's offset")
        if self.lowest is not None and self.lowest < self.first_offset:
            found.append(f"{self.name}: offset {self.lowest} lies before the ledger's first")
        if self.highest is not None and self.highest >= self.next_offset:
            found.append(f"{self.name}: offset {self.highest} lies beyond the ledger's next")
        return found


@dataclass
class AuditReport:
    """The outcome: the partitions and everything that is wrong."""

    partitions: list[PartitionAudit]
    faults: list[str] = field(default_factory=list)
    compared: int = 0
    """Events of Kafka held against the tables, in a deep audit."""

    @property
    def balanced(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def audit(database_url: str) -> AuditReport:
    """Holds the ledger against the tables, in one snapshot.

    Raises:
        UnavailableError: PostgreSQL does not answer.
    """
    with ledger.connect(database_url) as connection:
        partitions = [PartitionAudit(*row) for row in connection.execute(_TABLES).fetchall()]
    result = AuditReport(partitions)
    for line in partitions:
        result.faults.extend(line.faults())
    return result


def deep_audit(
    settings: StreamSettings, on_progress: Callable[[int], None] | None = None
) -> AuditReport:
    """Reads what Kafka retains below the ledger's offsets and compares it both ways.

    Raises:
        UnavailableError: PostgreSQL or Kafka does not answer.
        RefusedError: No such topic.
    """
    topic = kafka_client.describe_topic(settings.kafka_bootstrap_servers, settings.sales_topic)
    beginnings, _ = kafka_client.offset_bounds(
        settings.kafka_bootstrap_servers, topic.name, topic.partitions
    )
    result = audit(settings.database_url)
    with ledger.connect(settings.database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        stream_id = ledger.find_stream(connection, topic.name, topic.uuid)
        if stream_id is None:
            # Looking must not accept: that is a person's decision, at a start of the stream.
            if ledger.newest_stream(connection, topic.name) is not None:
                result.faults.append(
                    f"{topic.name}: recreated since the stream took it, so what was taken can no "
                    "longer be compared with Kafka; see --accept-recreated-topic"
                )
            return result
        rows = ledger.offsets(connection, stream_id)
        for partition in topic.partitions:
            row = rows.get(partition)
            if row is None:
                continue
            start = max(beginnings[partition], row.first_offset)
            in_kafka = _offsets_in_kafka(
                settings, partition, start, row.next_offset, result, on_progress
            )
            in_tables = _offsets_in_tables(connection, stream_id, partition, start, row.next_offset)
            name = f"{topic.name}-{partition}"
            for offsets, words in (
                (in_kafka - in_tables, "are in Kafka and in no table"),
                (in_tables - in_kafka, "are in the tables and not in Kafka"),
            ):
                if offsets:
                    shown = ", ".join(map(str, sorted(offsets)[:SHOWN_OFFSETS]))
                    result.faults.append(f"{name}: {len(offsets)} offsets {words}: {shown} …")
    return result


def _offsets_in_kafka(
    settings: StreamSettings,
    partition: int,
    start: int,
    end: int,
    result: AuditReport,
    on_progress: Callable[[int], None] | None,
) -> set[int]:
    found: set[int] = set()
    if start >= end:
        return found
    where = TopicPartition(settings.sales_topic, partition)
    with kafka_client.open_consumer(settings.kafka_bootstrap_servers) as consumer:
        consumer.assign([where])
        consumer.seek(where, start)
        while consumer.position(where) < end:
            records = consumer.poll(timeout_ms=1_000, max_records=POLL_RECORDS).get(where, [])
            found.update(record.offset for record in records if record.offset < end)
            result.compared += len(records)
            if on_progress is not None:
                on_progress(result.compared)
    return found


def _offsets_in_tables(
    connection: psycopg.Connection, stream_id: int, partition: int, start: int, end: int
) -> set[int]:
    rows = connection.execute(
        " UNION ALL ".join(
            f"SELECT kafka_offset FROM sales.{table} WHERE stream_id = %(s)s "
            "AND topic_partition = %(p)s AND kafka_offset >= %(a)s AND kafka_offset < %(b)s"
            for table in ("raw_sales", "removed_events", "quarantined_events")
        ).encode(),
        {"s": stream_id, "p": partition, "a": start, "b": end},
    )
    return {row[0] for row in rows}
