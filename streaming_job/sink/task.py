"""The work of one Spark task: one topic-partition's range, inside one transaction.

The transaction is opened and committed by `data_source`. Events go in by `copy`; the ledger's
statements are in `statements`; validation is in `transform`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streaming_job import transform
from streaming_job.errors import RESTART_MARKER, RestartError
from streaming_job.ledger_rows import Counts, event_digest
from streaming_job.reason_codes import Reason
from streaming_job.sink import statements
from streaming_job.sink.connection import Connection
from streaming_job.sink.copy import (
    BYTES_PER_COPY,
    ROWS_PER_COPY,
    copy_to_quarantine,
    copy_to_raw,
)
from streaming_job.sink.options import SinkOptions
from streaming_job.sink.outdated import OutdatedCorrections

# Like the database connection, one admin client lives as long as its Python worker.
_admin_clients: dict[str, Any] = {}


class PartitionTask:
    """One topic-partition's range on its way into the tables."""

    def __init__(self, options: SinkOptions, connection: Connection, first: pa.RecordBatch) -> None:
        """Keep what the task works on.

        Args:
            options: The task's options.
            connection: In an open transaction.
            first: The first batch of rows; not empty.
        """
        self.options = options
        self.connection = connection
        self.first = first
        self.partition = int(first.column("partition")[0].as_py())
        self._held: list[pa.RecordBatch] = []
        self._last: pa.RecordBatch | None = None
        self._days: list[pa.Table] = []
        self._stored = self._quarantined = self._gaps = 0

    def run(self, rest: Iterator[pa.RecordBatch]) -> None:
        """Write the range and advance the ledger.

        Args:
            rest: The batches after the first.

        Raises:
            RestartError: The rows do not continue the ledger, or the topic was recreated.
        """
        self.committed = statements.lock_row(
            self.connection, self.options.stream_id, self.partition
        )
        self.next_offset = self.committed
        self.stores = statements.fetch_stores(self.connection)
        self.outdated = OutdatedCorrections(self.connection, self.options.stream_id, self.partition)
        self._prove_leading_gap(int(self.first.column("offset")[0].as_py()))
        self._add(self.first)
        for batch in rest:
            if batch.num_rows:
                self._add(batch)
        self._flush()
        if self.next_offset > self.committed:
            self.outdated.note()
            self._append_change()
            self._advance()

    def _prove_leading_gap(self, offset: int) -> None:
        """Prove that no event lies between the ledger and the task's first row.

        Inside a task Spark has read every offset, so a missing one holds no event. Before the
        first row, the query may have started elsewhere than the ledger (a restored database).
        """
        if offset <= self.committed:
            return
        from streaming_job import kafka_client

        event = kafka_client.first_event_between(
            self.options.bootstrap_servers,
            self.options.topic,
            self.partition,
            self.committed,
            offset,
        )
        if event is not None:
            raise _restart(
                f"{self.options.topic}-{self.partition} continues at offset {offset}, but the "
                f"ledger has committed only up to {self.committed}"
            )

    def _add(self, batch: pa.RecordBatch) -> None:
        """Hold a batch for the next copy, without the rows that are committed already."""
        if pc.any(pc.not_equal(batch.column("partition"), self.partition)).as_py():
            raise _restart("a task received several topic-partitions")
        batch = batch.slice(pc.sum(pc.less(batch.column("offset"), self.next_offset)).as_py())
        if batch.num_rows == 0:
            return
        offsets = batch.column("offset")
        # A row below `next_offset` after the slice means that the batch was not sorted.
        ascends = int(offsets[0].as_py()) >= self.next_offset and (
            batch.num_rows == 1 or pc.min(pc.pairwise_diff(offsets)).as_py() >= 1
        )
        if not ascends:
            raise _restart("a task's offsets do not ascend")
        end = int(offsets[-1].as_py()) + 1
        self._gaps += end - self.next_offset - batch.num_rows
        self.next_offset = end
        self._held.append(batch)
        self._last = batch.slice(batch.num_rows - 1)
        rows = sum(held.num_rows for held in self._held)
        if rows >= ROWS_PER_COPY or sum(held.nbytes for held in self._held) >= BYTES_PER_COPY:
            self._flush()

    def _flush(self) -> None:
        """Validate the held rows and copy them into the two tables."""
        if not self._held:
            return
        rows = transform.validate(pa.Table.from_batches(self._held), self.options.calendar)
        self._held = []
        is_valid = pc.is_null(rows.column("reason"))
        has_store = pc.and_(is_valid, pc.is_in(rows.column("store"), value_set=self.stores))
        if not pc.all(has_store).as_py():
            self._quarantine(rows.filter(pc.invert(is_valid)))
            unknown = rows.filter(pc.and_(is_valid, pc.invert(has_store)))
            self._quarantine(_with_unknown_store(unknown))
            rows = rows.filter(has_store)
        self._store(rows)

    def _store(self, rows: pa.Table) -> None:
        if rows.num_rows == 0:
            return
        copy_to_raw(self.connection, self.options.stream_id, rows)
        self.outdated.add(rows)
        self._stored += rows.num_rows
        first_days = rows.group_by("store").aggregate([("date", "min")])
        self._days.append(first_days.rename_columns(["store", "date"]))

    def _quarantine(self, rows: pa.Table) -> None:
        if rows.num_rows == 0:
            return
        copy_to_quarantine(self.connection, self.options.stream_id, rows)
        self._quarantined += rows.num_rows

    def _append_change(self) -> None:
        if not self._days:
            return
        statements.append_change(
            self.connection,
            "stream",
            self.options.stream_id,
            self.partition,
            (self.committed, self.next_offset),
            pa.concat_tables(self._days),
        )

    def _advance(self) -> None:
        if _current_topic_uuid(self.options) != self.options.topic_uuid:
            raise _restart(f"topic {self.options.topic!r} was recreated while the stream ran")
        statements.advance_row(
            self.connection,
            self.options.stream_id,
            self.partition,
            self.next_offset,
            Counts(self._stored, self._quarantined, self._gaps),
        )
        self._note_last_event()

    def _note_last_event(self) -> None:
        if self._last is None:
            return
        sent = self._last.column("timestamp").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        key, value = (self._last.column(name)[0].as_py() for name in ("key", "value"))
        statements.note_last_event(
            self.connection,
            self.options.stream_id,
            self.partition,
            int(self._last.column("offset")[0].as_py()),
            event_digest(sent[0].as_py(), key, value),
            pa.scalar(self.outdated.newest, pa.timestamp("us", tz="UTC")),
        )


def _restart(reason: str) -> RestartError:
    return RestartError(f"{RESTART_MARKER}: {reason}")


def _with_unknown_store(rows: pa.Table) -> pa.Table:
    """Return valid rows with the reason and detail of a store that is not in `sales.stores`."""
    reason = pa.repeat(pa.scalar(Reason.UNKNOWN_STORE.value), rows.num_rows)
    store = rows.column("store").cast(pa.string())
    detail = pc.binary_join_element_wise("store", store, " ")
    for name, column in (("reason", reason), ("detail", detail)):
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def _current_topic_uuid(options: SinkOptions) -> str:
    from streaming_job import kafka_client

    servers = options.bootstrap_servers
    if servers not in _admin_clients:
        _admin_clients[servers] = kafka_client.open_admin(servers)
    try:
        return kafka_client.describe(_admin_clients[servers], options.topic).uuid
    except BaseException:
        _admin_clients.pop(servers, None)
        raise
