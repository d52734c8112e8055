"""The cost of Dagster's records: milliseconds per materialization of one run over a range.

`python -m benchmarks.partitions` runs four assets that compute nothing, on Dagster's PostgreSQL
storage, over 1,115, 11,150 and 34,565 partitions (1, 10 and 31 months of 1,115 stores). It runs the
assets in two ways. "here" reports partitions as this project does, with two batching settings.
"stock" reports them as an asset does by default, without these settings. Above `--stock-limit`
partitions, the stock way is left out, because it takes too long. The last line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.common import range_tags, say, scratch
from local_stack.stack import Stack

STORES = 1_115
MONTHS = (1, 10, 31)
ASSETS = 4
WAYS = ("here", "stock")


def definitions(way: str) -> Any:
    """Return one job with a chain of four assets, partitioned by month and store."""
    from forecast_assets.defs.asset_options import ROWLESS
    from forecast_assets.defs.reporting import output_without_partitions, report
    from forecast_assets.defs.row_counts import ROW_COUNT

    partitions = dg.MultiPartitionsDefinition(
        {
            "date": dg.MonthlyPartitionsDefinition("2013-01-01", end_date="2015-08-01"),
            "store": dg.DynamicPartitionsDefinition(name="store"),
        }
    )

    def here(name: str, above: str | None) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=partitions, deps=[above] if above else [], **ROWLESS)
        def made(context: dg.AssetExecutionContext) -> Any:
            report(context, {key: {ROW_COUNT: 1} for key in context.partition_keys})
            yield output_without_partitions()

        return made

    def stock(name: str, above: str | None) -> dg.AssetsDefinition:
        @dg.asset(
            name=name,
            partitions_def=partitions,
            deps=[above] if above else [],
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def made() -> dg.MaterializeResult[None]:
            return dg.MaterializeResult(metadata={ROW_COUNT: 1})

        return made

    make = here if way == "here" else stock
    names = [f"asset_{k}" for k in range(ASSETS)]
    assets = [make(name, above) for name, above in zip(names, [None, *names[:-1]], strict=True)]
    job = dg.define_asset_job("all", names, executor_def=dg.in_process_executor)
    return dg.Definitions(assets, jobs=[job])


def run_once(way: str, months: int) -> dict[str, float]:
    """Run the job once in this process; the caller has set the way's environment."""
    job = definitions(way).resolve_job_def("all")
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("store", [str(s) for s in range(1, STORES + 1)])
        last = f"{2013 + (months - 1) // 12}-{(months - 1) % 12 + 1:02d}-01"
        start = time.monotonic()
        result = job.execute_in_process(
            instance=instance, tags=range_tags("2013-01-01|1", f"{last}|{STORES}")
        )
        seconds = time.monotonic() - start
        key = dg.AssetKey(f"asset_{ASSETS - 1}")
        materialized = len(instance.get_materialized_partitions(key))
    if not result.success or materialized != months * STORES:
        raise SystemExit(f"{materialized} of {months * STORES} partitions were materialized")
    return {"seconds": seconds, "ms": seconds * 1000 / (ASSETS * months * STORES)}


def compare(stock_limit: int, folder: Path) -> dict[str, Any]:
    """Run each way with a process and a database of its own; return the JSON object."""
    results: dict[tuple[str, int], dict[str, float]] = {}
    say(f"{ASSETS} assets, one run; {os.cpu_count()} cores")
    say(f"{'partitions':>10} {'way':6} {'seconds':>8} {'ms per materialization':>23}")
    for months in MONTHS:
        for way in WAYS:
            if way == "stock" and months * STORES > stock_limit:
                continue
            result = _run_apart(way, months, folder / f"{way}-{months}")
            results[way, months] = result
            say(f"{months * STORES:>10,} {way:6} {result['seconds']:8.1f} {result['ms']:23.2f}")
    here, stock = results["here", 1]["ms"], results["stock", 1]["ms"]
    return {
        "ms_per_materialization": round(here, 3),
        "vs_default": round(stock / here, 1),
        **{
            f"{way}_ms_at_{months * STORES}": round(result["ms"], 3)
            for (way, months), result in results.items()
        },
    }


def _run_apart(way: str, months: int, folder: Path) -> dict[str, float]:
    """Run one way with a process and a database of its own."""
    from forecast_assets.settings import DAGSTER_BATCHING

    with Stack.temporary(folder, {"postgres"}) as stack:
        stack.dagster.prepare()
        environment = stack.component_environment("dagster")
        if way == "stock":
            environment = {k: v for k, v in environment.items() if k not in DAGSTER_BATCHING}
        command = [sys.executable, "-m", __spec__.name, "--way", way, "--months", str(months)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} failed: {done.stderr.strip()[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.partitions", description=__doc__)
    parser.add_argument("--stock-limit", type=int, default=11_150)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--months", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        say(json.dumps(run_once(arguments.way, arguments.months)))
        return
    with scratch() as folder:
        say(json.dumps(compare(arguments.stock_limit, folder)))


if __name__ == "__main__":
    main()
