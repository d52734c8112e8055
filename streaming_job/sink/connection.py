"""The sink's database connection: Arrow in and out, binary COPY, explicit transactions.

The statements that run on it live in `statements` and `ledger_rows`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pyarrow as pa

SCHEMA = "sales"
#: Name of the sink's sessions in PostgreSQL's `pg_stat_activity`.
APPLICATION_NAME = "streaming_job_sink"
#: Seconds to wait for PostgreSQL to accept a connection.
CONNECT_SECONDS = 10

# One connection lives as long as its Python worker: connecting for every task would cost more
# than a small batch itself.
_kept: dict[str, Connection] = {}


def session_url(database_url: str, *, lock_timeout_seconds: int, idle_timeout_seconds: int) -> str:
    """Return the database's address with the time-outs that evict a hung task.

    Args:
        database_url: PostgreSQL's address.
        lock_timeout_seconds: How long a statement waits for a lock.
        idle_timeout_seconds: How long a transaction may stay idle.
    """
    timeouts = (
        f"-c lock_timeout={lock_timeout_seconds}s "
        f"-c idle_in_transaction_session_timeout={idle_timeout_seconds}s"
    )
    separator = "&" if "?" in database_url else "?"
    return (
        f"{database_url}{separator}options={quote(timeouts)}"
        f"&application_name={APPLICATION_NAME}&connect_timeout={CONNECT_SECONDS}"
    )


class Connection:
    """An ADBC connection that holds a transaction open only between `begin` and `commit`.

    With autocommit off, ADBC opens the next transaction right after a commit. The idle time-out
    would then end it between batches, and now() would return the time of the previous commit.
    """

    def __init__(self, url: str) -> None:
        """Connect.

        Args:
            url: PostgreSQL's address, usually from `session_url`.
        """
        from adbc_driver_postgresql import dbapi

        self._dbapi = dbapi.connect(url, autocommit=True)

    def begin(self) -> None:
        """Open a transaction."""
        self._dbapi.adbc_connection.set_autocommit(False)

    def commit(self) -> None:
        """Commit the transaction without opening the next one."""
        self._dbapi.commit()
        self._dbapi.adbc_connection.set_autocommit(True)

    def is_alive(self) -> bool:
        """Return whether PostgreSQL still answers on this connection."""
        try:
            self.fetch("SELECT 1")
        except self._dbapi.Error:
            return False
        return True

    def execute(self, statement: str, *parameters: Any) -> None:
        """Run a statement.

        Args:
            statement: SQL with `$1`, `$2`, ….
            parameters: Integers, or Arrow arrays of one element.
        """
        with self._dbapi.cursor() as cursor:
            cursor.execute(statement, _parameter_row(parameters))

    def fetch(self, statement: str, *parameters: Any) -> pa.Table:
        """Run a statement and return its rows; arguments as in `execute`."""
        with self._dbapi.cursor() as cursor:
            cursor.execute(statement, _parameter_row(parameters))
            return cursor.fetch_arrow_table()

    def copy(self, table: str, rows: pa.Table) -> None:
        """Append rows to a table of the schema `sales` by binary COPY."""
        with self._dbapi.cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="append", db_schema_name=SCHEMA)

    def close(self) -> None:
        """Close the connection; PostgreSQL rolls back an open transaction."""
        self._dbapi.close()


def _parameter_row(parameters: tuple[Any, ...]) -> pa.RecordBatch | None:
    if not parameters:
        return None
    arrays = [
        value if isinstance(value, pa.Array) else pa.array([value], pa.int64())
        for value in parameters
    ]
    return pa.record_batch(arrays, names=[str(index) for index in range(len(arrays))])


def kept_connection(url: str) -> Connection:
    """Return this process's connection to a database; open one if there is none that answers."""
    connection = _kept.get(url)
    if connection is not None:
        if connection.is_alive():
            return connection
        discard_connection(url)
    _kept[url] = Connection(url)
    return _kept[url]


def discard_connection(url: str) -> None:
    """Close this process's connection to a database, so that the next task opens another."""
    connection = _kept.pop(url, None)
    if connection is not None:
        # The connection is often broken already; closing it must not hide the first error.
        with suppress(Exception):
            connection.close()
