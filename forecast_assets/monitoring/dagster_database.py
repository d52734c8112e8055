"""What Dagster's database says of runs, ticks, checks and its daemon, for exporter and doctor.

Read there because a dead daemon is invisible through the webserver. The role dagster_reader may
call the functions of `deploy/postgres/dagster_reader.sql` and nothing else. The exporter's metrics
are in `dagster_metrics.py`, the rules in `planning/dagster_health.py`.
"""

from __future__ import annotations

import threading

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from forecast_assets.monitoring.sources import SourceError
from forecast_assets.planning.dagster_health import DagsterFacts, Row

#: Seconds to wait for a connection, and for a statement.
CONNECT_SECONDS = 3
STATEMENT_SECONDS = 5


class DagsterDatabase:
    """Dagster's database, over one kept connection."""

    def __init__(self, address: str) -> None:
        """Remember the address; the first reading connects."""
        self._address = make_conninfo(
            address,
            connect_timeout=CONNECT_SECONDS,
            application_name="forecast_exporter",
            options=f"-c statement_timeout={STATEMENT_SECONDS}s "
            "-c default_transaction_read_only=on -c timezone=UTC",
        )
        self._connection: psycopg.Connection[Row] | None = None
        # Two servers of Prometheus may ask at once.
        self._lock = threading.Lock()

    def read(self) -> DagsterFacts:
        """Return the facts, of one snapshot.

        Raises:
            SourceError: The database cannot be read.
        """
        with self._lock:
            try:
                return self._facts()
            except psycopg.OperationalError as error:
                is_kept = self._connection is not None
                self.close()
                if not is_kept:
                    raise SourceError(_reason(error)) from error
            # The server may have ended the kept connection; a new one tells whether it is there.
            try:
                return self._facts()
            except psycopg.Error as error:
                self.close()
                raise SourceError(_reason(error)) from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _facts(self) -> DagsterFacts:
        connection = self._connection
        if connection is None:
            connection = psycopg.connect(self._address, autocommit=True, row_factory=dict_row)
            self._connection = connection

        def ask(function: str) -> list[Row]:
            return connection.execute(f"SELECT * FROM monitoring.{function}()".encode()).fetchall()

        try:
            # One snapshot: a run is not counted twice when it ends between two statements.
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                return DagsterFacts(
                    open_runs=ask("open_runs"),
                    ended_runs=ask("ended_runs"),
                    newest_runs=ask("newest_runs"),
                    ticks=ask("ticks"),
                    switched_off=ask("switched_off"),
                    heartbeats=ask("heartbeats"),
                    checks=ask("checks"),
                    size=ask("size"),
                )
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            self.close()
            raise SourceError(_reason(error)) from error


def _reason(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, psycopg.errors.UndefinedTable):
        return f"Dagster has not made its tables yet: start its webserver or daemon ({lines[0]})"
    if isinstance(error, psycopg.errors.UndefinedFunction | psycopg.errors.InvalidSchemaName):
        return f"run deploy/postgres/dagster_reader.sql in Dagster's database ({lines[0]})"
    return f"Dagster's database: {lines[0]}"
