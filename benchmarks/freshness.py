"""From the last event of a day to the forecasts that have seen it, day after day.

`python -m benchmarks.freshness --days 20` starts the whole stack on made-up sales of 1,115 stores
(or on Kaggle's files in `--data`), then sends one day after the other. A day's time runs from the
broker's acknowledgement of its last event to the commit that makes all its forecasts visible; the
next day is sent when that refresh has ended. Then single stores are corrected, and ten days are
sent at once. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
from psycopg.rows import dict_row
from rich.console import Console

from benchmarks.common import say, scratch
from local_stack.dagster_processes import DAEMON
from local_stack.data_plan import DataPlan, plan_of_files
from local_stack.demo import load
from local_stack.http import graphql
from local_stack.report import Report
from local_stack.sample_data import sample_files
from local_stack.stack import SERVICES, TOPIC, Stack
from streaming_job.producer import produce

LAST_DAY = date(2015, 6, 19)
HISTORY_DAYS = 900
BURST_DAYS = 10
CORRECTIONS = 5
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 900.0

_RUNS = """
{ runsOrError(filter: {pipelineName: "refresh"}, limit: 200) { ... on Runs { results {
    runId creationTime startTime endTime status
} } } }
"""


_UNDER_WAY = """
{ runsOrError(filter: {pipelineName: "refresh", statuses: [QUEUED, STARTING, STARTED]}) {
    ... on Runs { results { runId } }
} }
"""


@dataclass(frozen=True)
class Measured:
    """One refresh, in seconds after the acknowledgement."""

    total: float
    stream: float
    sensor: float
    start: float
    assets: dict[str, float]

    def parts(self) -> dict[str, float]:
        """Where the time went."""
        parts = {
            "stream": self.stream,
            "wait for the sensor": self.sensor,
            "run start": self.start,
            **self.assets,
        }
        return parts | {"events and steps": self.total - sum(parts.values())}


class Bench:
    """A running stack with forecasts of its whole history, and the days still to come."""

    def __init__(self, stack: Stack, plan: DataPlan) -> None:
        """Opens the connections that measure.

        Args:
            stack: All services run.
            plan: The data; its live days have not been sent.
        """
        self.stack, self.plan = stack, plan
        self.report = Report(stack.environment["READER_DATABASE_URL"])
        self.database = psycopg.connect(
            stack.environment["READER_DATABASE_URL"], autocommit=True, row_factory=dict_row
        )

    def send(self, rows: pd.DataFrame) -> float:
        """Sends events; returns the time (epoch) at which the last was acknowledged."""
        produce(rows, bootstrap_servers=self.stack.kafka.bootstrap_servers, topic=TOPIC)
        return time.time()

    def wait(self, done: Callable[[], bool], what: str) -> float:
        """Waits for a condition; returns the time (epoch) at which it was seen."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise SystemExit(f"waited {PATIENCE_SECONDS:.0f} s for {what}")
            time.sleep(POLL_SECONDS)
        return time.time()

    def quiet(self) -> bool:
        """Whether no change is open."""
        return not self.report.progress().open_changes

    def idle(self) -> bool:
        """Whether no refresh runs: what it does after its forecasts is no part of the next day."""
        return not graphql(self.stack.dagster.graphql_url(), _UNDER_WAY)["runsOrError"]["results"]

    def day(self, day: date) -> Measured:
        """Sends a day and measures until every store's forecasts have seen it."""
        self.wait(self.idle, "the end of the refresh before")
        rows = self.plan.rows_of(day)
        acknowledged = self.send(rows)
        stores = rows["Store"].nunique()
        self.wait(lambda: self.report.stores_with_origin(day) >= stores, f"forecasts from {day}")
        return self._measured(acknowledged)

    def correction(self, row: pd.DataFrame) -> float:
        """Sends another event for a store's newest day; returns seconds to new forecasts."""
        self.wait(self.idle, "the end of the refresh before")
        before = self._refreshes()
        acknowledged = self.send(row)
        self.wait(lambda: self._refreshes() > before and self.quiet(), "a correction's forecasts")
        return self._measured(acknowledged).total

    def burst(self, days: list[date]) -> tuple[int, float]:
        """Sends days at once; returns how many refreshes they took, and the seconds."""
        before = self._refreshes()
        acknowledged = self.send(pd.concat([self.plan.rows_of(day) for day in days]))
        stores = self.plan.rows_of(days[-1])["Store"].nunique()
        self.wait(
            lambda: self.report.stores_with_origin(days[-1]) >= stores and self.quiet(),
            "forecasts from the last of several days",
        )
        return self._refreshes() - before, time.time() - acknowledged

    def _refreshes(self) -> int:
        return int(self._row("SELECT count(*) AS count FROM sales.refreshes")["count"])

    def _measured(self, acknowledged: float) -> Measured:
        # What was committed is older than the look at it: the database's own times count.
        refresh = self._row(
            "SELECT refresh_id, started_at, finished_at, timings FROM sales.refreshes "
            "WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1"
        )
        landed = self._row(
            "SELECT max(made_at) AS at FROM sales.changes WHERE kind = 'stream' "
            "AND refresh_id = %s",
            refresh["refresh_id"],
        )["at"]
        runs = graphql(self.stack.dagster.graphql_url(), _RUNS)["runsOrError"]["results"]
        (run,) = [run for run in runs if run["runId"] == refresh["refresh_id"]]
        created = datetime.fromtimestamp(run["creationTime"], UTC)
        acknowledged_at = datetime.fromtimestamp(acknowledged, UTC)

        def seconds(begin: datetime, end: datetime) -> float:
            return (end - begin).total_seconds()

        return Measured(
            total=seconds(acknowledged_at, refresh["finished_at"]),
            stream=seconds(acknowledged_at, landed),
            sensor=seconds(landed, created),
            start=seconds(created, refresh["started_at"]),
            assets=dict(refresh["timings"]),
        )

    def _row(self, query: str, *parameters: object) -> dict[str, Any]:
        (row,) = self.database.execute(query.encode(), parameters).fetchall()
        return row


