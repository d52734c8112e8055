"""Spark's entry points to the sink: the data source and its writer.

What a task does with its rows is in `task`, what it needs to know in `options`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql.datasource import (
    DataSource,
    DataSourceStreamArrowWriter,
    WriterCommitMessage,
)
from pyspark.sql.types import StructType

from streaming_job.sink.connection import discard_connection, kept_connection
from streaming_job.sink.options import SinkOptions
from streaming_job.sink.task import PartitionTask


class ExactlyOncePostgres(DataSource):
    """The Python data source behind `writeStream.format("exactly_once_postgres")`."""

    @classmethod
    def name(cls) -> str:
        """Return the format's name."""
        return "exactly_once_postgres"

    def streamWriter(  # noqa: N802 - Spark's name
        self, schema: StructType, overwrite: bool
    ) -> DataSourceStreamArrowWriter:
        """Return the writer, which Spark pickles and sends to the tasks."""
        return ExactlyOnceWriter(SinkOptions.from_options(self.options))


class ExactlyOnceWriter(DataSourceStreamArrowWriter):
    """A writer whose tasks commit by themselves, each its own range."""

    def __init__(self, options: SinkOptions) -> None:
        """Keep the options; connect to nothing, because Spark pickles the writer."""
        self.options = options

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Write one task's range in one transaction.

        Raises:
            RestartError: The rows do not continue the ledger, or the topic was recreated.
        """
        first = next((batch for batch in iterator if batch.num_rows), None)
        if first is None:
            return WriterCommitMessage()
        url = self.options.session_url
        connection = kept_connection(url)
        try:
            connection.begin()
            PartitionTask(self.options, connection, first).run(iterator)
            connection.commit()
        except BaseException:
            # The connection's state is unknown. Closing it makes PostgreSQL roll back.
            discard_connection(url)
            raise
        return WriterCommitMessage()

    def commit(self, messages: list[WriterCommitMessage | None], batchId: int) -> None:  # noqa: N803
        """Do nothing: every task has committed by itself."""

    def abort(self, messages: list[WriterCommitMessage | None], batchId: int) -> None:  # noqa: N803
        """Do nothing: committed ranges are right, and the next attempt skips them."""
