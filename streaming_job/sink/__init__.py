"""The exactly-once sink: one task, one topic-partition's range, one PostgreSQL transaction.

A PySpark Python data source. Each task locks its topic-partition's line of `stream_offsets`, drops
what lies below `next_offset`, judges the rest (`transform`), copies it into raw and quarantine,
appends to `changes`, and advances `next_offset`, all or nothing. A retried, speculative, zombie or
second stream's task finds its range taken and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.datasource import (
    DataSource,
    DataSourceStreamArrowWriter,
    WriterCommitMessage,
)
from pyspark.sql.types import StructType

from streaming_job import events, transform
from streaming_job.errors import RestartError
from streaming_job.events import Reason

NAME = "exactly_once_postgres"
SCHEMA = "sales"
ROWS_PER_COPY = 100_000
BYTES_PER_COPY = 64 * 1024 * 1024

START_AGAIN = "START_AGAIN"
"""Marks, in the text of a failed task, that a start from the ledger mends it."""

_LOCK = """
SELECT next_offset FROM sales.stream_offsets
WHERE stream_id = $1 AND topic_partition = $2 FOR UPDATE
"""
_OPEN = """
INSERT INTO sales.stream_offsets (stream_id, topic_partition, first_offset, next_offset)
VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING
"""
_ADVANCE = """
UPDATE sales.stream_offsets SET next_offset = $3, stored = stored + $4,
    quarantined = quarantined + $5, gaps = gaps + $6, updated_at = clock_timestamp()
WHERE stream_id = $1 AND topic_partition = $2
"""
_CHANGE = """
INSERT INTO sales.changes
    (kind, stream_id, topic_partition, from_offset, until_offset, stores, first_days)
VALUES ($1, $2, $3, $4, $5, $6::integer[], $7::date[])
"""


@dataclass(frozen=True)
class SinkOptions:
    """What a task needs to know; travels as the data source's options."""

    database_url: str
    bootstrap_servers: str
    topic: str
    topic_uuid: str
    stream_id: int
    calendar: transform.Calendar
    lock_timeout_seconds: int
    idle_timeout_seconds: int

    def as_options(self) -> dict[str, str]:
        """Spark's options; the name of the first makes Spark redact it."""
        return {
            "secretDatabaseUrl": self.database_url,
            "bootstrapServers": self.bootstrap_servers,
            "topic": self.topic,
            "topicUuid": self.topic_uuid,
            "streamId": str(self.stream_id),
            "calendarStart": str(self.calendar.start),
            "calendarEnd": str(self.calendar.end or ""),
            "lockTimeoutSeconds": str(self.lock_timeout_seconds),
            "idleTimeoutSeconds": str(self.idle_timeout_seconds),
        }

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> SinkOptions:
        """The inverse of `as_options`."""
        return cls(
            options["secretDatabaseUrl"],
            options["bootstrapServers"],
            options["topic"],
            options["topicUuid"],
            int(options["streamId"]),
            transform.Calendar(
                date.fromisoformat(options["calendarStart"]),
                date.fromisoformat(options["calendarEnd"]) if options["calendarEnd"] else None,
            ),
            int(options["lockTimeoutSeconds"]),
            int(options["idleTimeoutSeconds"]),
        )

    @property
    def session_url(self) -> str:
        """The database's address with the time limits that evict a hung task."""
        limits = (
            f"-c lock_timeout={self.lock_timeout_seconds}s "
            f"-c idle_in_transaction_session_timeout={self.idle_timeout_seconds}s"
        )
        joint = "&" if "?" in self.database_url else "?"
        return (
            f"{self.database_url}{joint}options={quote(limits)}"
            f"&application_name=streaming_job_sink&connect_timeout=10"
        )


class ExactlyOncePostgres(DataSource):
    """Spark's entry to the sink: `writeStream.format("exactly_once_postgres")`."""

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return NAME

    def streamWriter(  # noqa: N802 - Spark's name
        self, schema: StructType, overwrite: bool
    ) -> DataSourceStreamArrowWriter:
        """The writer; it is pickled to the tasks."""
        return ExactlyOnceWriter(SinkOptions.from_options(self.options))


