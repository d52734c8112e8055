"""The comparison of all ways on one stack, the stream's latency, the table and the JSON object."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from benchmarks.common import say
from benchmarks.ingest.ways import WAYS
from benchmarks.ingest.workload import FIRST_DAY, LAST_DAY, STORES, real_shaped
from local_stack.kafka import TOPIC_PARTITIONS
from local_stack.stack import Stack

#: Events per batch of the latency measurement: a day of every store.
LATENCY_BATCH = STORES
#: Batches that are sent before the measured ones, while Spark starts and compiles.
LATENCY_WARM_UP = 3
#: Ratio in the JSON object -> the way whose rate it divides by.
_RATIOS = {
    "vs_noop": "noop",
    "vs_spark_jdbc": "jdbc_tuned",
    "vs_kafka_connect": "kafka_connect",
    "vs_simple_consumer": "sqlalchemy",
    "vs_psycopg_copy_consumer": "psycopg_copy",
    "vs_flink": "flink",
}

Results = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Bench:
    """A running stack and a folder for checkpoints."""

    stack: Stack
    folder: Path

    def send(self, topic: str, events: int, partitions: int = TOPIC_PARTITIONS) -> None:
        """Create a topic and fill it."""
        from streaming_job import producer

        self.stack.kafka.create_topic(topic, partitions)
        servers = self.stack.kafka.bootstrap_servers
        producer.produce(real_shaped(events), bootstrap_servers=servers, topic=topic)

    def environment(self, name: str, topic: str, role: str) -> dict[str, str]:
        """Create a database and return the environment of a process that fills it.

        Args:
            name: The database's name.
            topic: The topic to read.
            role: `STREAM`, or `OWNER` for the peers, which need more rights.
        """
        self.stack.postgres.create_sales_database(name)
        self.stack.migrate(name)
        urls = self.stack.database_urls(name)
        with psycopg.connect(urls["OWNER_DATABASE_URL"]) as connection:
            connection.execute(
                "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
                f"SELECT number, 'a', 'a', 0 FROM generate_series(1, {STORES}) number"
            )
            connection.execute("CREATE SCHEMA IF NOT EXISTS public")
        return self.stack.component_environment(
            "stream",
            {
                "STREAM_DATABASE_URL": urls[f"{role}_DATABASE_URL"],
                "SALES_TOPIC": topic,
                "SPARK_STREAM_CHECKPOINTS_PATH": str(self.folder / "checkpoints" / name),
            },
        )


def compare(events: int, ways: list[str], latency_batches: int) -> dict[str, Any]:
    """Run every way in turn on one stack.

    Args:
        events: The number of events that each way ingests.
        ways: Names in `WAYS`.
        latency_batches: Batches of the latency measurement; 0 leaves it out.

    Returns:
        The JSON object.
    """
    folder = Path(tempfile.mkdtemp(prefix="bench-ingest-"))
    calendar = (FIRST_DAY, LAST_DAY)
    with Stack.temporary(folder, {"postgres", "kafka"}, calendar=calendar) as stack:
        # The stream's functions and the peers read from it how to reach the broker.
        os.environ |= stack.kafka.access.environment()
        bench = Bench(stack, folder)
        say(f"sending {events:,} events to 4 topic-partitions")
        began = time.monotonic()
        bench.send("bench", events)
        say(f"sent in {time.monotonic() - began:.0f} s")
        results: Results = {}
        for way in ways:
            role = "STREAM" if way == "exactly_once" else "OWNER"
            result = _run_in_process(way, events, bench.environment(way, "bench", role))
            if result is not None:
                results[way] = result
                say(f"{way}: {result['warm']:,.0f} events/s warm")
        latencies = _latencies(bench, latency_batches) if latency_batches else []
    return _summary(events, results, latencies)


def _run_in_process(way: str, events: int, environment: dict[str, str]) -> dict[str, float] | None:
    """Return a way's figures; if it fails, print the reason and return None."""
    completed = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingest", "--way", way, "--events", str(events)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        say(f"{way} failed: {completed.stderr.strip().splitlines()[-1:]}")
        return None
    figures: dict[str, float] = json.loads(completed.stdout.strip().splitlines()[-1])
    return figures


def _latencies(bench: Bench, batches: int) -> list[float]:
    """Return the seconds from the first send of a day's events until all are committed."""
    from streaming_job import producer
    from streaming_job.settings import StreamSettings

    bench.stack.kafka.create_topic("latency")
    environment = bench.environment("exactly_once_latency", "latency", "STREAM")
    fields = [name for name in StreamSettings.model_fields if name.upper() in environment]
    settings = StreamSettings(
        _env_file=None, **{name: environment[name.upper()] for name in fields}
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "streaming_job", "run"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    frame = real_shaped(LATENCY_BATCH * (batches + LATENCY_WARM_UP))
    latencies = []
    try:
        with psycopg.connect(settings.database_url, autocommit=True) as connection:
            for first in range(0, len(frame), LATENCY_BATCH):
                began = time.monotonic()
                producer.produce(
                    frame[first : first + LATENCY_BATCH],
                    bootstrap_servers=settings.kafka_bootstrap_servers,
                    topic=settings.sales_topic,
                )
                _wait_until_stored(connection, first + LATENCY_BATCH, process)
                latencies.append(time.monotonic() - began)
                time.sleep(0.7)
    finally:
        process.terminate()
        process.wait(60)
    return latencies[LATENCY_WARM_UP:]


def _wait_until_stored(
    connection: psycopg.Connection, events: int, process: subprocess.Popen[bytes]
) -> None:
    stored = "SELECT coalesce(sum(stored), 0) FROM sales.stream_offsets"
    while connection.execute(stored).fetchone() != (events,):
        time.sleep(0.02)
        if process.poll() is not None:
            raise SystemExit("the stream ended before it had stored all events")


def _summary(events: int, results: Results, latencies: list[float]) -> dict[str, Any]:
    """Print the table and return the JSON object."""
    say(f"\n{events:,} events, {os.cpu_count()} cores, {platform.machine()}")
    say(f"{'way':22} {'warm events/s':>14} {'first fifth, s':>15} {'all, s':>8}  guarantee")
    for way, result in results.items():
        say(
            f"{way:22} {result['warm']:14,.0f} {result['cold_s']:15.1f} {result['total_s']:8.1f}  "
            f"{WAYS[way]}"
        )
    rates = {way: result["warm"] for way, result in results.items()}
    ours = rates.get("exactly_once")
    summary: dict[str, Any] = {
        "events": events,
        "exactly_once_events_per_s": round(ours or 0),
        **{
            name: round(ours / rates[peer], 2) if ours is not None and peer in rates else None
            for name, peer in _RATIOS.items()
        },
    }
    if latencies:
        median, p95 = statistics.median(latencies), float(np.quantile(latencies, 0.95))
        summary |= {"latency_p50_s": round(median, 2), "latency_p95_s": round(p95, 2)}
        say(f"a day of {LATENCY_BATCH} events committed after: p50 {median:.2f} s, p95 {p95:.2f} s")
    return summary
