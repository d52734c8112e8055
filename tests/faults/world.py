"""A stack with a stream and a sender that faults can be let loose on, and the check afterwards."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg
from kafka import KafkaAdminClient, TopicPartition

from local_stack.stack import Stack
from streaming_job import kafka_client
from streaming_job.audit import deep_audit
from streaming_job.settings import StreamSettings
from tests.faults import sender
from tests.unit.streaming_job import mutations, oracle

STORES = 1115
ROW = (
    "store",
    "day_of_week",
    "date",
    "sales",
    "customers",
    "open",
    "promo",
    "state_holiday",
    "school_holiday",
)
# Small, so that every fault meets several batches, and hung tasks are evicted within the round.
STREAM_SETTINGS = {
    "STREAM_MAX_OFFSETS_PER_TRIGGER": "1500",
    "STREAM_LOCK_TIMEOUT_SECONDS": "5",
    "STREAM_IDLE_TIMEOUT_SECONDS": "15",
}
CAUGHT_UP_SECONDS = 240.0
RUNNING = "the stream is running"


class World:
    """One topic, one database, one stream; use it in a `with` statement."""

    def __init__(self, stack: Stack, database: dict[str, str], folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.owner_url = database["OWNER_DATABASE_URL"]
        self.database = database["STREAM_DATABASE_URL"].rsplit("/", 1)[1]
        self.topic = f"faults-{uuid.uuid4().hex[:8]}"
        stack.kafka.create_topic(self.topic)
        environment = stack.component_environment(
            "stream",
            {
                **database,
                "SALES_TOPIC": self.topic,
                "SPARK_STREAM_CHECKPOINTS_PATH": str(folder / "checkpoints"),
                "SALES_CALENDAR_START": mutations.FIRST.isoformat(),
                "SALES_CALENDAR_END": mutations.LAST.isoformat(),
            },
        )
        self.environment = environment | STREAM_SETTINGS
        names = StreamSettings.model_fields
        self.settings = StreamSettings(
            _env_file=None,
            **{name: environment[name.upper()] for name in names if name.upper() in environment},
        )
        self.stream: subprocess.Popen[bytes] | None = None
        self.log = folder / "stream.log"
        self.execute(
            "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
            f"SELECT number, 'a', 'a', 0 FROM generate_series(1, {STORES}) number"
        )

    def __enter__(self) -> Self:
        self.start_stream()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill_stream()

    # The stream ----------------------------------------------------------------------------------

    def start_stream(self, *arguments: str) -> None:
        self.stream = self.spawn_stream(self.environment, self.log, *arguments)

    def spawn_stream(
        self, environment: dict[str, str], log: Path, *arguments: str
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "streaming_job", "run", *arguments],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_running(self, seconds: float = 120) -> None:
        eventually(lambda: RUNNING in self.log.read_text(), seconds, "the stream to run")

    def kill_stream(self) -> None:
        if self.stream is not None:
            kill_group(self.stream)
            self.stream = None

    def stop_stream(self) -> int:
        assert self.stream is not None
        self.stream.send_signal(signal.SIGTERM)
        code = self.stream.wait(60)
        kill_group(self.stream)
        self.stream = None
        return code

    def revive_stream(self) -> None:
        """Starts the stream again where a fault has ended it."""
        if self.stream is None or self.stream.poll() is not None:
            self.kill_stream()
            self.start_stream()

    def python_workers(self) -> list[psutil.Process]:
        """Spark's Python workers: what the daemon has forked."""
        if self.stream is None or self.stream.poll() is not None:
            return []
        family = psutil.Process(self.stream.pid).children(recursive=True)
        daemons = {process.pid for process in family if "pyspark.daemon" in _words(process)}
        return [process for process in family if process.ppid() in daemons]

    # PostgreSQL and Kafka ------------------------------------------------------------------------

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner_url) as connection:
            return connection.execute(statement, parameters).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            connection.execute(statement)

    @contextmanager
    def superuser(self) -> Iterator[psycopg.Connection]:
        with self.stack.postgres.admin_connection(self.database) as connection:
            connection.autocommit = True
            yield connection

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        client = kafka_client.open_admin(self.settings.kafka_bootstrap_servers)
        try:
            yield client
        finally:
            client.close()

    # Events --------------------------------------------------------------------------------------

    def spawn_sender(self, seed: int, count: int, per_second: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                sender.__name__,
                self.settings.kafka_bootstrap_servers,
                self.topic,
                str(seed),
                str(count),
                str(per_second),
            ],
            start_new_session=True,
        )

    def lag(self) -> int:
        """Events that no transaction has taken yet (markers at the end count too)."""
        topic = kafka_client.describe_topic(self.settings.kafka_bootstrap_servers, self.topic)
        _, ends = kafka_client.ends(
            self.settings.kafka_bootstrap_servers, self.topic, topic.partitions
        )
        taken = dict(
            self.query(
                "SELECT topic_partition, next_offset FROM sales.stream_offsets o "
                "JOIN sales.streams s USING (stream_id) WHERE topic_uuid = %s",
                topic.uuid,
            )
        )
        behind = 0
        for partition, end in ends.items():
            start = taken.get(partition, 0)
            if start < end and self._has_event(partition, start, end):
                behind += end - start
        return behind

    def _has_event(self, partition: int, start: int, end: int) -> bool:
        return (
            kafka_client.first_event_between(
                self.settings.kafka_bootstrap_servers, self.topic, partition, start, end
            )
            is not None
        )

    def wait_until_caught_up(self, seconds: float = CAUGHT_UP_SECONDS) -> float:
        began = time.monotonic()
        eventually(lambda: self._lag_or_many() == 0, seconds, "the stream to catch up")
        return time.monotonic() - began

    def _lag_or_many(self) -> int:
        try:
            return self.lag()
        except Exception:  # PostgreSQL or Kafka is still coming back
            return 1

    # The check -----------------------------------------------------------------------------------

    def check(self) -> int:
        """Holds every event that Kafka holds against the tables; returns how many there are.

        Raises:
            AssertionError: An event is lost, doubled, changed, or judged differently.
        """
        audit = deep_audit(self.settings)
        assert audit.faults == [], audit.faults
        topic = kafka_client.describe_topic(self.settings.kafka_bootstrap_servers, self.topic)
        expected: dict[tuple[int, int], Any] = {}
        for partition in topic.partitions:
            for offset, value in self._events(partition):
                expected[partition, offset] = _expected(value)
        of_stream = "JOIN sales.streams s USING (stream_id) WHERE topic_uuid = %s"
        stored = self.query(
            f"SELECT topic_partition, kafka_offset, {', '.join(ROW)} "
            f"FROM sales.raw_sales {of_stream}",
            topic.uuid,
        )
        bad = self.query(
            "SELECT topic_partition, kafka_offset, reason, value "
            f"FROM sales.quarantined_events {of_stream}",
            topic.uuid,
        )
        found = {(row[0], row[1]): tuple(row[2:]) for row in [*stored, *bad]}
        assert len(found) == len(stored) + len(bad), "an offset is in the tables twice"
        wrong = [key for key in expected if found.get(key) != expected[key]]
        assert not wrong, (len(wrong), wrong[0], expected[wrong[0]], found.get(wrong[0]))
        return len(expected)

    def _events(self, partition: int) -> Iterator[tuple[int, bytes | None]]:
        where = TopicPartition(self.topic, partition)
        with kafka_client.open_consumer(self.settings.kafka_bootstrap_servers) as consumer:
            consumer.assign([where])
            consumer.seek_to_beginning(where)
            end = consumer.end_offsets([where])[where]
            while consumer.position(where) < end:
                for record in consumer.poll(timeout_ms=500, max_records=10_000).get(where, []):
                    yield record.offset, record.value


def _expected(value: bytes | None) -> tuple[Any, ...]:
    verdict = oracle.judge(value, mutations.FIRST, mutations.LAST)
    if verdict.reason is not None:
        return verdict.reason.value, value
    if not 1 <= verdict.row["store"] <= STORES:
        return "unknown_store", value
    return tuple(verdict.row[name] for name in ROW)


@contextmanager
def new_world(stack: Stack, database: dict[str, str]) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        with World(stack, database, folder) as world:
            yield world
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Signal 9 for a process of ours and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a fault's moment, not a secret
