"""Transactions on the sales database: statements, frames out, frames in.

Rows travel as Arrow (ADBC): a frame goes in by binary COPY inside the transaction that also
deletes and locks, so a replace is all or nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pandas as pd
import pyarrow as pa
from sqlalchemy.pool import QueuePool

from warehouse.errors import UnreachableError

SCHEMA = "sales"

LOCK_TIMEOUT = "120s"
"""How long a transaction waits for a lock before it fails: longer than any replace takes."""

SERVERS_FAULT = (adbc.OperationalError, adbc.InternalError, UnreachableError)
"""What the database raises when it is away, full or held up: no row is at fault."""


class Transaction:
    """An open transaction; `Warehouse.transaction` makes and ends it."""

    def __init__(self, cursor: Any) -> None:
        """Wraps an ADBC cursor."""
        self._cursor = cursor

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Runs a statement that returns nothing; parameters are `$1`, `$2` …."""
        self._cursor.execute(statement, parameters=tuple(parameters) or None)

    def arrow(self, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """The result of a query as an Arrow table."""
        self._cursor.execute(query, parameters=tuple(parameters) or None)
        return self._cursor.fetch_arrow_table()

    def frame(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """The result of a query as a frame; dates are midnight timestamps."""
        return self.arrow(query, parameters).to_pandas(
            date_as_object=False, timestamp_as_object=False, coerce_temporal_nanoseconds=True
        )

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The result of a query as one dictionary a row."""
        return self.arrow(query, parameters).to_pylist()

    def value(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the only row of a query."""
        (row,) = self.rows(query, parameters)
        return next(iter(row.values()))

    def insert(self, table: str, rows: pd.DataFrame | pa.Table) -> int:
        """Appends rows to a table by COPY; columns are matched by name, types made the table's.

        Args:
            table: A table of the sales schema.
            rows: Columns named as the table's; columns left out take their defaults.

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
        """Appends rows to a temporary table that has the types of the table `like`."""
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
        """A part of the transaction that is taken back by itself when its block raises."""
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
        """Takes advisory locks until the transaction ends, in sorted order against deadlocks."""
        for name in sorted(names):
            self.execute("SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))", (SCHEMA, name))


class Warehouse:
    """The sales database, by its address."""

    def __init__(self, url: str) -> None:
        """Remembers the address; nothing connects before the first transaction."""
        self._url = url

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that commits at the end of the block and rolls back on an exception.

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
            # Whatever went wrong may have been the connection: the next transaction gets another.
            connection.invalidate()
            raise
        finally:
            connection.close()


@cache
def _pool(url: str) -> QueuePool:
    """The connections of this process to a database: one is kept open between transactions.

    A connection of ADBC's own reads PostgreSQL's catalogue of types first; clones share it.
    """
    source = adbc.connect(url, autocommit=True)
    return QueuePool(source.adbc_clone, pool_size=1, max_overflow=-1)


def _connection(url: str) -> Any:
    """A connection from the pool, with a transaction that has begun.

    Raises:
        UnreachableError: PostgreSQL does not answer.
    """
    error: Exception | None = None
    # A kept connection may have been lost since it was last used, the next one is new.
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
    reason = str(error).strip().splitlines()[0]
    raise UnreachableError(f"the sales database does not answer: {reason}") from error
