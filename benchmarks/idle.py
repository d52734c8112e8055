"""The processor time and the memory of a running stack while nothing happens, by service.

`python -m benchmarks.idle` starts the whole stack on 60 made-up stores, waits until the first
refresh, training and forecasts have finished, then samples the process tree of every service for
three minutes. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import psutil

from benchmarks.chain import Chain, forecast_chain
from benchmarks.common import say, scratch
from local_stack.http import graphql
from local_stack.stack import Stack

HISTORY_DAYS = 800
#: Days that are kept back as live days; they are never sent.
LIVE_DAYS = 1
#: Seconds without any run before the stack counts as idle: longer than every sensor's interval.
QUIET_SECONDS = 75.0
#: Seconds between two samples of memory.
SAMPLE_SECONDS = 10.0
MB = 2**20

_RUNS_AT_WORK = """
{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]}) {
    ... on Runs { results { runId } }
} }
"""


def process_tree(pid: int) -> list[psutil.Process]:
    """Return a process and its living descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_seconds(tree: list[psutil.Process]) -> float:
    """Return the processor time of a tree so far, including descendants that have ended.

    The kernel adds a process's time to its parent's `children` counters once the parent has
    waited for it, so short-lived processes between two samples are not lost.
    """
    total = 0.0
    for process in tree:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_bytes(tree: list[psutil.Process]) -> int:
    """Return a tree's proportional memory, in which pages that processes share count once."""
    total = 0
    for process in tree:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def service_pids(stack: Stack) -> dict[str, int]:
    """Return each service's main process."""
    return {record.name: record.pid for record in stack.processes.alive()}


def wait_until_quiet(chain: Chain) -> None:
    """Wait until no run has been queued or at work for a while."""
    url = chain.stack.dagster.graphql_url()
    quiet_since = time.monotonic()

    def is_quiet() -> bool:
        nonlocal quiet_since
        if graphql(url, _RUNS_AT_WORK)["runsOrError"]["results"] or not chain.is_settled():
            quiet_since = time.monotonic()
        time.sleep(1)
        return time.monotonic() - quiet_since > QUIET_SECONDS

    chain.wait(is_quiet, "the stack to become idle")


def sample(pids: Mapping[str, int], seconds: float) -> dict[str, dict[str, float]]:
    """Sample the services for a while.

    Args:
        pids: Service -> its main process.
        seconds: How long to sample.

    Returns:
        Service -> `cpu_cores` (mean), `memory_mb` (mean) and `processes` (at the end).
    """
    before = {name: cpu_seconds(process_tree(pid)) for name, pid in pids.items()}
    began = time.monotonic()
    memory: dict[str, list[int]] = {name: [] for name in pids}
    while time.monotonic() < began + seconds:
        for name, pid in pids.items():
            memory[name].append(memory_bytes(process_tree(pid)))
        time.sleep(SAMPLE_SECONDS)
    after = {name: cpu_seconds(process_tree(pid)) for name, pid in pids.items()}
    elapsed = time.monotonic() - began
    return {
        name: {
            "cpu_cores": round((after[name] - before[name]) / elapsed, 4),
            "memory_mb": round(sum(memory[name]) / len(memory[name]) / MB),
            "processes": len(process_tree(pid)),
        }
        for name, pid in pids.items()
    }


def summarize(services: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Print the table and return the JSON object."""
    say(f"\n{'service':20} {'CPU s/min':>10} {'memory MB':>10} {'processes':>10}")
    for name, values in sorted(services.items(), key=lambda item: -item[1]["cpu_cores"]):
        say(
            f"{name:20} {values['cpu_cores'] * 60:10.2f} {values['memory_mb']:10.0f} "
            f"{values['processes']:10.0f}"
        )
    cores = sum(values["cpu_cores"] for values in services.values())
    memory = sum(values["memory_mb"] for values in services.values())
    say(f"{'all':20} {cores * 60:10.2f} {memory:10.0f}")
    return {"cpu_cores": round(cores, 3), "memory_mb": round(memory), "by_service": dict(services)}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--stores", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=180.0, help="how long to sample")
    arguments = parser.parse_args()
    with (
        scratch() as folder,
        forecast_chain(None, arguments.stores, HISTORY_DAYS, LIVE_DAYS, folder) as chain,
    ):
        wait_until_quiet(chain)
        say(f"idle; sampling for {arguments.seconds:.0f} s on {os.cpu_count()} cores")
        services = sample(service_pids(chain.stack), arguments.seconds)
    say(json.dumps(summarize(services)))


if __name__ == "__main__":
    main()
