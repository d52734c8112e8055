"""The ways that run as separate processes: Kafka Connect and Flink.

They are timed by counting the rows of their table while they run.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from benchmarks.ingest import flink
from benchmarks.ingest.jars import JARS
from benchmarks.ingest.workload import STEPS
from local_stack.network import free_ports
from streaming_job.broker_access import broker_access

#: Seconds to wait for a process to store all events before giving up.
PATIENCE_SECONDS = 600
INTEGER_FIELDS = ("Store", "DayOfWeek", "Sales", "Customers", "Open", "Promo", "SchoolHoliday")
TEXT_FIELDS = ("Date", "StateHoliday")


def connect_way(way: str, settings: Any, events: int, jars: Path) -> dict[str, float]:
    """Run Kafka Connect in standalone mode, with Debezium's JDBC sink.

    Args:
        way: `kafka_connect` (upsert by Kafka's coordinates) or `kafka_connect_insert`.
        settings: The stream's settings.
        events: The number of events that the topic holds.
        jars: The folder of Kafka Connect's jars.
    """
    folder = Path(tempfile.mkdtemp(prefix="connect-"))
    for name, values in (
        ("worker", _connect_worker(settings, folder)),
        ("sink", _connect_sink(way, settings)),
    ):
        lines = [f"{key}={value}" for key, value in values.items()]
        (folder / f"{name}.properties").write_text("\n".join(lines) + "\n")
    command = [
        *("java", "-Xmx1g", "-cp", f"{jars}/*"),
        "org.apache.kafka.connect.cli.ConnectStandalone",
        *(str(folder / f"{name}.properties") for name in ("worker", "sink")),
    ]
    return _run(command, folder, settings, "public.bench_connect", events)


def _connect_worker(settings: Any, folder: Path) -> dict[str, str]:
    (port,) = free_ports(1)
    fields = [
        {"field": name, "type": kind, "optional": True}
        for kind, names in (("int32", INTEGER_FIELDS), ("string", TEXT_FIELDS))
        for name in names
    ]
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        **broker_access().java_options(),
        **broker_access().java_options("consumer."),
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
        "value.converter.schema.content": json.dumps({"type": "struct", "fields": fields}),
        "offset.storage.file.filename": str(folder / "offsets"),
        "listeners": f"http://127.0.0.1:{port}",
        "offset.flush.interval.ms": "5000",
    }


def _connect_sink(way: str, settings: Any) -> dict[str, str]:
    address = urlsplit(settings.database_url)
    is_upsert = way == "kafka_connect"
    return {
        "name": way,
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "2",
        "topics": settings.sales_topic,
        "connection.url": (
            f"jdbc:postgresql://{address.hostname}:{address.port}{address.path}"
            "?reWriteBatchedInserts=true"
        ),
        "connection.username": address.username or "",
        "connection.password": address.password or "",
        "insert.mode": "upsert" if is_upsert else "insert",
        "primary.key.mode": "kafka" if is_upsert else "none",
        "schema.evolution": "basic",
        "collection.name.format": "bench_connect",
        "batch.size": "5000",
        "consumer.override.max.poll.records": "5000",
        "consumer.override.auto.offset.reset": "earliest",
    }


def flink_way(settings: Any, events: int, jars: Path) -> dict[str, float]:
    """Run a Flink SQL query with the JDBC sink, inside the SQL client's process.

    Args:
        settings: The stream's settings.
        events: The number of events that the topic holds.
        jars: The folder of the connectors' jars.
    """
    from streaming_job import drain

    try:
        home = flink.install(JARS / "flink")
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"skipped because Flink's installation failed: {error.stderr[-300:]}"
        ) from error
    drain.ensure_monthly_tables(settings)
    folder = Path(tempfile.mkdtemp(prefix="flink-"))
    command = flink.command(home, jars, settings, folder)
    return _run(command, folder, settings, "sales.raw_sales", events)


def _run(
    command: list[str], folder: Path, settings: Any, table: str, events: int
) -> dict[str, float]:
    """Start a process, time how fast it fills a table, and kill it."""
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "FLINK_CONF_DIR": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with psycopg.connect(settings.database_url, autocommit=True) as connection:
            marks = _watch(connection, process, table, events)
    except SystemExit:
        sys.stderr.write((folder / "log").read_text()[-1500:])
        raise
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    (cold, cold_rows), (total, rows) = marks
    return {
        "warm": (rows - cold_rows) / (total - cold),
        "cold_s": cold - began,
        "total_s": total - began,
    }


def _watch(
    connection: psycopg.Connection, process: subprocess.Popen[bytes], table: str, events: int
) -> tuple[tuple[float, int], tuple[float, int]]:
    """Wait until a table holds all events.

    Returns:
        Time and number of rows at the end of the first step, and time and number at the end.
    """
    cold: tuple[float, int] | None = None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        has_ended = process.poll() is not None
        rows = 0
        if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
            (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        now = time.monotonic()
        if cold is None and rows >= events / STEPS:
            cold = (now, rows)
        if rows >= events and cold is not None:
            return cold, (now, rows)
        if has_ended:
            raise SystemExit(f"the process exited early, after {rows} events")
        if now > deadline:
            raise SystemExit(f"stored only {rows} events in {PATIENCE_SECONDS // 60} minutes")
        time.sleep(0.25)
