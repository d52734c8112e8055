"""The stream on a real broker, Spark and PostgreSQL: stored once, quarantined, restarted."""

import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from pyspark import SparkContext
from pyspark.sql import SparkSession

from local_stack.stack import Stack
from streaming_job import drain, kafka_client, producer, requeue, session
from streaming_job import run as runs
from streaming_job.audit import audit, deep_audit
from streaming_job.broker_access import broker_access
from streaming_job.errors import RefusedError
from streaming_job.reason_codes import Reason
from streaming_job.settings import StreamSettings
from streaming_job.withdraw import withdraw
from tests.unit.streaming_job.test_transform import BORDERS, event, ms

STORES = 40
FIRST, LAST = date(2013, 1, 1), date(2015, 12, 31)


@dataclass
class Bench:
    """A fresh topic and database, and what is needed to look into them."""

    settings: StreamSettings
    environment: dict[str, str]
    owner_url: str

    def produce(self, frame: pd.DataFrame) -> int:
        return producer.produce(
            frame,
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            topic=self.settings.sales_topic,
        )

    def send(self, values: list[bytes | None], partition: int | None = None) -> None:
        producer.send(
            [(b"1", value) for value in values],
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            topic=self.settings.sales_topic,
            partition=partition,
        )

    def send_at(self, events: list[tuple[bytes | None, int]], partition: int = 0) -> None:
        """Send values with their times, in Kafka's milliseconds."""
        access = broker_access().client_options()
        with closing(KafkaProducer(bootstrap_servers=self.servers, acks="all", **access)) as client:
            sent = [
                client.send(
                    self.topic, key=b"1", value=value, timestamp_ms=time_ms, partition=partition
                )
                for value, time_ms in events
            ]
            client.flush(timeout=30)
            for future in sent:
                future.get(timeout=1)

    def send_transactions(self, transactions: list[tuple[list[bytes], bool]]) -> None:
        """Send each list of values to topic-partition 0 in one transaction, and end it."""
        with closing(
            KafkaProducer(
                bootstrap_servers=self.servers,
                transactional_id=f"t{time.time_ns()}",
                **broker_access().client_options(),
            )
        ) as client:
            client.init_transactions()
            for values, commits in transactions:
                client.begin_transaction()
                for value in values:
                    client.send(self.topic, key=b"1", value=value, partition=0)
                client.flush(timeout=30)
                (client.commit_transaction if commits else client.abort_transaction)()

    def configure_topic(self, **values: str) -> None:
        """Change settings of the topic; an underscore stands for a dot."""
        changes = {name.replace("_", "."): value for name, value in values.items()}
        resource = ConfigResource(ConfigResourceType.TOPIC, self.topic, changes)
        with closing(kafka_client.open_admin(self.servers)) as admin:
            admin.alter_configs([resource])

    @property
    def servers(self) -> str:
        return self.settings.kafka_bootstrap_servers

    @property
    def topic(self) -> str:
        return self.settings.sales_topic

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner_url) as connection:
            return connection.execute(statement).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            connection.execute(statement)

    def stored(self) -> Counter[tuple[Any, ...]]:
        return Counter(
            self.query(
                "SELECT store, date, day_of_week, sales, customers, open, promo, state_holiday, "
                "school_holiday FROM sales.raw_sales"
            )
        )

    def assert_balanced(self) -> None:
        assert audit(self.settings.database_url).faults == []
        assert deep_audit(self.settings).faults == []


def sales(days: int, stores: int = STORES, seed: int = 1) -> pd.DataFrame:
    """Made-up sales of some stores, one row a store and day."""
    rng = random.Random(seed)  # noqa: S311 - made-up sales
    rows = []
    for number in range(days):
        day = date(2015, 1, 1) + timedelta(days=number)
        for store in range(1, stores + 1):
            is_open = int(rng.random() < 0.9)
            rows.append(
                {
                    "Store": store,
                    "DayOfWeek": day.isoweekday(),
                    "Date": day.isoformat(),
                    "Sales": rng.randrange(1, 20_000) * is_open,
                    "Customers": rng.randrange(1, 2_000) * is_open,
                    "Open": is_open,
                    "Promo": rng.randrange(2),
                    "StateHoliday": rng.choice("000abc"),
                    "SchoolHoliday": rng.randrange(2),
                }
            )
    return pd.DataFrame(rows)


