"""The comparison of Kafka's events with the tables' rows: place by place, and by what they say.

`audit` decides which stretch of a topic-partition is compared; nothing here changes a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import psycopg
import pyarrow as pa
from kafka.consumer.fetcher import ConsumerRecord

from rossmann import event_times
from streaming_job import strict, transform
from streaming_job.reason_codes import Reason

#: Rows per round trip of the database cursor.
FETCH_ROWS = 20_000
#: Offsets to remember for a fault before truncating.
LISTED_OFFSETS = 5

_COLUMNS = tuple(transform.COLUMN_TYPES)
# Bounds that every event satisfies: what is compared was judged by the rules of its time.
_UNBOUNDED = strict.Bounds(date.min, date.max, event_times.TimeRange(-(2**62), 2**62))
_MICROS = "(extract(epoch FROM event_time) * 1000000)::bigint"
_PLACE = "stream_id = %(stream)s AND topic_partition = %(partition)s"
_RANGE = f"{_PLACE} AND kafka_offset >= %(start)s AND kafka_offset < %(end)s"
_ROWS = f"""
SELECT kafka_offset, 'raw_sales', {_MICROS}, NULL::text, NULL::bytea, NULL::bytea,
    {", ".join(_COLUMNS)}
FROM sales.raw_sales WHERE {_RANGE}
UNION ALL
SELECT kafka_offset, 'quarantined_events', {_MICROS}, reason, key, value
    {", NULL" * len(_COLUMNS)}
FROM sales.quarantined_events WHERE {_RANGE}
UNION ALL
SELECT kafka_offset, 'removed_events', NULL, NULL, NULL, NULL {", NULL" * len(_COLUMNS)}
FROM sales.removed_events WHERE {_RANGE}
ORDER BY 1
"""


@dataclass
class StoredRow:
    """One offset's row in a table: columns of a sale, or the bytes of a quarantined event."""

    offset: int
    table: str
    time_micros: int | None
    reason: str | None
    key: bytes | None
    value: bytes | None
    columns: tuple[Any, ...]


@dataclass
class Differences:
    """What differs between Kafka and the tables in one topic-partition.

    Attributes:
        name: The topic-partition as Kafka's tools write it.
        compared: Events of Kafka that were compared.
        only_in_kafka: Offsets of events that no table has.
        only_in_tables: Offsets that the tables have and Kafka has not.
        unequal: What differs at offsets that both have, one phrase each.
    """

    name: str
    compared: int = 0
    only_in_kafka: list[int] = field(default_factory=list)
    only_in_tables: list[int] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)

    def faults(self, *, is_compacted: bool) -> Iterator[str]:
        """Yield one sentence per kind of fault.

        Args:
            is_compacted: Whether Kafka may remove events that a later one replaces: then it is no
                fault that the tables still have them.
        """
        kinds: tuple[tuple[Sequence[object], str], ...] = (
            (self.only_in_kafka, "offsets are in Kafka and in no table"),
            (
                () if is_compacted else self.only_in_tables,
                "offsets are in the tables and not in Kafka",
            ),
            (self.unequal, "events are not in the tables as Kafka holds them"),
        )
        for listed, problem in kinds:
            if listed:
                examples = ", ".join(map(str, listed[:LISTED_OFFSETS]))
                more = " …" if len(listed) > LISTED_OFFSETS else ""
                yield f"{self.name}: {len(listed)} {problem}: {examples}{more}"


def stored_rows(
    connection: psycopg.Connection, stream_id: int, partition: int, start: int, end: int
) -> Iterator[StoredRow]:
    """Yield what the tables hold for the offsets in [start, end), in their order."""
    with connection.cursor(f"rows_{stream_id}_{partition}") as cursor:
        cursor.itersize = FETCH_ROWS
        place = {"stream": stream_id, "partition": partition, "start": start, "end": end}
        for row in cursor.execute(_ROWS.encode(), place):
            offset, table, time_micros, reason, key, value, *columns = row
            yield StoredRow(offset, table, time_micros, reason, key, value, tuple(columns))


def compare(
    name: str,
    pages: Iterable[tuple[list[ConsumerRecord], int]],
    rows: Iterator[StoredRow],
    on_progress: Callable[[int], None] = lambda compared: None,
) -> Differences:
    """Compare a topic-partition's events with its rows.

    Args:
        name: The topic-partition.
        pages: Kafka's events, each page with the offset after it; see `kafka_client.read_events`.
        rows: The tables' rows, in the order of their offsets.
        on_progress: Called with the number of events compared so far.
    """
    differences = Differences(name)
    row = next(rows, None)
    for records, until in pages:
        page: dict[int, StoredRow] = {}
        while row is not None and row.offset < until:
            page[row.offset] = row
            row = next(rows, None)
        _compare_page(records, page, differences)
        differences.compared += len(records)
        on_progress(differences.compared)
    while row is not None:
        differences.only_in_tables.append(row.offset)
        row = next(rows, None)
    return differences


def _compare_page(
    records: Sequence[ConsumerRecord], page: dict[int, StoredRow], differences: Differences
) -> None:
    parsed = _parse(records)
    for record, columns in zip(records, parsed, strict=True):
        row = page.pop(record.offset, None)
        if row is None:
            differences.only_in_kafka.append(record.offset)
            continue
        unequal = _unequal(record, columns, row)
        if unequal:
            differences.unequal.append(f"offset {record.offset} ({unequal})")
    differences.only_in_tables += page


def _unequal(record: ConsumerRecord, columns: tuple[Any, ...] | None, row: StoredRow) -> str:
    """Return what an event's row says otherwise than the event; empty if nothing."""
    if row.table == "removed_events":
        return ""
    sent = event_times.as_stored(record.timestamp * event_times.MILLI_MICROS)
    if row.time_micros is None or event_times.as_stored(row.time_micros) != sent:
        return f"sent {event_times.as_text(sent)}, stored with another time"
    if row.table == "quarantined_events":
        if row.reason == Reason.WITHDRAWN:
            # The bytes are gone by then; they are written again from the columns.
            return "" if _columns(row.value) == columns else "withdrawn with other values"
        return "" if (row.key, row.value) == (record.key, record.value) else "quarantined otherwise"
    if columns is None:
        return "stored as sales, though it holds none"
    return ", ".join(
        f"{name} {ours!s:.20} in Kafka, {theirs!s:.20} stored"
        for name, ours, theirs in zip(_COLUMNS, columns, row.columns, strict=True)
        if ours != theirs
    )


def _parse(records: Sequence[ConsumerRecord]) -> list[tuple[Any, ...] | None]:
    """Return the columns of each event, whatever it means; None for one that has none."""
    if not records:
        return []
    kafka = pa.table(
        {
            "key": pa.array([record.key for record in records], pa.binary()),
            "value": pa.array([record.value for record in records], pa.binary()),
            "partition": pa.array([record.partition for record in records], pa.int32()),
            "offset": pa.array([record.offset for record in records], pa.int64()),
            # Any time will do.
            "timestamp": pa.array([2**62] * len(records), pa.timestamp("us", tz="UTC")),
        }
    )
    table = transform.validate_within(kafka, _UNBOUNDED)
    rows = zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True)
    reasons = table.column("reason").to_pylist()
    return [
        row if reason is None else _columns(record.value)
        for row, reason, record in zip(rows, reasons, records, strict=True)
    ]


def _columns(value: bytes | None) -> tuple[Any, ...] | None:
    try:
        row = strict.parse_row(value)
    except strict.InvalidEventError:
        return None
    return tuple(row[name] for name in _COLUMNS)
