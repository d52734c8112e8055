"""Connections and transactions of the sales database.

Rows travel as Arrow (ADBC). Binary COPY writes a frame in the same transaction that takes the locks
and deletes the old rows, so replacing rows is atomic. The statements on a group of tables live in
the module of that group.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pandas as pd
import pyarrow as pa
from sqlalchemy.pool import QueuePool

from warehouse.environment import forget_libpq_variables
from warehouse.errors import UnreachableError

#: Schema of all tables.
SCHEMA = "sales"

#: Time that a transaction waits for a lock before it fails. No replacement of rows takes as long.
LOCK_TIMEOUT = "120s"

#: Errors that no row caused: the server is unreachable, full or timed out.
SERVERS_FAULT = (adbc.OperationalError, adbc.InternalError, UnreachableError)


class Transaction:
    """An open transaction; `Warehouse.transaction` opens and ends it."""

    def __init__(self, cursor: Any) -> None:
        """Wrap an ADBC cursor."""
        self._cursor = cursor

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement that returns no rows; parameters are `$1`, `$2` …."""
        self._cursor.execute(statement, parameters=tuple(parameters) or None)

    def arrow(self, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Return the result of a query as an Arrow table."""
        self._cursor.execute(query, parameters=tuple(parameters) or None)
        return self._cursor.fetch_arrow_table()

    def frame(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Return the result of a query as a frame; dates become midnight timestamps."""
        return self.arrow(query, parameters).to_pandas(
            date_as_object=False, timestamp_as_object=False, coerce_temporal_nanoseconds=True
        )

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return the result of a query as one dictionary per row."""
        return self.arrow(query, parameters).to_pylist()

    def value(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the first column of the only row of a query."""
        (row,) = self.rows(query, parameters)
        return next(iter(row.values()))

    def insert(self, table: str, rows: pd.DataFrame | pa.Table) -> int:
        """Append rows to a table by COPY.

        Columns are matched by name and cast to the types of the table.

        Args:
            table: A table of the sales schema.
            rows: The rows. Columns of the table that the rows lack get their defaults.

        Returns:
            The number of rows written.

        Raises:
            pyarrow.ArrowInvalid: A value does not fit the table's type.
        """
        data = self._as_stored(f"{SCHEMA}.{table}", rows)
        if data.num_rows:
            self._cursor.adbc_ingest(table, data, mode="append", db_schema_name=SCHEMA)
        return data.num_rows

    def insert_temporary(self, table: str, like: str, rows: pd.DataFrame) -> int:
        """Append rows to a temporary table that has the column types of the table `like`."""
        data = self._as_stored(f"{SCHEMA}.{like}", rows)
        if data.num_rows:
            self._cursor.adbc_ingest(table, data, mode="append", temporary=True)
        return data.num_rows

    def _as_stored(self, table: str, rows: pd.DataFrame | pa.Table) -> pa.Table:
        names = rows.column_names if isinstance(rows, pa.Table) else list(rows.columns)
        listed = ", ".join(f'"{name}"' for name in names)
        schema = self.arrow(f"SELECT {listed} FROM {table} LIMIT 0").schema.remove_metadata()
        if isinstance(rows, pa.Table):
            return rows.cast(schema)
        arrays = [pa.Array.from_pandas(rows[field.name], type=field.type) for field in schema]
        return pa.Table.from_arrays(arrays, schema=pa.schema([(f.name, f.type) for f in schema]))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo only the block's statements when the block raises.

        Errors in `SERVERS_FAULT` undo nothing here, because they concern the whole transaction.
        """
        self.execute("SAVEPOINT part")
        try:
            yield
        except SERVERS_FAULT:
            raise
        except BaseException:
            self.execute("ROLLBACK TO SAVEPOINT part")
            raise
        self.execute("RELEASE SAVEPOINT part")

    def lock(self, *names: str) -> None:
        """Acquire advisory locks, which PostgreSQL releases when the transaction ends.

        The locks are acquired in sorted order, so that calls with the same names cannot deadlock.
        """
        for name in sorted(names):
            self.execute("SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))", (SCHEMA, name))


class Warehouse:
    """The sales database, by its address."""

    def __init__(self, url: str) -> None:
        """Store the address; the first transaction connects."""
        self._url = url

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction that commits at the end of the block and rolls back on an exception.

        Raises:
            UnreachableError: PostgreSQL does not answer.
        """
        connection = _connection(self._url)
        try:
            cursor = connection.cursor()
            try:
                yield Transaction(cursor)
            finally:
                cursor.close()
            connection.commit()
        except BaseException:
            # The connection may be the cause, so the next transaction gets a new one.
            connection.invalidate()
            raise
        finally:
            connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Open a transaction for reading, all of whose statements see the same state.

        Use it where a second statement explains what a first one found or lacked.

        Raises:
            UnreachableError: PostgreSQL does not answer.
        """
        with self.transaction() as transaction:
            transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield transaction


@cache
def _pool(url: str) -> QueuePool:
    """Return the pool of a database, which keeps one connection open between transactions.

    Its connections are clones of one ADBC connection, because clones share PostgreSQL's type
    catalogue. An ADBC connection that is no clone reads the catalogue again.
    """
    forget_libpq_variables()
    source = adbc.connect(url, autocommit=True)
    return QueuePool(source.adbc_clone, pool_size=1, max_overflow=-1)


def _connection(url: str) -> Any:
    """Return a pooled connection with an open transaction.

    Raises:
        UnreachableError: PostgreSQL does not answer.
    """
    error: Exception | None = None
    # The server may have closed the connection that the pool kept. The second try opens a new one.
    for _ in range(2):
        try:
            connection = _pool(url).connect()
        except adbc.Error as refused:
            error = refused
            break
        try:
            cursor = connection.cursor()
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            cursor.close()
            return connection
        except adbc.Error as lost:
            error = lost
            connection.invalidate()
            connection.close()
    raise UnreachableError.of_driver(error) from error
