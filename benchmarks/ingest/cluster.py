"""The stream on a standalone cluster of 1, 2 and 4 executors, beside `local[2]`.

`python -m benchmarks.ingest --master standalone` starts master and workers on loopback. Each place
(`local[2]`, or a number of executors of one core) gets one session, which first drains a topic to
warm up. Then it drains a topic of 1, 2, 4 and 8 topic-partitions, each into a database of its own.

On a machine with fewer cores than executors, more executors cannot be faster. What the figures give
then is the price of an event in processor seconds, apart for the driver, which cannot be divided,
and for the executors, which can.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg

from benchmarks.common import say
from benchmarks.ingest.compare import Bench
from benchmarks.ingest.workload import FIRST_DAY, LAST_DAY, STEPS
from local_stack.processes import Processes
from local_stack.spark_cluster import MASTER, WORKER, SparkCluster
from local_stack.stack import Stack

#: Number of executors -> its name in the table; 0 is one process for driver and executors.
PLACES = {0: "local[2]", 1: "1 executor", 2: "2 executors", 4: "4 executors"}
TOPIC_PARTITIONS = (1, 2, 4, 8)
WARM_UP_EVENTS = 40_000
WORKERS, CORES_PER_WORKER, WORKER_MEMORY = 2, 2, "2g"
#: Seconds that a session's executors may take to arrive.
EXECUTOR_SECONDS = 120.0
POLL_SECONDS = 0.02
#: The migrated database that each drain's is a copy of.
TEMPLATE = "bench_cluster"
WARM_UP = "bench-warm-up"

Figures = dict[str, Any]


def topic(partitions: int) -> str:
    """Return the name of the topic with so many topic-partitions."""
    return f"bench-{partitions}"


def database(executors: int, topic_name: str) -> str:
    """Return the name of the database that a place's drain of a topic fills."""
    return f"bench_{executors}_{topic_name.removeprefix('bench-').replace('-', '_')}"


def compare_places(events: int) -> Figures:
    """Drain every topic at every place; print the table and return the JSON object.

    Args:
        events: The number of events in each topic.
    """
    folder = Path(tempfile.mkdtemp(prefix="bench-cluster-"))
    with Stack.temporary(folder, {"postgres", "kafka"}, calendar=(FIRST_DAY, LAST_DAY)) as stack:
        os.environ |= stack.kafka.access.environment()
        bench = Bench(stack, folder)
        began = time.monotonic()
        bench.send(WARM_UP, WARM_UP_EVENTS, max(TOPIC_PARTITIONS))
        for partitions in TOPIC_PARTITIONS:
            bench.send(topic(partitions), events, partitions)
        say(f"sent {events:,} events to each topic in {time.monotonic() - began:.0f} s")
        environment = bench.environment(TEMPLATE, WARM_UP, role="STREAM")
        cluster = SparkCluster(stack.processes, stack.kafka.access.environment())
        cluster.start(WORKERS, CORES_PER_WORKER, WORKER_MEMORY)
        results = {}
        for executors, name in PLACES.items():
            for one in (WARM_UP, *map(topic, TOPIC_PARTITIONS)):
                stack.postgres.create_sales_database(database(executors, one), template=TEMPLATE)
            settings = cluster.driver_settings(executors) if executors else {}
            results[name] = _run_place(executors, events, folder, environment | settings)
    return _summary(events, results)


def _run_place(executors: int, events: int, folder: Path, environment: dict[str, str]) -> Figures:
    """Return the figures of a place, which runs in a process of its own.

    Raises:
        SystemExit: It failed.
    """
    if not executors:
        environment = environment | {"SPARK_MASTER": "local[2]"}
    completed = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.ingest", "--events", str(events)),
            *("--executors", str(executors), "--folder", str(folder)),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if completed.returncode:
        raise SystemExit(f"{PLACES[executors]} failed; the lines above say why")
    figures: Figures = json.loads(completed.stdout.strip().splitlines()[-1])
    say(f"{PLACES[executors]}: ready after {figures['session_s']:.1f} s")
    return figures