def measure(data: Path | None, stores: int, days: int, folder: Path) -> dict[str, Any]:
    """Runs the benchmark on a stack of its own; returns the JSON object."""
    console = Console()
    live = days + BURST_DAYS
    if data is None:
        data = folder / "data"
        sample_files(stores, HISTORY_DAYS + live, LAST_DAY, seed=1).write(data)
    plan = plan_of_files(data, live)
    with Stack.start(folder / "stack", {"postgres"}, calendar=plan.calendar) as stack:
        load(stack, plan, console)
        stack.start_services(SERVICES - {DAEMON})
        began = time.monotonic()
        stack.start_services(SERVICES)
        bench = Bench(stack, plan)

        def forecast() -> bool:
            progress = bench.report.progress()
            return progress.trained and progress.stores > 0 and not progress.open_changes

        bench.wait(forecast, "the first forecasts")
        say(f"{plan.stores:,} stores; first refresh and training {time.monotonic() - began:.1f} s")
        measured = []
        for day in plan.live_days[:days]:
            measured.append(bench.day(day))
            bench.wait(bench.quiet, "the refresh to end")
            say(f"{day}: {measured[-1].total:.1f} s")
        newest = plan.rows_of(plan.live_days[days - 1])
        open_rows = newest[newest["Sales"] > 0]
        corrections = []
        for k in range(CORRECTIONS):
            row = open_rows.iloc[[k * len(open_rows) // CORRECTIONS]]
            corrections.append(bench.correction(row.assign(Sales=row["Sales"] + 1)))
            say(f"one store's correction: {corrections[-1]:.1f} s")
        runs, seconds = bench.burst(plan.live_days[days:])
        say(f"{BURST_DAYS} days at once: {runs} refreshes, {seconds:.1f} s")
    return summary(plan.stores, measured, corrections, runs)


def summary(
    stores: int, measured: list[Measured], corrections: list[float], burst_runs: int
) -> dict[str, Any]:
    """The table, printed, and the JSON object."""
    totals = [each.total for each in measured]
    say(f"\n{stores:,} stores, {len(totals)} days one after another, {os.cpu_count()} cores")
    parts = pd.DataFrame([each.parts() for each in measured]).fillna(0.0)
    say(f"{'part':22} {'median s':>9} {'p95 s':>9}")
    for name, values in parts.items():
        say(f"{name!s:22} {values.median():9.2f} {values.quantile(0.95):9.2f}")
    say(f"{'all':22} {statistics.median(totals):9.2f} {np.quantile(totals, 0.95):9.2f}")
    return {
        "stores": stores,
        "days": len(totals),
        "p50_s": round(statistics.median(totals), 2),
        "p95_s": round(float(np.quantile(totals, 0.95)), 2),
        "correction_p50_s": round(statistics.median(corrections), 2),
        "correction_max_s": round(max(corrections), 2),
        "refreshes_for_10_days_at_once": burst_runs,
        "parts_p50_s": {str(name): round(values.median(), 2) for name, values in parts.items()},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freshness", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder with Kaggle's files")
    parser.add_argument("--stores", type=int, default=1_115)
    parser.add_argument("--days", type=int, default=20)
    arguments = parser.parse_args()
    with scratch() as folder:
        found = measure(arguments.data, arguments.stores, arguments.days, folder)
    say(json.dumps(found))


if __name__ == "__main__":
    main()