def as_stored(frame: pd.DataFrame) -> Counter[tuple[Any, ...]]:
    return Counter(
        (
            row.Store,
            date.fromisoformat(row.Date),
            row.DayOfWeek,
            row.Sales,
            row.Customers,
            row.Open,
            row.Promo,
            row.StateHoliday,
            row.SchoolHoliday,
        )
        for row in frame.itertuples()
    )


@pytest.fixture(scope="module")
def spark(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    settings = StreamSettings(  # only the session's settings matter here
        stream_database_url="postgresql://unused",
        kafka_bootstrap_servers="unused",
        spark_master=stack.environment["SPARK_MASTER"],
        spark_jars_dir=stack.environment["SPARK_JARS_DIR"],
    )
    _end_java_of_other_tests()
    running = session.build_session(settings)
    yield running
    running.stop()


def _end_java_of_other_tests() -> None:
    """Let Spark start a Java with the Kafka source's jars: one that runs finds them no more."""
    gateway = SparkContext._gateway
    if gateway is not None:
        gateway.shutdown()
        SparkContext._gateway = SparkContext._jvm = None


@pytest.fixture
def bench(stack: Stack, fresh_database: dict[str, str], fresh_topic: str, tmp_path: Path) -> Bench:
    changes = {
        **fresh_database,
        "SALES_TOPIC": fresh_topic,
        "SPARK_STREAM_CHECKPOINTS_PATH": str(tmp_path / "checkpoints"),
        "SALES_CALENDAR_START": FIRST.isoformat(),
        "SALES_CALENDAR_END": LAST.isoformat(),
    }
    environment = stack.component_environment("stream", changes)
    settings = StreamSettings(
        **{
            name.lower(): environment[name]
            for name in (
                "STREAM_DATABASE_URL",
                "KAFKA_BOOTSTRAP_SERVERS",
                "SALES_TOPIC",
                "SPARK_STREAM_CHECKPOINTS_PATH",
                "SPARK_MASTER",
                "SPARK_JARS_DIR",
                "SALES_CALENDAR_START",
                "SALES_CALENDAR_END",
            )
        },
    )
    made = Bench(settings, environment, fresh_database["OWNER_DATABASE_URL"])
    made.execute(
        "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
        f"SELECT number, 'a', 'a', 0 FROM generate_series(1, {STORES}) number"
    )
    return made


def eventually(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


def test_produced_events_are_stored_once(bench: Bench, spark: SparkSession) -> None:
    frame = sales(days=20)
    assert bench.produce(frame) == len(frame)
    counts = drain.drain(bench.settings, spark)
    assert (counts.stored, counts.quarantined, counts.gaps) == (len(frame), 0, 0)
    assert bench.stored() == as_stored(frame)
    assert drain.drain(bench.settings, spark).stored == 0
    bench.assert_balanced()


def test_the_driver_takes_no_message_of_anybody_else(spark: SparkSession) -> None:
    driver = spark.sparkContext._jsc.sc().env()
    ports = [driver.rpcEnv().address().port(), driver.blockManager().blockManagerId().port()]
    # Spark's frame (length, type, request, length) around the beginning of a serialized object.
    message = b"\0\0\0\xac\xed\0\5t\0\1x"
    frame = struct.pack(">qBqi", 21 + len(message), 3, 1, len(message)) + message
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.settimeout(10)
            connection.sendall(frame)
            assert b"Expected SaslMessage" in connection.recv(4096)


def test_changes_name_each_store_with_its_earliest_day(bench: Bench, spark: SparkSession) -> None:
    frame = sales(days=3, stores=5)
    bench.produce(frame[frame["Date"] > "2015-01-01"])
    bench.produce(frame[(frame["Date"] == "2015-01-01") & (frame["Store"] == 2)])
    drain.drain(bench.settings, spark)
    rows = bench.query(
        "SELECT kind, stores, first_days, until_offset - from_offset, done_at FROM sales.changes"
    )
    assert {row[0] for row in rows} == {"stream"}
    assert sum(row[3] for row in rows) == 11
    assert {row[4] for row in rows} == {None}
    found = {store: day for row in rows for store, day in zip(row[1], row[2], strict=True)}
    expected = {store: date(2015, 1, 2) for store in range(1, 6)} | {2: date(2015, 1, 1)}
    assert found == expected


def test_every_reason_is_quarantined_with_its_bytes(bench: Bench, spark: SparkSession) -> None:
    values = [value for value, _ in BORDERS] + [event(Store=STORES), event(Store=STORES + 1)]
    reasons = [reason for _, reason in BORDERS] + [None, Reason.UNKNOWN_STORE]
    bench.send(values, partition=0)
    timed = [
        (event(), 1_434_100_000, Reason.IMPOSSIBLE_TIME),
        (event(Open=0, Sales=0, Customers=0), ms(2015, 6, 10), Reason.FUTURE_SALES),
        (event(), ms(2015, 6, 11), None),
    ]
    bench.send_at([(value, sent) for value, sent, _ in timed])
    values += [value for value, _, _ in timed]
    reasons += [reason for _, _, reason in timed]
    assert set(reasons) == {*Reason, None} - {Reason.WITHDRAWN}
    counts = drain.drain(bench.settings, spark)
    assert counts.stored == reasons.count(None)
    rows = bench.query(
        "SELECT kafka_offset, reason, value, key, detail FROM sales.quarantined_events"
    )
    assert {row[0]: (row[1], row[2], row[3]) for row in rows} == {
        offset: (reason.value, value, b"1")
        for offset, (value, reason) in enumerate(zip(values, reasons, strict=True))
        if reason is not None
    }
    bench.assert_balanced()


def test_a_store_added_while_the_stream_runs_is_accepted(bench: Bench) -> None:
    with running_stream(bench):
        bench.send([event(Store=STORES + 1)])
        eventually(lambda: bench.query("SELECT count(*) FROM sales.quarantined_events") == [(1,)])
        bench.execute(
            "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
            f"VALUES ({STORES + 1}, 'a', 'a', 0)"
        )
        bench.send([event(Store=STORES + 1)])
        eventually(lambda: bench.query("SELECT count(*) FROM sales.raw_sales") == [(1,)])
    bench.assert_balanced()


def test_plans_are_stored_without_sales(bench: Bench, spark: SparkSession) -> None:
    frame = sales(days=1, stores=3).astype({"Sales": "float", "Customers": "float"})
    frame.loc[0, ["Sales", "Customers"]] = float("nan")
    bench.produce(frame)
    drain.drain(bench.settings, spark)
    assert bench.query("SELECT store FROM sales.raw_sales WHERE sales IS NULL") == [(1,)]
    bench.assert_balanced()


def test_a_recreated_topic_is_refused_until_accepted(
    bench: Bench, spark: SparkSession, stack: Stack
) -> None:
    frame = sales(days=2)
    bench.produce(frame)
    bench.send([event(Store=STORES + 1)])
    drain.drain(bench.settings, spark)
    stack.kafka.delete_topic(bench.settings.sales_topic)
    eventually(lambda: _recreated(stack, bench.settings.sales_topic))
    bench.produce(frame)
    with pytest.raises(RefusedError, match=r"recreated.*--accept-recreated-topic"):
        drain.drain(bench.settings, spark)
    # Looking at it is not accepting it.
    assert any("recreated" in fault for fault in deep_audit(bench.settings).faults)
    with pytest.raises(RefusedError, match=r"recreated.*--accept-recreated-topic"):
        drain.drain(bench.settings, spark)
    assert drain.drain(bench.settings, spark, accept_recreated_topic=True).stored == len(frame)
    bench.assert_balanced()
    # However often the stream starts, it takes no further number: there are only 32,767.
    assert bench.query("SELECT stream_id FROM sales.streams ORDER BY 1") == [(1,), (2,)]
    # What the old topic left in quarantine is requeued like the rest.
    bench.execute(
        "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
        f"VALUES ({STORES + 1}, 'a', 'a', 0)"
    )
    assert requeue.requeue(bench.settings) == 1
    bench.assert_balanced()


def _recreated(stack: Stack, topic: str) -> bool:
    try:
        stack.kafka.create_topic(topic)
    except Exception:  # the old one is still being deleted
        return False
    return True


def test_audit_finds_what_is_missing_and_what_is_doubled(bench: Bench, spark: SparkSession) -> None:
    bench.produce(sales(days=2))
    drain.drain(bench.settings, spark)
    bench.execute("DELETE FROM sales.raw_sales WHERE store = 1")
    assert any("stored" in fault for fault in audit(bench.settings.database_url).faults)
    bench.execute(
        "UPDATE sales.stream_offsets o SET stored = (SELECT count(*) FROM sales.raw_sales r "
        "WHERE r.topic_partition = o.topic_partition), gaps = o.stored - (SELECT count(*) "
        "FROM sales.raw_sales r WHERE r.topic_partition = o.topic_partition)"
    )
    assert audit(bench.settings.database_url).balanced
    assert any("in no table" in fault for fault in deep_audit(bench.settings).faults)
    bench.execute("INSERT INTO sales.raw_sales SELECT * FROM sales.raw_sales WHERE store = 2")
    assert any("share" in fault for fault in audit(bench.settings.database_url).faults)


def test_deep_audit_compares_what_events_say(bench: Bench, spark: SparkSession) -> None:
    bench.send([event(), event(Sales=-1), event(Store=2)], partition=0)
    drain.drain(bench.settings, spark)
    for damage, repair, fault in (
        (
            "UPDATE sales.raw_sales SET sales = sales + 1 WHERE store = 2",
            "UPDATE sales.raw_sales SET sales = sales - 1 WHERE store = 2",
            "offset 2 (sales 5263 in Kafka, 5264 stored)",
        ),
        (
            "UPDATE sales.raw_sales SET event_time = event_time + interval '1 day' WHERE store = 2",
            "UPDATE sales.raw_sales SET event_time = event_time - interval '1 day' WHERE store = 2",
            "stored with another time",
        ),
        (
            "UPDATE sales.raw_sales SET state_holiday = 'a' WHERE store = 2",
            "UPDATE sales.raw_sales SET state_holiday = '0' WHERE store = 2",
            "state_holiday 0 in Kafka, a stored",
        ),
        (
            "UPDATE sales.quarantined_events SET value = value || ' '",
            "UPDATE sales.quarantined_events SET value = substr(value, 1, length(value) - 1)",
            "offset 1 (quarantined otherwise)",
        ),
    ):
        bench.execute(damage)
        assert audit(bench.settings.database_url).balanced, "the offsets alone do not show it"
        (found,) = deep_audit(bench.settings).faults
        assert fault in found
        bench.execute(repair)
        bench.assert_balanced()


def test_a_broker_that_lost_its_tail_and_was_overtaken_is_refused(
    bench: Bench, spark: SparkSession, stack: Stack
) -> None:
    bench.send([event(Sales=number) for number in range(10)], partition=0)
    drain.drain(bench.settings, spark)
    # What such a broker looks like: the ledger's topic and offsets, and other events there.
    other = f"{bench.topic}-overtaken"
    stack.kafka.create_topic(other)
    try:
        uuid = kafka_client.describe_topic(bench.servers, other).uuid
        producer.send(
            [(b"1", event(Sales=number if number < 7 else 100)) for number in range(12)],
            bootstrap_servers=bench.servers,
            topic=other,
            partition=0,
        )
        bench.execute(f"UPDATE sales.streams SET topic = '{other}', topic_uuid = '{uuid}'")
        settings = bench.settings.model_copy(update={"sales_topic": other})
        with pytest.raises(RefusedError, match="0 holds another event at offset 9"):
            drain.drain(settings, spark)
        (fault,) = deep_audit(settings).faults
        assert "10 events are not in the tables as Kafka holds them" in fault
    finally:
        stack.kafka.delete_topic(other)


def test_compaction_of_stored_events_is_no_fault(bench: Bench, spark: SparkSession) -> None:
    bench.configure_topic(segment_ms="100")
    for number in range(5):
        bench.send([event(Sales=number)], partition=0)
        time.sleep(0.2)
    drain.drain(bench.settings, spark)
    # Not before: what the broker removes unread is a gap.
    bench.configure_topic(
        cleanup_policy="compact",
        min_cleanable_dirty_ratio="0.001",
        max_compaction_lag_ms="100",
        segment_ms="100",
    )
    bench.send([event(Sales=6)], partition=0)

    def compacted() -> int:
        pages = kafka_client.read_events(bench.servers, bench.topic, 0, 0, 5, 100)
        return 5 - sum(len(records) for records, _ in pages)

    eventually(lambda: compacted() > 0)
    # The broker goes on meanwhile.
    before = compacted()
    report = deep_audit(bench.settings)
    assert report.faults == []
    assert before <= report.compacted <= compacted()
    assert drain.drain(bench.settings, spark).stored == 1
    bench.assert_balanced()


@pytest.mark.parametrize("codec", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_transactions_in_every_codec_are_stored_and_audited(
    bench: Bench, spark: SparkSession, codec: str
) -> None:
    bench.configure_topic(compression_type=codec)
    first, aborted, second = (
        [event(Store=store, Sales=number) for number in range(200)] for store in (1, 2, 3)
    )
    bench.send_transactions([(first, True)])
    assert drain.drain(bench.settings, spark).stored == 200
    # The next task's first event does not continue the ledger: the marker is proved to be a gap.
    bench.send_transactions([(aborted, False), (second, True)])
    assert drain.drain(bench.settings, spark).stored == 200
    assert bench.query("SELECT store, count(*) FROM sales.raw_sales GROUP BY 1 ORDER BY 1") == [
        (1, 200),
        (3, 200),
    ]
    assert deep_audit(bench.settings).compared == 400
    bench.assert_balanced()


# Before Kafka 3.6 no broker refused such times.
NOW_MS = int(time.time() * 1_000)
ODD_TIMES = [
    (event(Store=1), NOW_MS),
    (event(Store=2), NOW_MS * 1_000),
    (event(Store=3), NOW_MS * 1_000_000),
    (event(Store=4), NOW_MS // 1_000),
    (event(Store=5), NOW_MS),
    (event(Store=6), NOW_MS * 1_000_000),
    (event(Store=7), NOW_MS),
]


def allow_any_time(bench: Bench) -> None:
    bench.configure_topic(message_timestamp_after_max_ms=str(2**63 - 1))


def test_impossible_times_are_quarantined_and_stop_nothing(
    bench: Bench, spark: SparkSession
) -> None:
    allow_any_time(bench)
    bench.send_at(ODD_TIMES)
    bench.send([event(Store=8)], partition=1)
    counts = drain.drain(bench.settings, spark)
    assert (counts.stored, counts.quarantined) == (4, 4)
    rows = bench.query(
        "SELECT kafka_offset, reason, event_time FROM sales.quarantined_events ORDER BY 1"
    )
    assert [row[:2] for row in rows] == [(n, "impossible_time") for n in (1, 2, 3, 5)]
    # Whoever reads a frame of it is not stopped either.
    assert pd.to_datetime([row[2] for row in rows]).year.tolist() == [2262, 2262, 1970, 2262]
    assert requeue.requeue(bench.settings) == 0
    bench.assert_balanced()


def test_a_running_stream_gets_past_times_that_spark_cannot_read(
    bench: Bench, spark: SparkSession
) -> None:
    allow_any_time(bench)
    supervisor = runs.Supervisor(bench.settings)

    def send_twice() -> None:
        try:
            for stored in (5, 10):
                bench.send_at(ODD_TIMES)
                bench.send([event(Store=8), event(Store=9)], partition=1)
                eventually(
                    lambda n=stored: bench.query("SELECT count(*) FROM sales.raw_sales") == [(n,)]
                )
        finally:
            supervisor.stopping.set()

    # Spark knows the sink's data source in the thread of its session only.
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_twice)
        supervisor.run(spark)
        sending.result()
    assert bench.query("SELECT count(*) FROM sales.quarantined_events") == [(8,)]
    bench.assert_balanced()


def test_a_correction_from_a_slow_clock_is_counted_and_shown(
    bench: Bench, spark: SparkSession
) -> None:
    now = NOW_MS
    bench.send_at([(event(Sales=1), now), (event(Sales=2), now - 300_000)])
    drain.drain(bench.settings, spark)
    report = audit(bench.settings.database_url)
    assert (report.faults, report.outdated) == ([], 1)
    assert "store 1 on 2015-06-12: Sales 2 sent" in report.outdated_examples[0]
    assert "arrived after Sales 1" in report.outdated_examples[0]
    bench.send_at(
        [
            (event(Sales=3), now - 600_000),
            (event(Sales=1), now - 500_000),  # says what counts already
            (event(Sales=4), now + 1_000),  # newer: counts
            (event(Store=2, Sales=5), now - 300_000),  # the first of its day
            (event(Sales=..., Customers=...), now - 300_000),  # a plan; there is no other
        ]
    )
    drain.drain(bench.settings, spark)
    rows = bench.query(
        "SELECT kafka_offset, sales, kept_offset, kept_sales FROM sales.outdated_corrections "
        "ORDER BY kafka_offset"
    )
    assert rows == [(1, 2, 0, 1), (2, 3, 0, 1)]
    assert audit(bench.settings.database_url).outdated == 0, "the newer event has settled it"
    bench.assert_balanced()


def test_withdrawn_sales_are_accounted_for_and_come_back_only_on_request(
    bench: Bench, spark: SparkSession
) -> None:
    bench.send_at([(event(Sales=1), NOW_MS - 1_000), (event(Sales=2), NOW_MS)])
    bench.send([event(Store=2)], partition=1)
    drain.drain(bench.settings, spark)
    # As if stored before event times were judged.
    bench.execute("UPDATE sales.raw_sales SET event_time = '58871-06-26' WHERE sales = 2")
    bench.execute("UPDATE sales.changes SET done_at = now()")
    with pytest.raises(RefusedError, match=r"store 3 has no sales of 2015-06-12"):
        withdraw(bench.settings.database_url, 3, date(2015, 6, 12), "no such sale")
    with pytest.raises(RefusedError, match="needs a reason"):
        withdraw(bench.settings.database_url, 1, date(2015, 6, 12), " ")
    done = withdraw(bench.settings.database_url, 1, date(2015, 6, 12), "typed twice")
    assert [sale.sales for sale in done.withdrawn] == [2]
    assert done.remaining is not None
    assert done.remaining.sales == 1
    assert audit(bench.settings.database_url).balanced
    assert bench.query("SELECT reason, detail FROM sales.quarantined_events") == [
        ("withdrawn", "typed twice")
    ]
    assert bench.query(
        "SELECT kind, stores, first_days FROM sales.changes WHERE done_at IS NULL"
    ) == [("withdrawal", [1], [date(2015, 6, 12)])]
    assert requeue.requeue(bench.settings) == 0
    done = withdraw(bench.settings.database_url, 1, date(2015, 6, 12), "all wrong", every=True)
    assert (len(done.withdrawn), done.remaining) == (1, None)
    assert bench.query("SELECT store FROM sales.raw_sales") == [(2,)]
    assert requeue.requeue(bench.settings, reasons=[Reason.WITHDRAWN]) == 1
    assert bench.query("SELECT sales FROM sales.raw_sales ORDER BY store") == [(1,), (5263,)]
    assert audit(bench.settings.database_url).balanced
    # What was stored with a time of its own is not as Kafka holds it; the others are.
    (fault,) = deep_audit(bench.settings).faults
    assert "1 events" in fault


def test_the_command_says_what_was_withdrawn_and_what_counts(
    bench: Bench, spark: SparkSession
) -> None:
    bench.send([event()])
    drain.drain(bench.settings, spark)
    command = [sys.executable, "-m", "streaming_job", "withdraw", "--store", "1"]
    command += ["--date", "2015-06-12", "--reason", "a typing error"]
    done = subprocess.run(
        command, env=bench.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "withdrew Sales 5263" in done.stdout
    assert "now: none" in done.stdout
    done = subprocess.run(
        command, env=bench.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "store 1 has no sales of 2015-06-12" in done.stderr


class running_stream:  # noqa: N801 - reads as a statement
    """`python -m streaming_job run` as a process of its own."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.log = bench.settings.spark_stream_checkpoints_path.parent / f"{time.time_ns()}.log"

    def __enter__(self) -> "running_stream":
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streaming_job", "run", "--progress-seconds", "1"],
                env=self.bench.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) == 0, self.log.read_text()[-3_000:]


@pytest.mark.parametrize("lose_checkpoints", [pytest.param(False, marks=pytest.mark.chaos), True])
def test_killed_in_the_middle_and_started_again_ends_in_the_same_tables(
    bench: Bench, lose_checkpoints: bool
) -> None:
    frame = sales(days=300)
    bench.environment["STREAM_MAX_OFFSETS_PER_TRIGGER"] = "500"
    bench.produce(frame)

    def stored() -> int:
        return int(bench.query("SELECT count(*) FROM sales.raw_sales")[0][0])

    with running_stream(bench) as stream:
        eventually(lambda: stored() > 0)
        stream.kill()
    assert 0 < stored() < len(frame)
    if lose_checkpoints:
        shutil.rmtree(bench.settings.spark_stream_checkpoints_path)
    bench.environment["STREAM_MAX_OFFSETS_PER_TRIGGER"] = "10000"
    with running_stream(bench):
        eventually(lambda: stored() >= len(frame))
    assert bench.stored() == as_stored(frame)
    bench.assert_balanced()
    done = subprocess.run(
        [sys.executable, "-m", "streaming_job", "audit", "--deep"],
        env=bench.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "balanced" in done.stdout


def test_requeue_moves_each_mended_event_once(bench: Bench, spark: SparkSession) -> None:
    bench.send(
        [event(Store=STORES + 1), event(Store=STORES + 2), event(Sales=-1), event(), b"x" * 70_000]
    )
    drain.drain(bench.settings, spark)
    bench.execute(
        "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
        f"VALUES ({STORES + 1}, 'a', 'a', 0)"
    )
    assert requeue.requeue(bench.settings, reasons=[Reason.NEGATIVE_SALES]) == 0
    assert requeue.requeue(bench.settings) == 1
    assert requeue.requeue(bench.settings) == 0
    assert bench.query("SELECT store FROM sales.raw_sales ORDER BY store") == [(1,), (STORES + 1,)]
    assert bench.query("SELECT stores FROM sales.changes WHERE kind = 'requeue'") == [
        ([STORES + 1],)
    ]
    bench.assert_balanced()