@dataclass
class Committed(WriterCommitMessage):
    """What one task did."""

    stored: int = 0
    quarantined: int = 0
    gaps: int = 0
    dropped: int = 0


class ExactlyOnceWriter(DataSourceStreamArrowWriter):
    """Writes each task's range in one transaction."""

    def __init__(self, options: SinkOptions) -> None:
        """Keeps what the tasks need; connects to nothing."""
        self.options = options

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Writes one task's range; see the module.

        Raises:
            RestartError: The rows do not continue the ledger, or the topic is another one now:
                only a start from the ledger is right.
        """
        first = next((batch for batch in iterator if batch.num_rows), None)
        if first is None:
            return Committed()
        connection = _connection(self.options.session_url)
        try:
            connection.begin()
            done = _Task(self.options, connection, first).run(iterator)
            connection.commit()
        except BaseException:
            # Whatever state the connection is in, the next task gets a new one; closing it makes
            # PostgreSQL roll back.
            _forget(self.options.session_url)
            raise
        return done

    def commit(self, messages: list[WriterCommitMessage | None], batchId: int) -> None:  # noqa: N803
        """Nothing: every task has committed by itself."""

    def abort(self, messages: list[WriterCommitMessage | None], batchId: int) -> None:  # noqa: N803
        """Nothing: what a task committed is right, and the next attempt drops it."""


class Connection:
    """An ADBC connection that is in a transaction only between begin and commit.

    With autocommit off, ADBC opens the next transaction right after a commit: the idle time-out
    would then end it between batches, and now() would be the time of the previous commit.
    """

    def __init__(self, url: str) -> None:
        """Connects."""
        from adbc_driver_postgresql import dbapi

        self._dbapi = dbapi.connect(url, autocommit=True)

    def begin(self) -> None:
        """Opens a transaction."""
        self._dbapi.adbc_connection.set_autocommit(False)

    def commit(self) -> None:
        """Commits it and opens no other."""
        self._dbapi.commit()
        self._dbapi.adbc_connection.set_autocommit(True)

    def alive(self) -> bool:
        """Whether PostgreSQL still answers on this connection."""
        try:
            self.fetch("SELECT 1")
        except self._dbapi.Error:
            return False
        return True

    def execute(self, statement: str, *parameters: Any) -> None:
        """Runs a statement; parameters are integers or one-element Arrow arrays."""
        with self._dbapi.cursor() as cursor:
            if parameters:
                cursor.execute(statement, _one_row(parameters))
            else:
                cursor.execute(statement)

    def fetch(self, statement: str, *parameters: Any) -> pa.Table:
        """Runs a statement and returns its rows."""
        with self._dbapi.cursor() as cursor:
            if parameters:
                cursor.execute(statement, _one_row(parameters))
            else:
                cursor.execute(statement)
            return cursor.fetch_arrow_table()

    def copy(self, table: str, rows: pa.Table) -> None:
        """Appends rows to a table of the schema by binary COPY."""
        with self._dbapi.cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="append", db_schema_name=SCHEMA)

    def close(self) -> None:
        """Closes it; PostgreSQL rolls back what is open."""
        self._dbapi.close()


def _one_row(parameters: tuple[Any, ...]) -> pa.RecordBatch:
    arrays = [
        value if isinstance(value, pa.Array) else pa.array([value], pa.int64())
        for value in parameters
    ]
    return pa.record_batch(arrays, names=[str(index) for index in range(len(arrays))])


def _where(stream_id: int, rows: pa.Table) -> dict[str, Any]:
    return {
        "stream_id": pa.repeat(pa.scalar(stream_id, pa.int16()), rows.num_rows),
        "topic_partition": rows.column("topic_partition"),
        "kafka_offset": rows.column("kafka_offset"),
        "event_time": rows.column("event_time"),
    }


def raw_rows(stream_id: int, rows: pa.Table) -> pa.Table:
    """Good events, a table of `transform.VALIDATED`, as rows of `raw_sales`."""
    return pa.table(
        _where(stream_id, rows) | {name: rows.column(name) for name in transform.COLUMN_TYPES}
    )


def known_stores(connection: Connection) -> pa.Array:
    """The stores whose events count, as they are in the connection's transaction."""
    found = connection.fetch("SELECT store FROM sales.stores").column(0)
    return found.cast(transform.COLUMN_TYPES["store"]).combine_chunks()


