"""Kafka to PostgreSQL: this stream beside its ceiling and what one would use instead.

`python -m benchmarks.ingest --events 1000000` sends the same events once, then lets every way take
them into fresh tables of the same schema, each in a process of its own. `warm` is the rate after
the first fifth, `cold` the time from the start of the way's query or loop to the end of its first
fifth. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa

from benchmarks import flink
from benchmarks.common import say

REPOSITORY = Path(__file__).resolve().parent.parent
STORES = 1115
FIRST_DAY = date(2013, 1, 1)
LAST_DAY = date(2015, 12, 31)
PARTS = 5
"""Each way takes the topic in so many steps: the first one counts as cold."""
SIMPLE_LIMIT = 200_000
"""The row-wise consumers are asked for no more than this: their rate does not depend on it."""
LATENCY_BATCH = 1_115
JDBC_JAR = ("org.postgresql", "postgresql", "42.7.8")

WAYS = (
    "noop",
    "exactly_once",
    "jdbc",
    "jdbc_tuned",
    "kafka_connect",
    "kafka_connect_insert",
    "sqlalchemy",
    "psycopg_copy",
    "flink",
)
GUARANTEE = {
    "noop": "writes nothing: the ceiling of any Spark sink",
    "exactly_once": "exactly once",
    "jdbc": "at least once",
    "jdbc_tuned": "at least once",
    "kafka_connect": "at least once, idempotent by key",
    "kafka_connect_insert": "at least once",
    "sqlalchemy": "at least once",
    "psycopg_copy": "at least once",
    "flink": "at least once",
}


def real_shaped(events: int, seed: int = 7) -> pd.DataFrame:
    """Sales of the real files' shape: every store every day, day by day, until there are enough."""
    rng = np.random.default_rng(seed)
    days = -(-events // STORES)
    calendar = pd.date_range(FIRST_DAY, LAST_DAY)[:days]
    if len(calendar) < days:
        calendar = calendar.append(calendar[: days - len(calendar)])
    day = np.repeat(calendar.to_numpy(), STORES)[:events]
    frame = pd.DataFrame({"Store": np.tile(np.arange(1, STORES + 1), days)[:events], "Date": day})
    frame["DayOfWeek"] = pd.DatetimeIndex(day).dayofweek + 1
    frame["Open"] = (frame["DayOfWeek"] != 7).astype(int)
    frame["Sales"] = rng.integers(1_000, 20_000, events) * frame["Open"]
    frame["Customers"] = frame["Sales"] // 9
    frame["Promo"] = rng.integers(0, 2, events)
    frame["StateHoliday"] = "0"
    frame["SchoolHoliday"] = rng.integers(0, 2, events)
    return frame


# The ways, each run in a process of its own by `--way` ----------------------------------------


def spark_way(way: str, settings: Any, events: int, jars: Path) -> dict[str, float]:
    """One of the ways that are a Spark query."""
    from streaming_job import drain, query, session, source

    drain.ensure_monthly_tables(settings)
    os.environ["SPARK_JARS_DIR"] = str(settings.spark_jars_dir)
    config = session.spark_config(settings)
    if way.startswith("jdbc"):
        config["spark.jars"] += "," + str(jars)
    original = session.spark_config
    session.spark_config = lambda _settings: config
    try:
        spark = session.build_session(settings)
    finally:
        session.spark_config = original
    start = source.plan_start(settings)
    began = time.monotonic()
    if way == "exactly_once":
        running = query.start_query(spark, start, settings, available_now=True)
    else:
        frame = _judged(query.read_events(spark, start, settings), query.calendar_from(settings))
        writer = frame.writeStream.trigger(availableNow=True).option(
            "checkpointLocation", str(query.new_checkpoint(settings))
        )
        if way == "noop":
            running = writer.format("noop").start()
        else:
            running = writer.foreachBatch(_jdbc(settings, tuned=way == "jdbc_tuned")).start()
    running.awaitTermination()
    steps = [
        (step["numInputRows"], step["durationMs"]["triggerExecution"] / 1000)
        for step in running.recentProgress
        if step["numInputRows"]
    ]
    total = time.monotonic() - began
    spark.stop()
    rows = sum(count for count, _ in steps)
    if rows != events:
        raise SystemExit(f"{way} took {rows} of {events} events")
    warm = steps[1:] or steps
    return {
        "warm": sum(count for count, _ in warm) / sum(seconds for _, seconds in warm),
        "cold_s": steps[0][1],
        "total_s": total,
    }


def _judged(frame: Any, calendar: Any) -> Any:
    """Events judged as the stream judges them, for sinks that do not."""
    from pyspark.sql.pandas.types import from_arrow_schema

    from streaming_job import transform

    def judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from transform.validate(batch, calendar).to_batches()

    return frame.mapInArrow(judge, from_arrow_schema(transform.VALIDATED))


def _jdbc(settings: Any, *, tuned: bool) -> Callable[[Any, int], None]:
    from urllib.parse import urlsplit

    from pyspark.sql import functions as F  # noqa: N812 - everyone's name for it

    address = urlsplit(settings.database_url)
    url = f"jdbc:postgresql://{address.hostname}:{address.port}{address.path}"
    options = {"user": address.username or "", "password": address.password or ""}
    if tuned:
        url += "?reWriteBatchedInserts=true"
        options["batchsize"] = "10000"

    def write(frame: Any, _batch: int) -> None:
        rows = frame.where("reason IS NULL").drop("reason", "detail", "key", "value")
        rows = rows.withColumn("stream_id", F.lit(1).cast("short"))
        rows.write.format("jdbc").options(
            url=url, dbtable="sales.raw_sales", driver="org.postgresql.Driver", **options
        ).mode("append").save()

    return write


def consumer_way(way: str, settings: Any, events: int) -> dict[str, float]:
    """A plain consumer in one process: reads, parses, writes, commits its offsets afterwards."""
    from kafka import KafkaConsumer

    from streaming_job import drain

    drain.ensure_monthly_tables(settings)
    consumer = KafkaConsumer(
        settings.sales_topic,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=f"bench-{way}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    write = _sqlalchemy(settings) if way == "sqlalchemy" else _psycopg_copy(settings)
    began = time.monotonic()
    rows, cold = 0, 0.0
    while rows < events:
        for where, records in consumer.poll(timeout_ms=1_000, max_records=5_000).items():
            write([_row(where.partition, record) for record in records])
            rows += len(records)
        consumer.commit()
        if not cold and rows >= events / PARTS:
            cold, cold_rows = time.monotonic() - began, rows
    total = time.monotonic() - began
    consumer.close()
    return {"warm": (rows - cold_rows) / (total - cold), "cold_s": cold, "total_s": total}


def _row(partition: int, record: Any) -> dict[str, Any]:
    event = json.loads(record.value)
    return {
        "stream_id": 1,
        "topic_partition": partition,
        "kafka_offset": record.offset,
        "event_time": pd.Timestamp(record.timestamp, unit="ms", tz="UTC").to_pydatetime(),
        "store": event["Store"],
        "date": date.fromisoformat(event["Date"]),
        "day_of_week": event["DayOfWeek"],
        "sales": event.get("Sales"),
        "customers": event.get("Customers"),
        "open": event.get("Open"),
        "promo": event["Promo"],
        "state_holiday": event["StateHoliday"],
        "school_holiday": event["SchoolHoliday"],
    }


def _sqlalchemy(settings: Any) -> Callable[[list[dict[str, Any]]], None]:
    import sqlalchemy

    url = settings.database_url.replace("postgresql://", "postgresql+psycopg2://", 1)
    engine = sqlalchemy.create_engine(url)
    table = sqlalchemy.Table(
        "raw_sales", sqlalchemy.MetaData(), schema="sales", autoload_with=engine
    )

    def write(rows: list[dict[str, Any]]) -> None:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.insert(table), rows)

    return write


def _psycopg_copy(settings: Any) -> Callable[[list[dict[str, Any]]], None]:
    connection = psycopg.connect(settings.database_url)

    def write(rows: list[dict[str, Any]]) -> None:
        with connection.cursor() as cursor:
            names = ", ".join(rows[0])
            with cursor.copy(f"COPY sales.raw_sales ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(list(row.values()))
        connection.commit()

    return write


def connect_way(way: str, settings: Any, events: int, jars: Path) -> dict[str, float]:
    """Kafka Connect with Debezium's JDBC sink, in its standalone process."""
    from urllib.parse import urlsplit

    address = urlsplit(settings.database_url)
    folder = Path(tempfile.mkdtemp(prefix="connect-"))
    idempotent = way == "kafka_connect"
    names = ("Store", "DayOfWeek", "Sales", "Customers", "Open", "Promo", "SchoolHoliday")
    fields = [{"field": name, "type": "int32", "optional": True} for name in names] + [
        {"field": name, "type": "string", "optional": True} for name in ("Date", "StateHoliday")
    ]
    worker = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
        "value.converter.schema.content": json.dumps({"type": "struct", "fields": fields}),
        "offset.storage.file.filename": str(folder / "offsets"),
        "listeners": f"http://127.0.0.1:{_free_port()}",
        "offset.flush.interval.ms": "5000",
    }
    sink = {
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
        "insert.mode": "upsert" if idempotent else "insert",
        "primary.key.mode": "kafka" if idempotent else "none",
        "schema.evolution": "basic",
        "collection.name.format": "bench_connect",
        "batch.size": "5000",
        "consumer.override.max.poll.records": "5000",
        "consumer.override.auto.offset.reset": "earliest",
    }
    for name, values in (("worker", worker), ("sink", sink)):
        lines = [f"{key}={value}" for key, value in values.items()]
        (folder / f"{name}.properties").write_text("\n".join(lines) + "\n")
    command = [
        *("java", "-Xmx1g", "-cp", f"{jars}/*"),
        "org.apache.kafka.connect.cli.ConnectStandalone",
        *(str(folder / f"{name}.properties") for name in ("worker", "sink")),
    ]
    return _process_way(command, folder, settings, "public.bench_connect", events)


def flink_way(settings: Any, events: int, jars: Path) -> dict[str, float]:
    """Flink's SQL with its JDBC sink, in its SQL client's process."""
    from streaming_job import drain

    try:
        home = flink.home(REPOSITORY / ".jars" / "flink")
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"left out, Flink does not install: {error.stderr[-300:]}") from error
    drain.ensure_monthly_tables(settings)
    folder = Path(tempfile.mkdtemp(prefix="flink-"))
    command = flink.command(home, jars, settings, folder)
    return _process_way(command, folder, settings, "sales.raw_sales", events)


