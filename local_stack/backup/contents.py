"""What a sales database holds: for the manifest, and for the proof that a restore worked."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from local_stack.backup.archive import Offsets
from local_stack.errors import StackError
from local_stack.schema import revision_of

# A partitioned table counts with its partitions, and they don't count again.
_TABLES = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'sales'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname
"""
_OFFSETS = """
SELECT s.topic, s.topic_uuid, o.topic_partition, o.first_offset, o.next_offset
FROM sales.stream_offsets o JOIN sales.streams s USING (stream_id)
ORDER BY o.stream_id, o.topic_partition
"""


@dataclass(frozen=True)
class Contents:
    """The revision, ledger and row counts of a sales database."""

    revision: str
    offsets: list[Offsets]
    rows: dict[str, int]


def read_contents(connection: psycopg.Connection) -> Contents:
    """Read what a database holds, as the connection's transaction sees it.

    Raises:
        StackError: It has no tables of this project.
    """
    revision = revision_of(connection)
    if revision is None:
        raise StackError("The sales database has no tables: there is nothing to back up.")
    tables = [row[0] for row in connection.execute(_TABLES)]
    rows = {}
    for table in tables:
        statement = sql.SQL("SELECT count(*) FROM sales.{}").format(sql.Identifier(table))
        ((rows[table],),) = connection.execute(statement).fetchall()
    return Contents(revision, [Offsets(*row) for row in connection.execute(_OFFSETS)], rows)
