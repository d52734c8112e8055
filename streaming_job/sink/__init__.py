"""The exactly-once sink: one Spark task writes one topic-partition's range in one transaction.

Data and offsets commit together, so a retried, speculative or zombie task, or a second stream on
the same topic, finds its range committed and writes nothing. The approach follows
`TransactionalPerPartition.scala` of github.com/koeninger/kafka-exactly-once, which commits each
partition's results and offset range in one transaction. Here the ledger's row is also locked, and
gaps are proved against Kafka.

Contents:
    data_source: Spark's entry points: the data source and its writer.
    options: what a task needs to know.
    task: the transaction of one topic-partition's range.
    copy: the COPY path, events into their two tables; `requeue` shares it.
    statements: the ledger's rows and the changes; `requeue` shares it.
    connection: the ADBC connection, and those that a Python worker keeps open.

Validation lives in `transform`, the ledger's statements in `ledger_rows`. Spark's Python workers
import this package for every new process: keep heavy imports inside functions.
"""

from streaming_job.sink.connection import Connection, session_url
from streaming_job.sink.data_source import ExactlyOncePostgres
from streaming_job.sink.options import SinkOptions

__all__ = ["Connection", "ExactlyOncePostgres", "SinkOptions", "session_url"]
