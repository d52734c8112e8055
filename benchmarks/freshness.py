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
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.chain import Chain, forecast_chain
from benchmarks.common import say, scratch
from local_stack.http import graphql

HISTORY_DAYS = 900
BURST_DAYS = 10
CORRECTIONS = 5

_RUNS = """
{ runsOrError(filter: {pipelineName: "refresh"}, limit: 200) { ... on Runs { results {
    runId creationTime startTime endTime status
} } } }
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


def measure_day(chain: Chain, day: date) -> Measured:
    """Sends a day and measures until every store's forecasts have seen it."""
    acknowledged = chain.send_alone(chain.plan.rows_of(day))
    chain.wait_for_forecasts(day)
    return _measured(chain, acknowledged)


def measure_correction(chain: Chain, row: pd.DataFrame) -> float:
    """Sends another event for a store's newest day; returns seconds to new forecasts."""
    chain.wait(chain.is_idle, "the end of the refresh before")
    before = _refreshes(chain)
    acknowledged = chain.send(row)
    chain.wait(
        lambda: _refreshes(chain) > before and chain.is_settled(), "a correction's forecasts"
    )
    return _measured(chain, acknowledged).total


def measure_burst(chain: Chain, days: list[date]) -> tuple[int, float]:
    """Sends days at once; returns how many refreshes they took, and the seconds."""
    before = _refreshes(chain)
    acknowledged = chain.send(pd.concat([chain.plan.rows_of(day) for day in days]))
    chain.wait_for_forecasts(days[-1])
    chain.wait(chain.is_settled, "the refresh to end")
    return _refreshes(chain) - before, time.time() - acknowledged


def _refreshes(chain: Chain) -> int:
    return int(chain.row("SELECT count(*) AS count FROM sales.refreshes")["count"])


def _measured(chain: Chain, acknowledged: float) -> Measured:
    # What was committed is older than the look at it: the database's own times count.
    refresh = chain.row(
        "SELECT refresh_id, started_at, finished_at, timings FROM sales.refreshes "
        "WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1"
    )
    landed = chain.row(
        "SELECT max(made_at) AS at FROM sales.changes WHERE kind = 'stream' AND refresh_id = %s",
        refresh["refresh_id"],
    )["at"]
    runs = graphql(chain.stack.dagster.graphql_url(), _RUNS)["runsOrError"]["results"]
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


def measure(data: Path | None, stores: int, days: int, folder: Path) -> dict[str, Any]:
    """Runs the benchmark on a stack of its own; returns the JSON object."""
    with forecast_chain(data, stores, HISTORY_DAYS, days + BURST_DAYS, folder) as chain:
        plan = chain.plan
        measured = []
        for day in plan.live_days[:days]:
            measured.append(measure_day(chain, day))
            chain.wait(chain.is_settled, "the refresh to end")
            say(f"{day}: {measured[-1].total:.1f} s")
        newest = plan.rows_of(plan.live_days[days - 1])
        open_rows = newest[newest["Sales"] > 0]
        corrections = []
        for k in range(CORRECTIONS):
            row = open_rows.iloc[[k * len(open_rows) // CORRECTIONS]]
            corrections.append(measure_correction(chain, row.assign(Sales=row["Sales"] + 1)))
            say(f"one store's correction: {corrections[-1]:.1f} s")
        runs, seconds = measure_burst(chain, plan.live_days[days:])
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