def append_change(
    connection: Connection, kind: str, where: tuple[int, int, int, int], touched: pa.Table
) -> None:
    """Tells the assets what was stored: each store once, with its earliest day.

    Args:
        connection: In the transaction that stores the events.
        kind: 'stream' or 'requeue'.
        where: Stream, topic-partition, first offset, offset after the last.
        touched: Columns store and date.
    """
    stores = touched.group_by("store").aggregate([("date", "min")]).sort_by("store")
    connection.execute(
        _CHANGE,
        pa.array([kind]),
        *where,
        pa.array([stores.column("store").to_pylist()], pa.list_(pa.int32())),
        pa.array([stores.column("date_min").to_pylist()], pa.list_(pa.date32())),
    )


# One connection and one admin client live as long as their Python worker: connecting for every
# task would cost more than a small batch itself.
_connections: dict[str, Connection] = {}
_admins: dict[str, Any] = {}


def _connection(url: str) -> Connection:
    held = _connections.get(url)
    if held is not None:
        if held.alive():
            return held
        _forget(url)
    _connections[url] = Connection(url)
    return _connections[url]


def _forget(url: str) -> None:
    held = _connections.pop(url, None)
    if held is not None:
        # It is being thrown away, often because it is broken already.
        with suppress(Exception):
            held.close()


def _topic_uuid_now(options: SinkOptions) -> str:
    from streaming_job import kafka_client

    admin = _admins.get(options.bootstrap_servers)
    if admin is None:
        admin = kafka_client.open_admin(options.bootstrap_servers)
        _admins[options.bootstrap_servers] = admin
    try:
        return kafka_client.describe(admin, options.topic).uuid
    except BaseException:
        _admins.pop(options.bootstrap_servers, None)
        raise


