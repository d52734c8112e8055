"""Growth of cost with the size of the chain: 1, 3 and 10 times 1,115 stores, over 8 months.

`python -m benchmarks.scale` makes up sales for each chain, loads them, and runs the jobs on
Dagster's PostgreSQL storage. Each step runs in a separate process, so that its time and peak memory
are measured alone. At the end it measures the sales database, its tables, and what Dagster's
records need. The last line is one JSON object.

`python -m benchmarks.scale --backtest [DATA]` measures one backtest over twelve months of 1,115
stores instead, on made-up sales or on Kaggle's files. The pooled model is trained before the twelve
months.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.common import range_tags, say, scratch
from local_stack.stack import Stack
from rossmann.sample_data import sample_files

STORES = 1_115
FIRST_DAY, LAST_DAY = date(2015, 1, 1), date(2015, 8, 31)
HISTORY_UNTIL = date(2015, 8, 30)
BACKFILLED = ("2015-06-01", "2015-07-01")
TRAINED_BEFORE = "2015-05-01"
NEWEST = "2015-08-01"
FACTORS = (1, 3, 10)

BACKTEST_CALENDAR = (date(2013, 1, 1), date(2015, 6, 30))
BACKTEST_MONTHS = ("2014-07-01", "2015-06-01")
BACKTEST_TRAINED = "2014-06-01"


def _execute(job: str, **arguments: Any) -> None:
    """Run a job in this process.

    Raises:
        SystemExit: The job failed.
    """
    import dagster as dg

    from forecast_assets.definitions import defs

    with dg.DagsterInstance.get() as instance:
        definition = defs().get_repository_def().get_job(job)
        if not definition.execute_in_process(instance=instance, **arguments).success:
            raise SystemExit(f"{job} failed")


def _run(job: str, first: str, last: str, *, refresh: bool) -> None:
    from forecast_assets.defs.scope import REFRESH_TAG

    tags = range_tags(first, last)
    if refresh:
        tags[REFRESH_TAG] = "true"
    _execute(job, tags=tags)


def _add_partitions(stores: int) -> None:
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("store", [str(s) for s in range(1, stores + 1)])


def _load_one_more_day(folder: Path) -> None:
    """Load the sales of the day after the history."""
    import pandas as pd

    from forecast_assets.settings import settings
    from rossmann import kaggle
    from warehouse import loading
    from warehouse.connection import Warehouse

    train = kaggle.read_train(folder)
    loading.load(
        Warehouse(settings().require_database_url()),
        stores=kaggle.read_stores(folder),
        sales=train[train["date"] > pd.Timestamp(HISTORY_UNTIL)],
        plans=train.iloc[:0],
        calendar=(FIRST_DAY, LAST_DAY),
    )


def steps(stores: int, folder: Path) -> dict[str, Callable[[], None]]:
    """Return the steps by name, in order; `MEASURED` lists the steps that are reported."""
    last = f"|{stores}"
    return {
        "partitions": lambda: _add_partitions(stores),
        "first refresh": lambda: _run("refresh", "2015-01-01|1", NEWEST + last, refresh=True),
        "training": lambda: _execute("train", partition_key=NEWEST),
        "first forecasts": lambda: _run("refresh", f"{NEWEST}|1", NEWEST + last, refresh=True),
        "one more day": lambda: _load_one_more_day(folder),
        "refresh": lambda: _run("refresh", f"{NEWEST}|1", NEWEST + last, refresh=True),
        "earlier training": lambda: _execute("train", partition_key=TRAINED_BEFORE),
        "backfill": lambda: _run(
            "refresh", f"{BACKFILLED[0]}|1", BACKFILLED[1] + last, refresh=False
        ),
    }


def backtest_steps(stores: int) -> dict[str, Callable[[], None]]:
    """Return the steps up to the backtest of twelve months, by name, in order."""
    first, last = BACKTEST_MONTHS
    return {
        "partitions": lambda: _add_partitions(stores),
        "history": lambda: _run(
            "refresh", f"{BACKTEST_CALENDAR[0]}|1", f"{last}|{stores}", refresh=True
        ),
        "pooled model": lambda: _execute("train", partition_key=BACKTEST_TRAINED),
        "backtest": lambda: _run("refresh", f"{first}|1", f"{last}|{stores}", refresh=False),
        "backtest again": lambda: _run("refresh", f"{first}|1", f"{last}|{stores}", refresh=False),
    }


#: Size from which a table is reported.
SHOWN_MB = 1
#: A partitioned table counts with its partitions.
_TABLE_SIZES = """
SELECT coalesce(parent.inhparent, part.oid)::regclass::text,
    sum(pg_total_relation_size(part.oid))::bigint
