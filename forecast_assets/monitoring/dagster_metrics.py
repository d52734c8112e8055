"""Metrics of Dagster: runs, queue, ticks, checks, and whether its daemon lives.

They come from Dagster's database, because a dead daemon is invisible through the webserver. The
role dagster_reader may call the functions of `deploy/postgres/dagster_reader.sql` and nothing else.
"""

from __future__ import annotations

import threading
from typing import Any

import psycopg
from prometheus_client.core import Metric
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from forecast_assets.monitoring.families import gauges
from forecast_assets.monitoring.sources import SourceError

#: Seconds to wait for a connection, and for a statement.
CONNECT_SECONDS = 3
STATEMENT_SECONDS = 5

#: States of a run that has not ended.
OPEN_STATES = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")

Row = dict[str, Any]


class DagsterSource:
    """Dagster's database, over one kept connection."""

    name = "dagster"

    def __init__(self, address: str) -> None:
        """Remember the address; the first scrape connects."""
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

    def read(self) -> list[Metric]:
        """Return Dagster's metrics.

        Raises:
            SourceError: The database cannot be read.
        """
        with self._lock:
            try:
                return self._families()
            except psycopg.OperationalError as error:
                is_kept = self._connection is not None
                self.close()
                if not is_kept:
                    raise SourceError(_reason(error)) from error
            # The server may have ended the kept connection; a new one tells whether it is there.
            try:
                return self._families()
            except psycopg.Error as error:
                self.close()
                raise SourceError(_reason(error)) from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _families(self) -> list[Metric]:
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
                return [
                    *_runs(ask("open_runs"), ask("ended_runs")),
                    *_newest_runs(ask("newest_runs")),
                    *_ticks(ask("ticks")),
                    *_heartbeats(ask("heartbeats")),
                    _checks(ask("checks")),
                    _size(ask("size")),
                ]
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


def _runs(unfinished: list[Row], ended: list[Row]) -> list[Metric]:
    return [
        gauges(
            "dagster_runs",
            "Runs that have not ended, by job and state.",
            ("job", "status"),
            (((row["job"], row["status"]), row["runs"]) for row in unfinished),
        ),
        gauges(
            "dagster_oldest_run_timestamp_seconds",
            "When the oldest run that has not ended was created, by job and state.",
            ("job", "status"),
            (((row["job"], row["status"]), row["oldest_seconds"]) for row in unfinished),
        ),
        gauges(
            "dagster_ended_runs",
            "Runs that ended within a day, by job and outcome.",
            ("job", "status"),
            (((row["job"], row["status"]), row["runs"]) for row in ended),
        ),
        gauges(
            "dagster_open_runs",
            "Runs that have not ended, by state; 0 for a state without any.",
            ("status",),
            (
                ((status,), sum(row["runs"] for row in unfinished if row["status"] == status))
                for status in OPEN_STATES
            ),
        ),
    ]


def _newest_runs(rows: list[Row]) -> list[Metric]:
    return [
        gauges(
            "dagster_newest_run_failed",
            "Whether the job's newest ended run failed.",
            ("job",),
            (((row["job"],), float(row["status"] == "FAILURE")) for row in rows),
        ),
        gauges(
            "dagster_newest_run_ended_timestamp_seconds",
            "When the job's newest ended run ended.",
            ("job",),
            (((row["job"],), row["ended_seconds"]) for row in rows),
        ),
        gauges(
            "dagster_newest_success_timestamp_seconds",
            "When the job's newest successful run ended.",
            ("job",),
            (((row["job"],), row["succeeded_seconds"]) for row in rows),
        ),
        gauges(
            "dagster_newest_success_seconds",
            "How long the job's newest successful run took.",
            ("job",),
            (((row["job"],), row["success_took_seconds"]) for row in rows),
        ),
    ]


def _ticks(rows: list[Row]) -> list[Metric]:
    newest: dict[tuple[str, str], float] = {}
    for row in rows:
        key = (row["name"], row["type"])
        newest[key] = max(newest.get(key, 0.0), row["newest_seconds"])
    return [
        gauges(
            "dagster_ticks",
            "Ticks within ten minutes of what is switched on, by outcome.",
            ("name", "type", "status"),
            (
                ((row["name"], row["type"], row["status"]), row["ticks_in_10_minutes"])
                for row in rows
            ),
        ),
        gauges(
            "dagster_newest_tick_timestamp_seconds",
            "When a sensor or schedule that is switched on ticked last.",
            ("name", "type"),
            newest.items(),
        ),
    ]


def _heartbeats(rows: list[Row]) -> list[Metric]:
    return [
        gauges(
            "dagster_daemon_heartbeat_timestamp_seconds",
            "The newest sign of life of each part of the daemon.",
            ("daemon",),
            (((row["daemon"],), row["beat_seconds"]) for row in rows),
        ),
        gauges(
            "dagster_daemon_errors",
            "Errors that a part of the daemon told with its newest sign of life.",
            ("daemon",),
            (((row["daemon"],), row["errors"]) for row in rows),
        ),
    ]


def _checks(rows: list[Row]) -> Metric:
    return gauges(
        "dagster_check_failed",
        "Whether the newest execution of an asset check failed.",
        ("asset", "check"),
        (((row["asset"], row["name"]), float(row["status"] == "FAILED")) for row in rows),
    )


def _size(rows: list[Row]) -> Metric:
    return gauges(
        "database_size_bytes",
        "Size of a database.",
        ("database",),
        (((row["database"],), row["bytes"]) for row in rows),
    )