@dataclass
class _Task:
    """The work of one task inside its transaction."""

    options: SinkOptions
    connection: Connection
    first: pa.RecordBatch
    raw: list[pa.RecordBatch] = field(default_factory=list)
    bad: list[pa.Table] = field(default_factory=list)
    touched: list[pa.Table] = field(default_factory=list)
    done: Committed = field(default_factory=Committed)

    def run(self, rest: Iterator[pa.RecordBatch]) -> Committed:
        self.partition = int(self.first.column("partition")[0].as_py())
        self.taken = self._lock()
        self.next_offset = self.taken
        self.known = known_stores(self.connection)
        self._prove_leading_gap(int(self.first.column("offset")[0].as_py()))
        self._take(self.first)
        for batch in rest:
            if batch.num_rows:
                self._take(batch)
        self._flush()
        if self.next_offset > self.taken:
            self._append_change()
            self._advance()
        return self.done

    def _key(self) -> tuple[int, int]:
        return self.options.stream_id, self.partition

    def _lock(self) -> int:
        locked = self.connection.fetch(_LOCK, *self._key())
        if locked.num_rows == 0:
            # A topic-partition that was added while the stream runs.
            self.connection.execute(_OPEN, *self._key())
            locked = self.connection.fetch(_LOCK, *self._key())
        return int(locked.column(0)[0].as_py())

    def _prove_leading_gap(self, offset: int) -> None:
        """Between the ledger and the first row there may be nothing but markers.

        Inside a task Spark has read every offset, so what is missing there is a gap. Before its
        first row, the query may have been somewhere else than the ledger (a restored database).
        """
        if offset <= self.taken:
            return
        from streaming_job import kafka_client

        found = kafka_client.first_event_between(
            self.options.bootstrap_servers, self.options.topic, self.partition, self.taken, offset
        )
        if found is not None:
            raise RestartError(
                f"{START_AGAIN}: {self.options.topic}-{self.partition} continues at offset "
                f"{offset}, but the ledger has taken only up to {self.taken}"
            )

    def _take(self, batch: pa.RecordBatch) -> None:
        offsets = batch.column("offset")
        if pc.any(pc.not_equal(batch.column("partition"), self.partition)).as_py():
            raise RestartError(f"{START_AGAIN}: one task got several topic-partitions")
        below = pc.sum(pc.less(offsets, self.next_offset)).as_py()
        if below:
            self.done.dropped += below
            batch = batch.slice(below)
            if batch.num_rows == 0:
                return
            offsets = batch.column("offset")
        steps = pc.pairwise_diff(offsets)
        if batch.num_rows > 1 and pc.min(steps).as_py() < 1:
            raise RestartError(f"{START_AGAIN}: offsets of one task do not ascend")
        last = int(offsets[-1].as_py())
        if int(offsets[0].as_py()) < self.next_offset:
            raise RestartError(f"{START_AGAIN}: offsets of one task do not ascend")
        self.done.gaps += last + 1 - self.next_offset - batch.num_rows
        self.next_offset = last + 1
        self.raw.append(batch)
        rows = sum(held.num_rows for held in self.raw)
        if rows >= ROWS_PER_COPY or sum(held.nbytes for held in self.raw) >= BYTES_PER_COPY:
            self._flush()

    def _flush(self) -> None:
        """Judges what is held, and copies it into the two tables."""
        if not self.raw:
            return
        held = transform.validate(pa.Table.from_batches(self.raw), self.options.calendar)
        self.raw = []
        is_good = pc.is_null(held.column("reason"))
        stays = pc.and_(is_good, pc.is_in(held.column("store"), value_set=self.known))
        if not pc.all(stays).as_py():
            self._quarantine(held.filter(pc.invert(is_good)))
            self._quarantine_strangers(held.filter(pc.and_(is_good, pc.invert(stays))))
            held = held.filter(stays)
        self._store(held)

    def _store(self, rows: pa.Table) -> None:
        if rows.num_rows == 0:
            return
        self.connection.copy("raw_sales", raw_rows(self.options.stream_id, rows))
        self.done.stored += rows.num_rows
        self.touched.append(rows.group_by("store").aggregate([("date", "min")]))

    def _quarantine_strangers(self, rows: pa.Table) -> None:
        store = rows.column(events.COLUMNS[events.STORE]).cast(pa.string())
        self._quarantine(
            rows.set_column(
                rows.schema.get_field_index("reason"),
                "reason",
                pa.repeat(pa.scalar(Reason.UNKNOWN_STORE.value), rows.num_rows),
            ).set_column(
                rows.schema.get_field_index("detail"),
                "detail",
                pc.binary_join_element_wise("store", store, " "),
            )
        )

    def _quarantine(self, rows: pa.Table) -> None:
        if rows.num_rows == 0:
            return
        columns = _where(self.options.stream_id, rows)
        columns |= {name: rows.column(name) for name in ("key", "value", "reason", "detail")}
        self.connection.copy("quarantined_events", pa.table(columns))
        self.done.quarantined += rows.num_rows

    def _append_change(self) -> None:
        if not self.touched:
            return
        append_change(
            self.connection,
            "stream",
            (*self._key(), self.taken, self.next_offset),
            pa.concat_tables(self.touched).rename_columns(["store", "date"]),
        )

    def _advance(self) -> None:
        if _topic_uuid_now(self.options) != self.options.topic_uuid:
            raise RestartError(
                f"{START_AGAIN}: topic {self.options.topic!r} was recreated while the stream ran"
            )
        self.connection.execute(
            _ADVANCE,
            *self._key(),
            self.next_offset,
            self.done.stored,
            self.done.quarantined,
            self.done.gaps,
        )