FROM pg_class part LEFT JOIN pg_inherits parent ON parent.inhrelid = part.oid
WHERE part.relnamespace = 'sales'::regnamespace AND part.relkind = 'r'
GROUP BY 1 ORDER BY 2 DESC
"""
_RECORD_SIZES = """
SELECT pg_database_size('dagster'),
    (SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION')
"""

MEASURED = ("load", "first refresh", "training", "first forecasts", "refresh", "backfill")
UNMEASURED = ("partitions", "one more day", "earlier training")


def one_chain(factor: int, folder: Path) -> dict[str, dict[str, float]]:
    """Run all steps on one chain; return the seconds and the peak MB of each."""
    stores = STORES * factor
    calendar = (FIRST_DAY, LAST_DAY)
    data = _make_up(stores, calendar, folder)
    return _run_steps(stores, data, folder, calendar, HISTORY_UNTIL, list(steps(stores, data)))


def backtest(data: Path | None, folder: Path) -> dict[str, Any]:
    """Backtest twelve months of 1,115 stores in one run; return the JSON object."""
    data = data.resolve() if data else _make_up(STORES, BACKTEST_CALENDAR, folder)
    until = BACKTEST_CALENDAR[1]
    names = list(backtest_steps(STORES))
    costs = _run_steps(STORES, data, folder, BACKTEST_CALENDAR, until, names)
    return {
        name: {key: round(value, 1) for key, value in cost.items()} for name, cost in costs.items()
    }


def _make_up(stores: int, calendar: tuple[date, date], folder: Path) -> Path:
    """Make up sales in a separate process; return the folder that holds them.

    A child's peak memory starts at its parent's, so this process must stay small.
    """
    first, last = calendar
    process = get_context("spawn").Process(
        target=_write_sample, args=(stores, (last - first).days + 1, last, folder / "data")
    )
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("could not make up the sales")
    return folder / "data"


def _write_sample(stores: int, days: int, last: date, folder: Path) -> None:
    sample_files(stores, days, last, seed=1).write(folder)


def _run_steps(
    stores: int,
    data: Path,
    folder: Path,
    calendar: tuple[date, date],
    until: date,
    names: list[str],
) -> dict[str, dict[str, float]]:
    """Load sales into a temporary stack and run steps; return seconds and peak MB of each."""
    costs: dict[str, dict[str, float]] = {}
    with Stack.temporary(folder / "stack", {"postgres"}, calendar=calendar) as stack:
        stack.dagster.prepare()
        environment = stack.component_environment("dagster") | {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"
        }
        load = ["forecast_assets", "load", f"--data={data}", f"--until={until}"]
        costs["load"] = _measure(load, stack.component_environment("loader"), folder)
        for name in names:
            step = [__spec__.name, "--step", name, "--stores", str(stores), "--folder", str(data)]
            costs[name] = _measure(step, environment, folder)
            if name not in UNMEASURED:
                say(
                    f"{stores:>7,} stores: {name}: {costs[name]['seconds']:.1f} s, "
                    f"{costs[name]['mb']:,.0f} MB"
                )
        with stack.postgres.admin_connection("sales") as connection:
            row = connection.execute("SELECT pg_database_size('sales')").fetchone()
        costs["database"] = {"mb": row[0] / 1e6 if row else float("nan")}
        costs |= _sizes(stack)
    return costs


def _sizes(stack: Stack) -> dict[str, dict[str, float]]:
    """Return MB, rows and bytes per row, indexes included, of each table over `SHOWN_MB`.

    For Dagster, the rows are the materializations, and the size is that of its whole database.
    """
    sizes = {}
    with stack.postgres.admin_connection("sales") as connection:
        for table, size in connection.execute(_TABLE_SIZES).fetchall():
            if size > SHOWN_MB * 1e6:
                (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
                sizes[table] = (size, rows)
    with stack.postgres.admin_connection("dagster") as connection:
        sizes["dagster"] = connection.execute(_RECORD_SIZES).fetchone() or (0, 0)
    figures = {}
    for name, (size, rows) in sizes.items():
        figures[f"table {name}"] = {
            "mb": float(size) / 1e6, "rows": rows, "bytes_per_row": float(size) / max(rows, 1)
        }  # fmt: skip
        say(
            f"{name}: {size / 1e6:,.0f} MB, {rows:,} rows, {float(size) / max(rows, 1):,.0f} B each"
        )
    return figures


def _measure(module: list[str], environment: dict[str, str], folder: Path) -> dict[str, float]:
    """Run a module in a process; return its seconds and its peak memory in MB.

    Raises:
        SystemExit: The process failed.
    """
    log = folder / "step.log"
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            env=environment,
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(module[:3])} failed: {log.read_text()[-2000:]}")
    return {"seconds": time.monotonic() - start, "mb": usage.ru_maxrss / 1024}


def summarize(costs: dict[int, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Print the table; return the JSON object."""
    say(f"\n8 months, {os.cpu_count()} cores")
    factors = list(costs)
    heads = "".join(f"{STORES * factor:>12,} stores" for factor in factors)
    say(f"{'':18}{heads}")
    for name in (*MEASURED, "database"):
        cells = ""
        for factor in factors:
            seconds, mb = costs[factor][name].get("seconds"), costs[factor][name]["mb"]
            shown = f"{seconds:.1f} s " if seconds is not None else ""
            cells += f"{shown + f'{mb:,.0f} MB':>19}"
        say(f"{name:18}{cells}")
    first, last = factors[0], factors[-1]
    return {
        "stores": [STORES * factor for factor in factors],
        "seconds": {
            name: [round(costs[factor][name]["seconds"], 1) for factor in factors]
            for name in MEASURED
        },
        "peak_mb": {
            name: [round(costs[factor][name]["mb"]) for factor in factors] for name in MEASURED
        },
        "database_mb": [round(costs[factor]["database"]["mb"]) for factor in factors],
        "bytes_per_row": {
            name.removeprefix("table "): round(figures["bytes_per_row"])
            for name, figures in costs[last].items()
            if name.startswith("table ")
        },
        f"times_x{last}": {
            name: round(costs[last][name]["seconds"] / costs[first][name]["seconds"], 1)
            for name in MEASURED
        },
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--factors", type=int, nargs="*", default=list(FACTORS))
    parser.add_argument(
        "--backtest", nargs="?", const="", metavar="DATA", help="backtest twelve months instead"
    )
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--stores", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        every_step = steps(arguments.stores, arguments.folder) | backtest_steps(arguments.stores)
        every_step[arguments.step]()
        return
    if arguments.backtest is not None:
        with scratch() as folder:
            data = Path(arguments.backtest) if arguments.backtest else None
            say(json.dumps(backtest(data, folder)))
        return
    costs = {}
    for factor in arguments.factors:
        with scratch() as folder:
            costs[factor] = one_chain(factor, folder)
    say(json.dumps(summarize(costs)))


if __name__ == "__main__":
    main()
