"""Metrics of Dagster: runs, queue, ticks, checks, and whether its daemon lives.

The facts come from `dagster_database.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.core import Metric

from forecast_assets.monitoring.dagster_database import DagsterDatabase
from forecast_assets.monitoring.families import gauges
from forecast_assets.planning.dagster_health import Row

#: States of a run that has not ended.
OPEN_STATES = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")

#: Label of a job of Dagster's: Prometheus sets `job` and `instance` itself, and renames a target's.
JOB = "dagster_job"


class DagsterSource:
    """Dagster's database as a source of metrics."""

    name = "dagster"

    def __init__(self, address: str) -> None:
        """Remember the address; the first scrape connects."""
        self._database = DagsterDatabase(address)

    def read(self) -> list[Metric]:
        """Return Dagster's metrics.

        Raises:
            SourceError: The database cannot be read.
        """
        facts = self._database.read()
        return [
            *_runs(facts.open_runs, facts.ended_runs),
            *_newest_runs(facts.newest_runs),
            *_ticks(facts.ticks),
            _switched_off(facts.switched_off),
            *_heartbeats(facts.heartbeats),
            _checks(facts.checks),
            _size(facts.size),
        ]

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


def _runs(unfinished: Sequence[Row], ended: Sequence[Row]) -> list[Metric]:
    return [
        gauges(
            "dagster_runs",
            "Runs that have not ended, by job and state.",
            (JOB, "status"),
            (((row["job"], row["status"]), row["runs"]) for row in unfinished),
        ),
        gauges(
            "dagster_oldest_run_timestamp_seconds",
            "When the oldest run that has not ended was created, by job and state.",
            (JOB, "status"),
            (((row["job"], row["status"]), row["oldest_seconds"]) for row in unfinished),
        ),
        gauges(
            "dagster_ended_runs",
            "Runs that ended within a day, by job and outcome.",
            (JOB, "status"),
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


def _newest_runs(rows: Sequence[Row]) -> list[Metric]:
    return [
        gauges(
            "dagster_newest_run_failed",
            "Whether the job's newest ended run failed.",
            (JOB,),
            (((row["job"],), float(row["status"] == "FAILURE")) for row in rows),
        ),
        gauges(
            "dagster_newest_run_ended_timestamp_seconds",
            "When the job's newest ended run ended.",
            (JOB,),
            (((row["job"],), row["ended_seconds"]) for row in rows),
        ),
        gauges(
            "dagster_newest_success_timestamp_seconds",
            "When the job's newest successful run ended.",
            (JOB,),
            (((row["job"],), row["succeeded_seconds"]) for row in rows),
        ),
        gauges(
            "dagster_newest_success_seconds",
            "How long the job's newest successful run took.",
            (JOB,),
            (((row["job"],), row["success_took_seconds"]) for row in rows),
        ),
    ]


def _ticks(rows: Sequence[Row]) -> list[Metric]:
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


def _switched_off(rows: Sequence[Row]) -> Metric:
    return gauges(
        "dagster_switched_off",
        "Sensors and schedules that a person has switched off: always 1.",
        ("name", "type"),
        (((row["name"], row["type"]), 1.0) for row in rows),
    )


def _heartbeats(rows: Sequence[Row]) -> list[Metric]:
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


def _checks(rows: Sequence[Row]) -> Metric:
    return gauges(
        "dagster_check_failed",
        "Whether the newest execution of an asset check failed.",
        ("asset", "check"),
        (((row["asset"], row["name"]), float(row["status"] == "FAILED")) for row in rows),
    )


def _size(rows: Sequence[Row]) -> Metric:
    return gauges(
        "database_size_bytes",
        "Size of a database.",
        ("database",),
        (((row["database"],), row["bytes"]) for row in rows),
    )
