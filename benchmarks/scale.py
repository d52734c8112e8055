"""How cost grows with the chain: 1, 3 and 10 times 1,115 stores over 8 months.

`python -m benchmarks.scale` makes sales of each chain, loads them, and lets the jobs run on
Dagster's PostgreSQL storage, each step in a process of its own: seconds, peak memory of the
process, and size of the sales database. The last line is one JSON object.

`python -m benchmarks.scale --backtest [DATA]` measures one run over twelve months of 1,115 stores
instead, on made-up sales or on Kaggle's files, with a pooled model from before those months.
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


def _execute(job: str, **what: Any) -> None:
    import dagster as dg

    from forecast_assets.definitions import defs

    with dg.DagsterInstance.get() as instance:
        known = defs().get_repository_def().get_job(job)
        if not known.execute_in_process(instance=instance, **what).success:
            raise SystemExit(f"{job} failed")


def _run(job: str, first: str, last: str, *, refresh: bool) -> None:
    from forecast_assets.defs.scope import REFRESH_TAG

    tags = range_tags(first, last)
    if refresh:
        tags[REFRESH_TAG] = "true"
    _execute(job, tags=tags)


def _partitions(stores: int) -> None:
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("store", [str(s) for s in range(1, stores + 1)])


def _newest_day(folder: Path) -> None:
    """The sales of one more day, as the loader takes them."""
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
    """The steps by name, in their order; the measured ones are in `MEASURED`."""
    last = f"|{stores}"
    return {
        "partitions": lambda: _partitions(stores),
        "first refresh": lambda: _run("refresh", "2015-01-01|1", NEWEST + last, refresh=True),
        "training": lambda: _execute("train", partition_key=NEWEST),
        "first forecasts": lambda: _run("refresh", f"{NEWEST}|1", NEWEST + last, refresh=True),
        "one more day": lambda: _newest_day(folder),
        "refresh": lambda: _run("refresh", f"{NEWEST}|1", NEWEST + last, refresh=True),
        "earlier training": lambda: _execute("train", partition_key=TRAINED_BEFORE),
        "backfill": lambda: _run(
            "refresh", f"{BACKFILLED[0]}|1", BACKFILLED[1] + last, refresh=False
        ),
    }


def backtest_steps(stores: int) -> dict[str, Callable[[], None]]:
    """The steps that end in twelve months' backtests."""
    first, last = BACKTEST_MONTHS
    return {
        "partitions": lambda: _partitions(stores),
        "history": lambda: _run(
            "refresh", f"{BACKTEST_CALENDAR[0]}|1", f"{last}|{stores}", refresh=True
        ),
        "pooled model": lambda: _execute("train", partition_key=BACKTEST_TRAINED),
        "backtest": lambda: _run("refresh", f"{first}|1", f"{last}|{stores}", refresh=False),
        "backtest again": lambda: _run("refresh", f"{first}|1", f"{last}|{stores}", refresh=False),
    }


MEASURED = ("load", "first refresh", "training", "first forecasts", "refresh", "backfill")
UNMEASURED = ("partitions", "one more day", "earlier training")


def one_chain(factor: int, folder: Path) -> dict[str, dict[str, float]]:
    """All steps on one chain; returns seconds and peak MB of each."""
    stores = STORES * factor
    calendar = (FIRST_DAY, LAST_DAY)
    data = _made_up(stores, calendar, folder)
    return _chain(stores, data, folder, calendar, HISTORY_UNTIL, list(steps(stores, data)))


def backtest(data: Path | None, folder: Path) -> dict[str, Any]:
    """Twelve months of 1,115 stores in one run; returns the JSON object."""
    data = data.resolve() if data else _made_up(STORES, BACKTEST_CALENDAR, folder)
    until = BACKTEST_CALENDAR[1]
    found = _chain(STORES, data, folder, BACKTEST_CALENDAR, until, list(backtest_steps(STORES)))
    return {
        name: {key: round(value, 1) for key, value in measured.items()}
        for name, measured in found.items()
    }