def _process_way(
    command: list[str], folder: Path, settings: Any, table: str, events: int
) -> dict[str, float]:
    """Runs a peer that is a process of its own, and watches its table fill."""
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


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _watch(
    connection: psycopg.Connection, process: subprocess.Popen[bytes], table: str, events: int
) -> tuple[tuple[float, int], tuple[float, int]]:
    """When the first fifth and when all was there; the count is read from the statistics' side."""
    cold: tuple[float, int] | None = None
    deadline = time.monotonic() + 600
    while True:
        ended = process.poll() is not None
        rows = 0
        if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
            (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        now = time.monotonic()
        if cold is None and rows >= events / PARTS:
            cold = (now, rows)
        if rows >= events and cold is not None:
            return cold, (now, rows)
        if ended:
            raise SystemExit(f"the process ended by itself after {rows} events")
        if now > deadline:
            raise SystemExit(f"only {rows} events in 10 minutes")
        time.sleep(0.25)


# The whole comparison --------------------------------------------------------------------------


def latency(environment: dict[str, str], settings: Any, batches: int) -> list[float]:
    """Seconds from the first send of a day's events until all of them are committed."""
    from streaming_job import producer

    process = subprocess.Popen(
        [sys.executable, "-m", "streaming_job", "run"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    frame = real_shaped(LATENCY_BATCH * (batches + 3))
    found = []
    try:
        with psycopg.connect(settings.database_url, autocommit=True) as connection:
            for number in range(batches + 3):
                part = frame[number * LATENCY_BATCH : (number + 1) * LATENCY_BATCH]
                began = time.monotonic()
                producer.produce(
                    part,
                    bootstrap_servers=settings.kafka_bootstrap_servers,
                    topic=settings.sales_topic,
                )
                while connection.execute(
                    "SELECT coalesce(sum(stored), 0) FROM sales.stream_offsets"
                ).fetchone() != ((number + 1) * LATENCY_BATCH,):
                    time.sleep(0.02)
                    if process.poll() is not None:
                        raise SystemExit("the stream ended by itself")
                found.append(time.monotonic() - began)
                time.sleep(0.7)
    finally:
        process.terminate()
        process.wait(60)
    # The first ones wait for Spark to start and to compile.
    return found[3:]


def _jars(folder: Path, coordinates: list[tuple[str, str, str]]) -> Path:
    """A peer's jars, fetched once by the Ivy that PySpark ships."""
    import pyspark

    if any(folder.glob("*.jar")):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(pyspark.__file__).parent / "jars"
    # Maven's "runtime" and "master": no sources, no optional parts that contradict each other.
    needed = "".join(
        f'<dependency org="{organisation}" name="{module}" rev="{version}" '
        'conf="default->runtime,master"/>'
        for organisation, module, version in coordinates
    )
    description = folder / "ivy.xml"
    description.write_text(
        '<ivy-module version="2.0"><info organisation="local" module="bench"/>'
        f'<configurations><conf name="default"/></configurations>'
        f"<dependencies>{needed}</dependencies></ivy-module>"
    )
    pattern = f"{folder}/[artifact]-[revision](-[classifier]).[ext]"
    subprocess.run(
        [
            "java",
            "-cp",
            f"{home}/*",
            "org.apache.ivy.Main",
            "-ivy",
            str(description),
            "-retrieve",
            pattern,
        ],
        check=True,
        capture_output=True,
    )
    for extra in (*folder.glob("*-sources.jar"), *folder.glob("*-javadoc.jar")):
        extra.unlink()
    return folder


def _peer_jars(way: str) -> Path:
    home = REPOSITORY / ".jars"
    if way.startswith("jdbc"):
        folder = _jars(home / "bench-jdbc", [JDBC_JAR])
        return next(folder.glob("postgresql-*.jar"))
    if way.startswith("kafka_connect"):
        return _jars(
            home / "bench-connect",
            [
                ("org.apache.kafka", "connect-runtime", "4.3.1"),
                ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4"),
                ("io.debezium", "debezium-connector-jdbc", "3.4.0.Final"),
                JDBC_JAR,
            ],
        )
    if way == "flink":
        return _jars(home / "bench-flink", [*flink.JARS, JDBC_JAR])
    return home


def run_way(way: str, events: int) -> dict[str, float]:
    """Runs one way in this process, with the settings of the environment."""
    from streaming_job.settings import load_settings

    settings = load_settings(
        stream_max_offsets_per_trigger=-(-events // PARTS), spark_driver_memory="2g"
    )
    if way.startswith("kafka_connect"):
        return connect_way(way, settings, events, _peer_jars(way))
    if way == "flink":
        return flink_way(settings, events, _peer_jars(way))
    if way in ("sqlalchemy", "psycopg_copy"):
        return consumer_way(way, settings, min(events, SIMPLE_LIMIT))
    return spark_way(way, settings, events, _peer_jars(way))


def compare(events: int, ways: list[str], latency_batches: int) -> dict[str, Any]:
    """Runs every way in turn on one stack."""
    from local_stack.stack import Stack
    from streaming_job import producer
    from streaming_job.settings import StreamSettings

    results: dict[str, dict[str, float]] = {}
    folder = Path(tempfile.mkdtemp(prefix="bench-ingest-"))
    calendar = (FIRST_DAY, LAST_DAY)
    with Stack.temporary(folder, {"postgres", "kafka"}, calendar=calendar) as stack:

        def environment(name: str, topic: str) -> dict[str, str]:
            """A fresh database; the peers need more rights than the stream's role has."""
            stack.postgres.create_sales_database(name)
            stack.migrate(name)
            urls = stack.database_urls(name)
            with psycopg.connect(urls["OWNER_DATABASE_URL"]) as connection:
                connection.execute(
                    "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
                    f"SELECT number, 'a', 'a', 0 FROM generate_series(1, {STORES}) number"
                )
                connection.execute("CREATE SCHEMA IF NOT EXISTS public")
            url = urls["STREAM_DATABASE_URL" if name == "exactly_once" else "OWNER_DATABASE_URL"]
            return stack.component_environment(
                "stream",
                {
                    "STREAM_DATABASE_URL": url,
                    "SALES_TOPIC": topic,
                    "SPARK_STREAM_CHECKPOINTS_PATH": str(folder / "checkpoints" / name),
                },
            )

        say(f"sending {events:,} events to 4 topic-partitions")
        stack.kafka.create_topic("bench")
        began = time.monotonic()
        producer.produce(
            real_shaped(events), bootstrap_servers=stack.kafka.bootstrap_servers, topic="bench"
        )
        say(f"sent in {time.monotonic() - began:.0f} s")
        for way in ways:
            command = [
                sys.executable,
                "-m",
                __spec__.name,
                "--way",
                way,
                "--events",
                str(events),
            ]
            done = subprocess.run(
                command,
                env=environment(way, "bench"),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                say(f"{way}: failed: {done.stderr.strip().splitlines()[-1:]}")
                continue
            results[way] = json.loads(done.stdout.strip().splitlines()[-1])
            say(f"{way}: {results[way]['warm']:,.0f} events/s warm")
        latencies = []
        if latency_batches:
            stack.kafka.create_topic("latency")
            given = environment("exactly_once_latency", "latency")
            names = StreamSettings.model_fields
            settings = StreamSettings(
                _env_file=None,
                **{name: given[name.upper()] for name in names if name.upper() in given},
            )
            latencies = latency(given, settings, latency_batches)
    return summary(events, results, latencies)


def summary(
    events: int, results: dict[str, dict[str, float]], latencies: list[float]
) -> dict[str, Any]:
    """The table, printed, and the JSON object."""
    say(f"\n{events:,} events, {os.cpu_count()} cores, {platform.machine()}")
    say(f"{'way':22} {'warm events/s':>14} {'first fifth, s':>15} {'all, s':>8}  guarantee")
    for way, result in results.items():
        say(
            f"{way:22} {result['warm']:14,.0f} {result['cold_s']:15.1f} {result['total_s']:8.1f}  "
            f"{GUARANTEE[way]}"
        )

    def ratio(peer: str) -> float | None:
        if peer not in results or "exactly_once" not in results:
            return None
        return round(results["exactly_once"]["warm"] / results[peer]["warm"], 2)

    found: dict[str, Any] = {
        "events": events,
        "exactly_once_events_per_s": round(results.get("exactly_once", {}).get("warm", 0)),
        "vs_noop": ratio("noop"),
        "vs_spark_jdbc": ratio("jdbc_tuned"),
        "vs_kafka_connect": ratio("kafka_connect"),
        "vs_simple_consumer": ratio("sqlalchemy"),
        "vs_psycopg_copy_consumer": ratio("psycopg_copy"),
        "vs_flink": ratio("flink"),
    }
    if latencies:
        found["latency_p50_s"] = round(statistics.median(latencies), 2)
        found["latency_p95_s"] = round(float(np.quantile(latencies, 0.95)), 2)
        say(f"a day of {LATENCY_BATCH} events committed after: {_spread(latencies)}")
    return found


def _spread(values: list[float]) -> str:
    return f"p50 {statistics.median(values):.2f} s, p95 {np.quantile(values, 0.95):.2f} s"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--latency-batches", type=int, default=20)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """The command line."""
    arguments = _arguments()
    if arguments.way:
        say(json.dumps(run_way(arguments.way, arguments.events)))
        return
    say(json.dumps(compare(arguments.events, arguments.ways, arguments.latency_batches)))


if __name__ == "__main__":
    main()