def measure_place(executors: int, events: int, folder: Path) -> Figures:
    """Drain all topics in one session, in this process, and return the figures.

    Args:
        executors: A key of `PLACES`.
        events: The number of events in each topic but the first, which warms up.
        folder: The stack's folder, which knows the cluster's processes.
    """
    from streaming_job import session
    from streaming_job.settings import load_settings

    began = time.monotonic()
    base = load_settings(
        spark_driver_memory="2g", stream_max_offsets_per_trigger=-(-events // STEPS)
    )
    spark = session.build_session(base)
    _await_executors(spark, executors)
    figures: Figures = {"session_s": time.monotonic() - began, "topics": {}}
    try:
        for name, count in (
            (WARM_UP, WARM_UP_EVENTS),
            *((topic(p), events) for p in TOPIC_PARTITIONS),
        ):
            address = urlsplit(base.database_url)._replace(path=f"/{database(executors, name)}")
            settings = load_settings(
                stream_database_url=address.geturl(),
                sales_topic=name,
                stream_max_offsets_per_trigger=-(-count // STEPS),
            )
            figures["topics"][name.removeprefix("bench-")] = _drain(spark, settings, count, folder)
        figures |= _memory(folder, executors)
    finally:
        spark.stop()
    return figures


def _await_executors(spark: Any, executors: int) -> None:
    deadline = time.monotonic() + EXECUTOR_SECONDS
    # The driver itself is in the list.
    while (
        executors
        and len(spark.sparkContext._jsc.sc().statusTracker().getExecutorInfos()) <= executors
    ):
        if time.monotonic() > deadline:
            raise SystemExit(f"not all of {executors} executors came in {EXECUTOR_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _drain(spark: Any, settings: Any, events: int, folder: Path) -> Figures:
    """Drain a topic and return the figures.

    Raises:
        SystemExit: The ledger does not hold every event.
    """
    from streaming_job import drain, ledger, query, source

    drain.ensure_monthly_tables(settings)
    start = source.plan_start(settings)
    before = _processor_seconds(folder)
    began = time.monotonic()
    with _first_commit(settings.database_url) as committed:
        running = query.start_query(spark, start, settings, available_now=True)
        running.awaitTermination()
        total = time.monotonic() - began
    after = _processor_seconds(folder)
    with ledger.connect(settings.database_url) as connection:
        stored = ledger.counts(connection, start.stream_id).stored
    if stored != events:
        raise SystemExit(f"{settings.sales_topic}: {stored} of {events} events are stored")
    steps = [step for step in running.recentProgress if step["numInputRows"]][1:]
    seconds = sum(step["durationMs"]["triggerExecution"] for step in steps) / 1000
    return {
        "events_per_s": sum(step["numInputRows"] for step in steps) / seconds,
        "total_s": total,
        "first_visible_s": committed[0] - began,
        "cpu_s_per_million": {
            group: (after[group] - before[group]) / events * 1e6 for group in after
        },
    }


@contextmanager
def _first_commit(database_url: str) -> Iterator[list[float]]:
    """Watch for the first committed event meanwhile; yield a list that gets the time of it."""
    times: list[float] = []
    is_over = threading.Event()

    def watch() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            moved = "SELECT count(*) FROM sales.stream_offsets WHERE next_offset > first_offset"
            while not is_over.wait(POLL_SECONDS):
                if connection.execute(moved).fetchone() != (0,):
                    times.append(time.monotonic())
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield times
    finally:
        is_over.set()
        watcher.join()


def _groups(folder: Path) -> dict[str, list[psutil.Process]]:
    """Return the processes of Spark by part: driver, executors, and the cluster's bookkeeping.

    In one process, driver and executors cannot be told apart: all of it counts as driver.
    """
    records = Processes(folder).records()
    daemons = [one.process() for one in records if one.name.startswith((MASTER, WORKER))]
    alive = [process for process in daemons if process is not None]
    return {
        "driver": [psutil.Process(), *psutil.Process().children(recursive=True)],
        "executors": [child for one in alive for child in one.children(recursive=True)],
        "cluster": alive,
    }


def _processor_seconds(folder: Path) -> dict[str, float]:
    """Return the processor seconds that each part has used, those of ended children included."""
    return {
        group: sum(_seconds_of(process) for process in processes)
        for group, processes in _groups(folder).items()
    }


def _seconds_of(process: psutil.Process) -> float:
    """Return what a process and its ended children have used; only differences count."""
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.NoSuchProcess:
        # It has just ended, and counts among its parent's children.
        return 0.0


def _memory(folder: Path, executors: int) -> Figures:
    """Return the MB of the driver and of an executor, with its Python processes."""
    megabytes = {
        group: sum(process.memory_full_info().pss for process in processes) / 1e6
        for group, processes in _groups(folder).items()
    }
    return {
        "driver_mb": megabytes["driver"],
        "executor_mb": megabytes["executors"] / executors if executors else None,
    }


def _summary(events: int, results: dict[str, Figures]) -> Figures:
    """Print the table and return the JSON object."""
    cores = os.cpu_count() or 1
    say(f"\n{events:,} events a topic, {cores} cores")
    say(
        f"{'place':12} {'topic-partitions':>16} {'events/s':>9} {'of local':>9} "
        f"{'first visible, s':>17}  CPU s per million: driver, executors"
    )
    local = results[PLACES[0]]["topics"]
    for name, figures in results.items():
        for partitions in map(str, TOPIC_PARTITIONS):
            one = figures["topics"][partitions]
            one["vs_local"] = one["events_per_s"] / local[partitions]["events_per_s"]
            used = one["cpu_s_per_million"]
            say(
                f"{name:12} {partitions:>16} {one['events_per_s']:9,.0f} {one['vs_local']:9.2f} "
                f"{one['first_visible_s']:17.2f}  {used['driver']:25.1f}, {used['executors']:.1f}"
            )
    for name, figures in results.items():
        start, driver, executor = (figures[k] for k in ("session_s", "driver_mb", "executor_mb"))
        each = f", each executor {executor:,.0f} MB" if executor else ""
        say(f"{name:12} ready after {start:.1f} s; driver {driver:,.0f} MB{each}")
    if cores < max(PLACES):
        say(f"On {cores} cores, more than {cores} executors share cores: that cannot be faster.")
    return {"events": events, "cores": cores, "places": _rounded(results)}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, float):
        return round(value, 2)
    return value
