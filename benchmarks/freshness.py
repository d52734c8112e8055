"""Freshness: the seconds from a day's last event to the forecasts that include the day's sales.

`python -m benchmarks.freshness --days 20` starts the whole stack on made-up sales of 1,115 stores
(or on Kaggle's files in `--data`) and sends one day after the other. Then it corrects single stores
and sends ten days at once. Then it sends more days on Dagster's stock settings, with the same
assets and the same data. At the end, it sends more days while a challenger is trained. The last
line is one JSON object.

The durations:

- **A day** (`p50_s`) runs from Kafka's acknowledgement of the day's last event to the commit that
  makes the forecasts of all stores visible, as the database records it. The next day is sent when
  no refresh runs.
- **A stock day** (`stock_p50_s`) is measured in the same way on stock settings.
- **A day beside training** (`beside_training_p50_s`) is measured in the same way while the
  challenger is trained at low priority. Days that end after the training do not count.
- **Stock settings** are dagster-postgres's storage, Dagster's default run launcher, and the default
  event settings; see `benchmarks.stock`.
- **An empty stock run** (`empty_stock_run_p50_s`) runs from the moment at which a sensor's
  `RunRequest` becomes a run to the run's `SUCCESS`, both as Dagster records them. Its job has one
  step that does nothing; the other services are up, as they are during a day.

The ratios are `vs_stock` (stock day / day), `vs_empty_stock_run` (day / empty stock run; aim: at
most 1.3) and `beside_training` (day beside training / day; aim: at most 1.33). They compare medians
of one run on one machine.
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

from benchmarks.chain import PATIENCE_SECONDS, Chain, forecast_chain
from benchmarks.common import say, scratch
from benchmarks.empty_run import JOB as EMPTY_JOB

HISTORY_DAYS = 900
BURST_DAYS = 10
CORRECTIONS = 5
EMPTY_RUNS = 5
CHALLENGER = "stack"
TRAINING_JOB = "train"

_RUNS = """
{ runsOrError(filter: {pipelineName: "%s"}, limit: 200) { ... on Runs { results {
    runId creationTime startTime endTime status
} } } }
"""


@dataclass(frozen=True)
class DayTimes:
    """Seconds that one refresh took to make forecasts visible, in total and by part.

    Attributes:
        total: Seconds from the acknowledgement to the commit of the forecasts.
        stream: Seconds from the acknowledgement until the last event was in PostgreSQL.
        sensor: Seconds from then until the sensor's run was created.
        start: Seconds from then until the run claimed its changes.
        assets: Asset -> seconds that it took.
    """

    total: float
    stream: float
    sensor: float
    start: float
    assets: dict[str, float]

    def parts(self) -> dict[str, float]:
        """Return the seconds by part; they add up to the total."""
        parts = {
            "stream": self.stream,
            "wait for the sensor": self.sensor,
            "run start": self.start,
            **self.assets,
        }
        return parts | {"events and steps": self.total - sum(parts.values())}


@dataclass(frozen=True)
class Measurements:
    """Everything that one run of the benchmark measured; times in seconds."""

    stores: int
    days: list[DayTimes]
    corrections: list[float]
    burst_refreshes: int
    stock_days: list[DayTimes]
    empty_stock_runs: list[float]
    days_beside_training: list[DayTimes]


def measure_days(chain: Chain, days: list[date], label: str) -> list[DayTimes]:
    """Send one day after the other; return the times of each day."""
    times = []
    for day in days:
        acknowledged = chain.send_alone(chain.plan.rows_of(day))
        chain.wait_for_forecasts(day)
        times.append(_newest_refresh(chain, acknowledged))
        chain.wait(chain.is_settled, "the end of the refresh")
        say(f"{label}{day}: {times[-1].total:.1f} s")
    return times


def measure_corrections(chain: Chain, day: date) -> list[float]:
    """Correct a day's sales of one store after the other; return the seconds to new forecasts."""
    rows = chain.plan.rows_of(day)
    rows = rows[rows["Sales"] > 0]
    seconds = []
    for k in range(CORRECTIONS):
        row = rows.iloc[[k * len(rows) // CORRECTIONS]]
        chain.wait(chain.is_idle, "the end of the previous refresh")
        seconds.append(_measure_correction(chain, row.assign(Sales=row["Sales"] + 1)))
        say(f"correction of one store: {seconds[-1]:.1f} s")
    return seconds


def _measure_correction(chain: Chain, row: pd.DataFrame) -> float:
    before = _count_refreshes(chain)
    acknowledged = chain.send(row)
    chain.wait(
        lambda: _count_refreshes(chain) > before and chain.is_settled(),
        "the forecasts of a correction",
    )
    return _newest_refresh(chain, acknowledged).total


def measure_burst(chain: Chain, days: list[date]) -> int:
    """Send several days at once; return the number of refreshes that they took."""
    before = _count_refreshes(chain)
    acknowledged = chain.send(pd.concat([chain.plan.rows_of(day) for day in days]))
    chain.wait_for_forecasts(days[-1])
    chain.wait(chain.is_settled, "the end of the refresh")
    refreshes = _count_refreshes(chain) - before
    say(f"{len(days)} days at once: {refreshes} refreshes, {time.time() - acknowledged:.1f} s")
    return refreshes


def measure_beside_training(chain: Chain, days: list[date]) -> list[DayTimes]:
    """Send days while a challenger is trained; return the times of days that ended before it.

    Raises:
        SystemExit: The training ended before the forecasts of the first day.
    """

    def is_training() -> bool:
        return any(run["status"] == "STARTED" for run in _runs(chain, TRAINING_JOB))

    chain.stack.train_challenger(CHALLENGER)
    chain.wait(is_training, "the training of the challenger")
    times = []
    for day in days:
        seconds = measure_days(chain, [day], "beside a training, ")
        if not is_training():
            break
        times += seconds
    if not times:
        raise SystemExit(
            "the challenger's training ended before the first day's forecasts: use more stores"
        )
    return times


def measure_empty_stock_runs(chain: Chain) -> list[float]:
    """Let a stock daemon run an empty job; return the seconds of each run."""

    def finished() -> list[dict[str, Any]]:
        return [run for run in _runs(chain, EMPTY_JOB) if run["status"] == "SUCCESS"]

    chain.wait(chain.is_idle, "the end of the previous refresh")
    daemon = chain.stack.start_empty_runs()
    chain.stack.processes.wait_until_ready(
        daemon, lambda: len(finished()) >= EMPTY_RUNS, PATIENCE_SECONDS, "having run the empty job"
    )
    seconds = [run["endTime"] - run["creationTime"] for run in finished()]
    chain.stack.stop_service(daemon.name)
    say("empty stock runs: " + ", ".join(f"{each:.1f} s" for each in seconds))
    return seconds


def _count_refreshes(chain: Chain) -> int:
    return int(chain.row("SELECT count(*) AS count FROM sales.refreshes")["count"])


def _runs(chain: Chain, job: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = chain.dagster(_RUNS % job)["runsOrError"]["results"]
    return runs


def _newest_refresh(chain: Chain, acknowledged: float) -> DayTimes:
    """Return the times of the newest finished refresh.

    Args:
        chain: The chain.
        acknowledged: When Kafka acknowledged the last event (epoch seconds).
    """
    # The polling is too coarse to measure with, so the times come from the database.
    refresh = chain.row(
        "SELECT refresh_id, started_at, finished_at, timings FROM sales.refreshes "
        "WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1"
    )
    landed = chain.row(
        "SELECT max(made_at) AS at FROM sales.changes WHERE kind = 'stream' AND refresh_id = %s",
        refresh["refresh_id"],
    )["at"]
    (run,) = [run for run in _runs(chain, "refresh") if run["runId"] == refresh["refresh_id"]]
    created = datetime.fromtimestamp(run["creationTime"], UTC)
    acknowledged_at = datetime.fromtimestamp(acknowledged, UTC)
    return DayTimes(
        total=(refresh["finished_at"] - acknowledged_at).total_seconds(),
        stream=(landed - acknowledged_at).total_seconds(),
        sensor=(created - landed).total_seconds(),
        start=(refresh["started_at"] - created).total_seconds(),
        assets=dict(refresh["timings"]),
    )


def measure(
    data: Path | None, stores: int, days_by_phase: tuple[int, int, int], folder: Path
) -> Measurements:
    """Run the benchmark on a stack of its own.

    Args:
        data: A folder with Kaggle's files; None makes up sales.
        stores: Number of made-up stores.
        days_by_phase: Numbers of days to send on this project's settings, on stock settings, and
            beside a training.
        folder: Folder for the stack and the data.
    """
    days, stock_days, training_days = days_by_phase
    live_days = days + BURST_DAYS + stock_days + training_days
    with forecast_chain(data, stores, HISTORY_DAYS, live_days, folder) as chain:
        live = chain.plan.live_days
        here = measure_days(chain, live[:days], "")
        corrections = measure_corrections(chain, live[days - 1])
        refreshes = measure_burst(chain, live[days : days + BURST_DAYS])
        rest = live[days + BURST_DAYS :]
        chain.wait(chain.is_idle, "the end of the previous refresh")
        chain.stack.switch_to_stock()
        return Measurements(
            stores=chain.plan.stores,
            days=here,
            corrections=corrections,
            burst_refreshes=refreshes,
            stock_days=measure_days(chain, rest[:stock_days], "stock settings, "),
            empty_stock_runs=measure_empty_stock_runs(chain),
            days_beside_training=measure_beside_training(chain, rest[stock_days:]),
        )


def summarize(measured: Measurements) -> dict[str, Any]:
    """Print the table; return the JSON object."""
    totals = [each.total for each in measured.days]
    here, p95 = statistics.median(totals), float(np.quantile(totals, 0.95))
    stock = statistics.median(each.total for each in measured.stock_days)
    empty = statistics.median(measured.empty_stock_runs)
    beside = statistics.median(each.total for each in measured.days_beside_training)
    parts = pd.DataFrame([each.parts() for each in measured.days]).fillna(0.0)
    stock_parts = pd.DataFrame([each.parts() for each in measured.stock_days]).fillna(0.0)
    say(
        f"\n{measured.stores:,} stores, {len(totals)} days one after another, "
        f"{len(measured.stock_days)} on stock settings, {os.cpu_count()} cores"
    )
    say(f"{'part':22} {'median s':>9} {'p95 s':>9} {'stock s':>9}")
    for name, values in parts.items():
        say(
            f"{name!s:22} {values.median():9.2f} {values.quantile(0.95):9.2f} "
            f"{stock_parts[name].median():9.2f}"
        )
    say(f"{'all':22} {here:9.2f} {p95:9.2f} {stock:9.2f}")
    say(f"beside a training ({len(measured.days_beside_training)} days): {beside:.2f} s")
    say(f"an empty run on stock settings: {empty:.2f} s")
    return {
        "stores": measured.stores,
        "days": len(totals),
        "p50_s": round(here, 2),
        "p95_s": round(p95, 2),
        "stock_p50_s": round(stock, 2),
        "empty_stock_run_p50_s": round(empty, 2),
        "beside_training_p50_s": round(beside, 2),
        "vs_stock": round(stock / here, 2),
        "vs_empty_stock_run": round(here / empty, 2),
        "beside_training": round(beside / here, 2),
        "correction_p50_s": round(statistics.median(measured.corrections), 2),
        "correction_max_s": round(max(measured.corrections), 2),
        f"refreshes_for_{BURST_DAYS}_days_at_once": measured.burst_refreshes,
        "parts_p50_s": {str(name): round(values.median(), 2) for name, values in parts.items()},
        "stock_parts_p50_s": {
            str(name): round(values.median(), 2) for name, values in stock_parts.items()
        },
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.freshness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="a folder with Kaggle's files")
    parser.add_argument("--stores", type=int, default=1_115)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument(
        "--training-days", type=int, default=3, help="number of days beside a training"
    )
    parser.add_argument(
        "--stock-days",
        type=int,
        default=1,
        help="number of days on stock settings; each takes minutes",
    )
    arguments = parser.parse_args()
    with scratch() as folder:
        days = (arguments.days, arguments.stock_days, arguments.training_days)
        measured = measure(arguments.data, arguments.stores, days, folder)
    say(json.dumps(summarize(measured)))


if __name__ == "__main__":
    main()
