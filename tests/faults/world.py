"""A stack with a stream and a sender for the faults to strike, and the check afterwards."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import psutil
import psycopg
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from local_stack.processes import MARKER
from local_stack.stack import Stack
from streaming_job import kafka_client, producer
from streaming_job.audit import deep_audit
from streaming_job.broker_access import broker_access
from streaming_job.errors import StreamError
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
# These values are small, so that a fault affects several batches, and PostgreSQL evicts a hung task
# within the round.
LOCK_TIMEOUT_SECONDS = 5
IDLE_TIMEOUT_SECONDS = 15
STREAM_SETTINGS = {
    "STREAM_MAX_OFFSETS_PER_TRIGGER": "1500",
    "STREAM_LOCK_TIMEOUT_SECONDS": str(LOCK_TIMEOUT_SECONDS),
    "STREAM_IDLE_TIMEOUT_SECONDS": str(IDLE_TIMEOUT_SECONDS),
    # Spark starts dozens of times in a long run, and its first batch is mostly compilation.
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
}
CAUGHT_UP_SECONDS = 240.0
HEALTHY_EVENTS = 20
RUNNING = "the stream is running"
Offsets = dict[int, int]


class Sender:
    """A process that sends events, and its record of the broker's acknowledgements."""

    def __init__(self, world: "World", seed: int, count: int, per_second: float) -> None:
        self.seed = seed
        self.count = count
        self.held = world.held
        self.acknowledgements = world.folder / f"acknowledged-{time.time_ns()}"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                sender.__name__,
                world.settings.kafka_bootstrap_servers,
                world.topic,
                str(seed),
                str(count),
                str(per_second),
                str(self.acknowledgements),
            ],
            start_new_session=True,
        )

    def wait_until_sending(self) -> None:
        eventually(lambda: bool(self.acknowledged()), 60, "the sender to send")

    def acknowledged(self) -> set[int]:
        if not self.acknowledgements.exists():
            return set()
        # A kill may cut the last line short; such a line names no event.
        return {int(line) for line in self.acknowledgements.read_bytes().split(b"\n")[:-1]}

    def wait(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError("the sender hangs") from error

    def kill(self) -> None:
        kill_group(self.process)


@dataclass
class Held:
    """The harness's record of a topic.

    Attributes:
        uuid: The topic's id.
        values: Topic-partition and offset -> value of each event that Kafka held.
        expected: Topic-partition and offset -> row that the tables must hold. Events that retention
            deleted before the stream read them are not expected.
        read_to: Offset up to which the harness has read each topic-partition.
        deleted_to: Offset up to which retention has deleted each topic-partition.
        expired: Number of events that were deleted unread, by topic-partition.
        acknowledged: Values of the acknowledged events.
        perhaps: Values of events whose sender ended before the broker's answer. Kafka holds each of
            them once or not at all.
    """

    uuid: str
    values: dict[tuple[int, int], bytes | None] = field(default_factory=dict)
    expected: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    read_to: Offsets = field(default_factory=dict)
    deleted_to: Offsets = field(default_factory=dict)
    expired: Counter[int] = field(default_factory=Counter)
    acknowledged: Counter[bytes | None] = field(default_factory=Counter)
    perhaps: Counter[bytes | None] = field(default_factory=Counter)


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
        # The stack's watchdog ends processes with this marker when the harness is killed.
        marker = {MARKER: str(stack.folder)}
        self.environment = environment | STREAM_SETTINGS | marker
        names = StreamSettings.model_fields
        self.settings = StreamSettings(
            **{name: environment[name.upper()] for name in names if name.upper() in environment},
        )
        self.stream: subprocess.Popen[bytes] | None = None
        #: Held to kill or start the stream, because two faults may do so at once.
        self.stream_lock = threading.RLock()
        self.log = folder / "stream.log"
        self.held = Held(self._topic_now().uuid)
        #: Records of deleted topics of the same name. Their events stay in the tables.
        self.former: list[Held] = []
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
        with self.stream_lock:
            assert self.stream is None
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

    def wait_until_running(self, seconds: float = 180) -> None:
        eventually(lambda: RUNNING in self.log.read_text(), seconds, "the stream to run")

    def wait_until_healthy(self) -> None:
        """Wait for the stream and its first batch, which is too slow to be measured."""
        self.wait_until_running()
        self.healthy_latency(seed=0)

    def kill_stream(self) -> None:
        with self.stream_lock:
            if self.stream is not None:
                kill_group(self.stream)
                self.stream = None

    def assert_stream_is_alive(self) -> None:
        """Assert that no fault of another service has ended the stream."""
        assert self.stream is not None
        code = self.stream.poll()
        assert code is None, f"the stream ended by itself with exit code {code}"

    def python_workers(self) -> list[psutil.Process]:
        """Return Spark's Python workers, which are the children of PySpark's daemon."""
        try:
            family = self.stream_family()
            daemons = {process.pid for process in family if "pyspark.daemon" in _words(process)}
            return [process for process in family if process.ppid() in daemons]
        except psutil.NoSuchProcess:
            return []

    def stream_family(self) -> list[psutil.Process]:
        """Return the processes that the stream's driver has started."""
        with self.stream_lock:
            if self.stream is None or self.stream.poll() is not None:
                return []
            return psutil.Process(self.stream.pid).children(recursive=True)

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

    def _topic_now(self) -> kafka_client.Topic:
        return kafka_client.describe_topic(self.settings.kafka_bootstrap_servers, self.topic)

    def ends(self) -> Offsets:
        """Return the end of each topic-partition; wait for a broker that restarts."""
        deadline = time.monotonic() + 60
        while True:
            try:
                _, ends = kafka_client.offset_bounds(
                    self.settings.kafka_bootstrap_servers, self.topic, self._topic_now().partitions
                )
                return ends
            except StreamError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def recreate_topic(self) -> None:
        """Delete the topic and create another of the same name; the tables must keep its events."""
        self.stack.kafka.delete_topic(self.topic)
        eventually(self._create_topic_again, 60, "the old topic to go")
        self.former.append(self.held)
        self.held = Held(self._topic_now().uuid)
        assert self.held.uuid != self.former[-1].uuid

    def _create_topic_again(self) -> bool:
        self.stack.kafka.create_topic(self.topic)
        try:
            return self._topic_now().uuid != self.held.uuid
        except StreamError:  # neither topic exists at this moment
            return False

    def delete_unread(self, partition: int) -> None:
        """Delete all events of a topic-partition, as retention does, while no stream runs.

        The check then expects the ledger to count each unread offset as expired.
        """
        assert self.stream is None
        # PostgreSQL may still commit the last transaction of the killed stream.
        eventually(self._sink_is_gone, 30, "the killed stream's transactions to end")
        self.note_events()
        end = self.held.read_to[partition]
        with self.admin() as admin:
            admin.delete_records({TopicPartition(self.topic, partition): end})
        unread = range(self.taken().get(partition, 0), end)
        assert unread, f"everything of topic-partition {partition} was read already"
        self.held.expired[partition] += len(unread)
        self.held.deleted_to[partition] = end
        for offset in unread:
            self.held.expected.pop((partition, offset), None)

    def _sink_is_gone(self) -> bool:
        with self.superuser() as connection:
            return not connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name LIKE 'streaming_job%'"
            ).fetchall()

    # Events --------------------------------------------------------------------------------------

    def send(self, seed: int, count: int, partition: int | None = None) -> None:
        """Send events without pauses; return when all of them are acknowledged."""
        pairs = list(sender.events(seed, count))
        producer.send(
            pairs,
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            topic=self.topic,
            partition=partition,
        )
        self.held.acknowledged.update(value for _, value in pairs)

    def account(self, ended: Sender) -> None:
        """Record the events that Kafka must hold and may hold from a sender that has ended."""
        acknowledged = ended.acknowledged()
        complete = ended.process.wait() == 0
        assert not complete or len(acknowledged) == ended.count, "the sender lost acknowledgements"
        for number, (_, value) in enumerate(sender.events(ended.seed, ended.count)):
            if number in acknowledged:
                ended.held.acknowledged[value] += 1
            else:
                ended.held.perhaps[value] += 1

    def healthy_latency(self, seed: int) -> float:
        """Return the seconds from the broker's acknowledgement of a small batch to its commit."""
        pairs = list(sender.events(seed, HEALTHY_EVENTS))
        handled = "SELECT coalesce(sum(stored + quarantined), 0) FROM sales.stream_offsets"
        with (
            psycopg.connect(self.owner_url, autocommit=True) as connection,
            closing(
                KafkaProducer(
                    bootstrap_servers=self.settings.kafka_bootstrap_servers,
                    acks="all",
                    **broker_access().client_options(),
                )
            ) as client,
        ):

            def count() -> int:
                rows = connection.execute(handled).fetchall()
                return int(rows[0][0])

            before = count()
            for key, value in pairs:
                client.send(self.topic, key=key, value=value)
            client.flush(timeout=30)
            acknowledged = time.monotonic()
            self.held.acknowledged.update(value for _, value in pairs)
            eventually(
                lambda: count() >= before + len(pairs), 120, "a small batch", every_seconds=0.01
            )
            return time.monotonic() - acknowledged

    def taken(self) -> Offsets:
        """Return the ledger's next offset of each topic-partition."""
        return dict(
            self.query(
                "SELECT topic_partition, next_offset FROM sales.stream_offsets o "
                "JOIN sales.streams s USING (stream_id) WHERE topic_uuid = %s",
                self.held.uuid,
            )
        )

    def wait_until_taken(self, ends: Offsets, seconds: float = CAUGHT_UP_SECONDS) -> float:
        """Wait until the ledger has reached the offsets; return the seconds of the wait."""
        began = time.monotonic()
        stood_still_since, last = began, None
        while True:
            self.assert_stream_is_alive()
            try:
                taken = self.taken()
                behind = {p: end for p, end in ends.items() if taken.get(p, 0) < end}
                if not behind:
                    return time.monotonic() - began
                now = time.monotonic()
                if taken != last:
                    stood_still_since, last = now, taken
                # The ledger does not pass markers and aborted events at a topic-partition's end. A
                # stream that waits before them looks like one that works, so Kafka is asked
                # whether an event follows.
                elif now - stood_still_since > 1 and not any(
                    self._has_event(partition, taken.get(partition, 0), end)
                    for partition, end in behind.items()
                ):
                    return stood_still_since - began
            except (psycopg.OperationalError, StreamError):
                last = None  # PostgreSQL or Kafka still restarts
            assert time.monotonic() < began + seconds, (
                f"waited {seconds:.0f} s for the stream to reach {ends}; the ledger has {last}"
            )
            time.sleep(0.05)

    def _has_event(self, partition: int, start: int, end: int) -> bool:
        return (
            kafka_client.first_event_between(
                self.settings.kafka_bootstrap_servers, self.topic, partition, start, end
            )
            is not None
        )

    # The check -----------------------------------------------------------------------------------

    def check(self) -> int:
        """Compare the sent events with Kafka, and Kafka's events with the tables.

        Returns:
            The number of events that were compared with the tables.

        Raises:
            AssertionError: An event is lost, duplicated, changed, or judged differently.
        """
        audit = deep_audit(self.settings)
        assert audit.faults == [], audit.faults
        self.note_events()
        for held in (*self.former, self.held):
            in_kafka = Counter(held.values.values())
            lost = held.acknowledged - in_kafka
            assert not lost, f"{lost.total()} acknowledged events are not in Kafka"
            strange = in_kafka - held.acknowledged - held.perhaps
            assert not strange, (
                f"Kafka holds {strange.total()} more events than were sent: {strange}"
            )
            self._check_tables(held)
        return sum(len(held.expected) for held in (*self.former, self.held))

    def _check_tables(self, held: Held) -> None:
        of_stream = "JOIN sales.streams s USING (stream_id) WHERE topic_uuid = %s"
        stored = self.query(
            f"SELECT topic_partition, kafka_offset, {', '.join(ROW)} "
            f"FROM sales.raw_sales {of_stream}",
            held.uuid,
        )
        bad = self.query(
            "SELECT topic_partition, kafka_offset, reason, value "
            f"FROM sales.quarantined_events {of_stream}",
            held.uuid,
        )
        found = {(row[0], row[1]): tuple(row[2:]) for row in [*stored, *bad]}
        assert len(found) == len(stored) + len(bad), "an offset is in the tables twice"
        wrong = [key for key in held.expected if found.get(key) != held.expected[key]]
        assert not wrong, (len(wrong), wrong[0], held.expected[wrong[0]], found.get(wrong[0]))
        strange = found.keys() - held.expected.keys()
        assert not strange, f"{len(strange)} rows of events that Kafka never held: {min(strange)}"
        expired = {
            row[0]: row[1]
            for row in self.query(
                "SELECT topic_partition, expired FROM sales.stream_offsets o "
                f"{of_stream} AND expired > 0",
                held.uuid,
            )
        }
        assert expired == dict(held.expired), (expired, held.expired)

    def note_events(self) -> None:
        """Read the events that Kafka holds since the last call, before a fault can delete them."""
        with kafka_client.open_consumer(self.settings.kafka_bootstrap_servers) as consumer:
            places = [
                TopicPartition(self.topic, partition) for partition in self._topic_now().partitions
            ]
            ends = consumer.end_offsets(places)
            for where in places:
                start = self.held.read_to.get(where.partition, 0)
                consumer.assign([where])
                consumer.seek(where, start)
                while consumer.position(where) < ends[where]:
                    for record in consumer.poll(timeout_ms=500, max_records=10_000).get(where, []):
                        key = (where.partition, record.offset)
                        self.held.values[key] = record.value
                        self.held.expected[key] = _expected(record.value)
                self.held.read_to[where.partition] = max(start, consumer.position(where))


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
        # The stream's functions read from the environment how to reach the broker.
        with (
            patch.dict(os.environ, stack.kafka.access.environment()),
            World(stack, database, folder) as world,
        ):
            yield world
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def eventually(
    condition: Callable[[], bool], seconds: float, what: str, every_seconds: float = 0.1
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(every_seconds)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process of the harness and all processes of its group."""
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
