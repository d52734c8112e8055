"""Rules about Dagster itself: its daemon, queue, runs, sensors and checks.

Pure functions for `make doctor`. Prometheus has the same rules with the same bounds in
`deploy/monitoring/alerts.yml`, because it also knows how long something has lasted; a test compares
the bounds. Rules about sales and forecasts are in `health.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

#: Seconds without a heartbeat after which the daemon counts as dead; it writes every 30.
DAEMON_SILENCE_SECONDS = 180
#: Seconds that a run may be queued while none is running.
QUEUED_SECONDS = 600
#: Seconds that a run may take.
RUN_SECONDS = 6 * 3600
#: Seconds without a tick after which a sensor that is on counts as silent, and after which it
#: counts as one that the code no longer has.
SENSOR_SILENCE_SECONDS, FORGOTTEN_SECONDS = 600, 86_400


@dataclass(frozen=True)
class DagsterFacts:
    """What the functions of `deploy/postgres/dagster_reader.sql` return, by their names."""

    open_runs: Sequence[Row] = ()
    ended_runs: Sequence[Row] = ()
    newest_runs: Sequence[Row] = ()
    ticks: Sequence[Row] = ()
    switched_off: Sequence[Row] = ()
    heartbeats: Sequence[Row] = ()
    checks: Sequence[Row] = ()
    size: Sequence[Row] = ()


@dataclass(frozen=True)
class DagsterProblem:
    """A rule that is violated.

    Attributes:
        alert: The alert of the same rule; its entry in docs/operations.md says what to do.
        says: What is wrong.
        is_urgent: Whether planners get no or wrong numbers because of it.
    """

    alert: str
    says: str
    is_urgent: bool = False


def dagster_problems(facts: DagsterFacts, now: float) -> list[DagsterProblem]:
    """Apply every rule.

    Args:
        facts: What was read.
        now: The time of the reading, in Unix seconds.
    """
    return [
        *_daemon(facts, now),
        *_runs(facts, now),
        *_ticks(facts, now),
        *(
            DagsterProblem("CheckFailed", f"the check {row['name']} of {row['asset']} failed")
            for row in facts.checks
            if row["status"] == "FAILED"
        ),
    ]


def _daemon(facts: DagsterFacts, now: float) -> list[DagsterProblem]:
    if not facts.heartbeats:
        return [DagsterProblem("DaemonDead", "the daemon has never run", is_urgent=True)]
    silent = {
        row["daemon"]: now - row["beat_seconds"]
        for row in facts.heartbeats
        if now - row["beat_seconds"] > DAEMON_SILENCE_SECONDS
    }
    found = []
    if silent:
        found.append(
            DagsterProblem(
                "DaemonDead",
                f"the daemon has shown no life for {_duration(max(silent.values()))} "
                f"({', '.join(sorted(silent))})",
                is_urgent=True,
            )
        )
    return found + [
        DagsterProblem("DaemonDead", f"the daemon's part {row['daemon']} tells errors")
        for row in facts.heartbeats
        if row["errors"] and row["daemon"] not in silent
    ]


def _runs(facts: DagsterFacts, now: float) -> list[DagsterProblem]:
    ages: dict[str, list[tuple[float, str]]] = {}
    for row in facts.open_runs:
        ages.setdefault(row["status"], []).append((now - row["oldest_seconds"], row["job"]))
    found = []
    queued = max(ages.get("QUEUED", []), default=None)
    is_busy = "STARTING" in ages or "STARTED" in ages
    if queued is not None and queued[0] > QUEUED_SECONDS and not is_busy:
        found.append(
            DagsterProblem(
                "QueueStuck",
                f"a run of {queued[1]} has been queued for {_duration(queued[0])}, and none runs",
                is_urgent=True,
            )
        )
    found += [
        DagsterProblem("RunLong", f"a run of {job} is {_duration(age)} old")
        for age, job in ages.get("STARTED", [])
        if age > RUN_SECONDS
    ]
    return found + [
        DagsterProblem("RunFailed", f"the newest run of {row['job']} failed")
        for row in facts.newest_runs
        if row["status"] == "FAILURE"
    ]


def _ticks(facts: DagsterFacts, now: float) -> list[DagsterProblem]:
    failures = Counter[str]()
    newest: dict[str, float] = {}
    for row in facts.ticks:
        if row["status"] == "FAILURE":
            failures[row["name"]] += row["ticks_in_10_minutes"]
        if row["type"] == "SENSOR":
            newest[row["name"]] = max(newest.get(row["name"], 0.0), row["newest_seconds"])
    return [
        DagsterProblem("SensorFailing", f"{count} ticks of {name} failed within ten minutes")
        for name, count in failures.items()
        if count
    ] + [
        DagsterProblem("SensorSilent", f"{name} has not ticked for {_duration(now - last)}")
        for name, last in newest.items()
        if SENSOR_SILENCE_SECONDS < now - last < FORGOTTEN_SECONDS
    ]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 180 else f"{round(seconds / 3600)} hours"
