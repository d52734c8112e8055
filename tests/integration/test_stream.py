"""The stream on a real broker, Spark and PostgreSQL: stored once, quarantined, restarted."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from pyspark.sql import SparkSession

from local_stack.stack import Stack
from streaming_job import drain, producer, requeue, session
from streaming_job.audit import audit, deep_audit
from streaming_job.errors import RefusedError
from streaming_job.reason_codes import Reason
from streaming_job.settings import StreamSettings
from tests.unit.streaming_job.test_transform import BORDERS, event

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
    running = session.build_session(settings)
    yield running
    running.stop()


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
    assert set(reasons) == {*Reason, None}
    bench.send(values, partition=0)
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


@pytest.mark.parametrize("lose_checkpoints", [False, True])
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
        [event(Store=STORES + 1), event(Store=STORES + 2), event(Sales=-1), event(), b"x" * 2_000]
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