def _made_up(stores: int, calendar: tuple[date, date], folder: Path) -> Path:
    """Sales of a made-up chain; made apart: a process begins with its parent's peak of memory."""
    first, last = calendar
    apart = get_context("spawn").Process(
        target=_write_made_up, args=(stores, (last - first).days + 1, last, folder / "data")
    )
    apart.start()
    apart.join()
    if apart.exitcode:
        raise SystemExit("the sales could not be made up")
    return folder / "data"


def _write_made_up(stores: int, days: int, last: date, folder: Path) -> None:
    sample_files(stores, days, last, seed=1).write(folder)


def _chain(
    stores: int,
    data: Path,
    folder: Path,
    calendar: tuple[date, date],
    until: date,
    names: list[str],
) -> dict[str, dict[str, float]]:
    """Loads sales into a stack of its own, then does some steps; seconds and peak MB of each."""
    found: dict[str, dict[str, float]] = {}
    with Stack.temporary(folder / "stack", {"postgres"}, calendar=calendar) as stack:
        stack.dagster.prepare()
        environment = stack.component_environment("dagster") | {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"
        }
        load = ["forecast_assets", "load", f"--data={data}", f"--until={until}"]
        found["load"] = _measured(load, stack.component_environment("loader"), folder)
        for name in names:
            step = [__spec__.name, "--step", name, "--stores", str(stores), "--folder", str(data)]
            found[name] = _measured(step, environment, folder)
            if name not in UNMEASURED:
                say(
                    f"{stores:>7,} stores: {name}: {found[name]['seconds']:.1f} s, "
                    f"{found[name]['mb']:,.0f} MB"
                )
        with stack.postgres.admin_connection("sales") as connection:
            row = connection.execute("SELECT pg_database_size('sales')").fetchone()
        found["database"] = {"mb": row[0] / 1e6 if row else float("nan")}
    return found


def _measured(module: list[str], environment: dict[str, str], folder: Path) -> dict[str, float]:
    """Runs a command in a process; returns its seconds and its peak memory."""
    log = folder / "step.log"
    began = time.monotonic()
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
    return {"seconds": time.monotonic() - began, "mb": usage.ru_maxrss / 1024}


def summary(found: dict[int, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """The table, printed, and the JSON object."""
    say(f"\n8 months, {os.cpu_count()} cores")
    factors = list(found)
    heads = "".join(f"{STORES * factor:>12,} stores" for factor in factors)
    say(f"{'':18}{heads}")
    for name in (*MEASURED, "database"):
        cells = ""
        for factor in factors:
            seconds, mb = found[factor][name].get("seconds"), found[factor][name]["mb"]
            shown = f"{seconds:.1f} s " if seconds is not None else ""
            cells += f"{shown + f'{mb:,.0f} MB':>19}"
        say(f"{name:18}{cells}")
    first, last = factors[0], factors[-1]
    return {
        "stores": [STORES * factor for factor in factors],
        "seconds": {
            name: [round(found[factor][name]["seconds"], 1) for factor in factors]
            for name in MEASURED
        },
        "peak_mb": {
            name: [round(found[factor][name]["mb"]) for factor in factors] for name in MEASURED
        },
        "database_mb": [round(found[factor]["database"]["mb"]) for factor in factors],
        f"times_x{last}": {
            name: round(found[last][name]["seconds"] / found[first][name]["seconds"], 1)
            for name in MEASURED
        },
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--factors", type=int, nargs="*", default=list(FACTORS))
    parser.add_argument(
        "--backtest", nargs="?", const="", metavar="DATA", help="twelve months in one run"
    )
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--stores", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        known = steps(arguments.stores, arguments.folder) | backtest_steps(arguments.stores)
        known[arguments.step]()
        return
    if arguments.backtest is not None:
        with scratch() as folder:
            say(
                json.dumps(
                    backtest(Path(arguments.backtest) if arguments.backtest else None, folder)
                )
            )
        return
    found = {}
    for factor in arguments.factors:
        with scratch() as folder:
            found[factor] = one_chain(factor, folder)
    say(json.dumps(summary(found)))


if __name__ == "__main__":
    main()
