"""The faults: each strikes a world while events flow, and leaves it able to recover."""

import shutil
import subprocess
import time
from collections.abc import Callable
from random import Random

from kafka import KafkaProducer, TopicPartition

from tests.faults.world import World, eventually, kill_group

Fault = Callable[[World, Random, subprocess.Popen[bytes], float], None]
"""Arguments: the world, randomness, the sender's process, how many seconds an outage lasts."""


def driver_killed(world: World, rng: Random, sender: object, outage: float) -> None:
    """Signal 9 for the Spark driver, its Java and its Python workers."""
    world.kill_stream()
    world.start_stream()


def java_killed(world: World, rng: Random, sender: object, outage: float) -> None:
    """Signal 9 for the Java process alone: the Python driver must end, not hang."""
    import psutil

    if world.stream is None:
        return
    for process in psutil.Process(world.stream.pid).children(recursive=True):
        if process.name() == "java":
            process.kill()
    world.stream.wait(60)
    world.revive_stream()


def worker_killed_in_copy(world: World, rng: Random, sender: object, outage: float) -> None:
    """Signal 9 for Spark's Python workers while one of them copies."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        copying = world.query(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'streaming_job_sink' AND state <> 'idle'"
        )
        if copying:
            break
    for worker in world.python_workers():
        worker.kill()


def postmaster_killed(world: World, rng: Random, sender: object, outage: float) -> None:
    """Signal 9 for PostgreSQL."""
    world.stack.kill_service("postgres")
    time.sleep(rng.uniform(0, outage / 10))
    world.stack.restart_service("postgres")


def broker_killed(world: World, rng: Random, sender: object, outage: float) -> None:
    """Signal 9 for the broker."""
    world.stack.kill_service("kafka")
    time.sleep(rng.uniform(0, outage / 10))
    world.stack.restart_service("kafka")


def producer_killed(
    world: World, rng: Random, sender: subprocess.Popen[bytes], outage: float
) -> None:
    """Signal 9 for the producer."""
    kill_group(sender)


def checkpoints_deleted(world: World, rng: Random, sender: object, outage: float) -> None:
    """The checkpoint folder goes while the stream runs."""
    shutil.rmtree(world.settings.spark_stream_checkpoints_path, ignore_errors=True)


def checkpoints_replaced(world: World, rng: Random, sender: object, outage: float) -> None:
    """The checkpoint folder is put back as it was some time ago, and the stream restarted."""
    folder = world.settings.spark_stream_checkpoints_path
    copy = world.folder / "checkpoints.old"
    world.kill_stream()
    if copy.exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(copy, folder)
    elif folder.exists():
        shutil.copytree(folder, copy)
    world.start_stream()


def database_restored(world: World, rng: Random, sender: object, outage: float) -> None:
    """The database goes back in time under the running stream, as a restored backup would."""
    rewind = """
        DO $$
        DECLARE line record; cut bigint;
        BEGIN
            LOCK TABLE sales.stream_offsets;
            FOR line IN SELECT * FROM sales.stream_offsets LOOP
                cut := line.first_offset + (line.next_offset - line.first_offset) * 2 / 3;
                DELETE FROM sales.raw_sales r WHERE r.stream_id = line.stream_id
                    AND r.topic_partition = line.topic_partition AND r.kafka_offset >= cut;
                DELETE FROM sales.quarantined_events r WHERE r.stream_id = line.stream_id
                    AND r.topic_partition = line.topic_partition AND r.kafka_offset >= cut;
                UPDATE sales.stream_offsets o SET next_offset = cut,
                    stored = (SELECT count(*) FROM sales.raw_sales r
                        WHERE r.stream_id = line.stream_id
                        AND r.topic_partition = line.topic_partition),
                    quarantined = (SELECT count(*) FROM sales.quarantined_events r
                        WHERE r.stream_id = line.stream_id
                        AND r.topic_partition = line.topic_partition),
                    gaps = cut - line.first_offset - line.expired
                        - (SELECT count(*) FROM sales.raw_sales r
                            WHERE r.stream_id = line.stream_id
                            AND r.topic_partition = line.topic_partition)
                        - (SELECT count(*) FROM sales.quarantined_events r
                            WHERE r.stream_id = line.stream_id
                            AND r.topic_partition = line.topic_partition)
                WHERE o.stream_id = line.stream_id
                    AND o.topic_partition = line.topic_partition;
            END LOOP;
        END $$
    """
    # With nothing taken there is nothing to go back over.
    eventually(
        lambda: (
            world.query("SELECT coalesce(sum(stored), 0) FROM sales.stream_offsets")[0][0] > 300
        ),
        90,
        "events to be taken",
    )
    with world.superuser() as connection:
        connection.execute(rewind)


def second_stream(world: World, rng: Random, sender: object, outage: float) -> None:
    """Another stream on the same topic, with the same checkpoint folder, for some time."""
    log = world.folder / f"second-{time.time_ns()}.log"
    other = world.spawn_stream(world.environment, log)
    try:
        eventually(lambda: "the stream is running" in log.read_text(), 120, "a second stream")
        time.sleep(outage / 3)
    finally:
        kill_group(other)


def postgres_unreachable(world: World, rng: Random, sender: object, outage: float) -> None:
    """PostgreSQL is away for some time."""
    world.stack.stop_service("postgres")
    time.sleep(outage)
    world.stack.restart_service("postgres")


def broker_away(world: World, rng: Random, sender: object, outage: float) -> None:
    """The broker is away for some time."""
    world.stack.stop_service("kafka")
    time.sleep(outage)
    world.stack.restart_service("kafka")


def no_connections(world: World, rng: Random, sender: object, outage: float) -> None:
    """PostgreSQL has no connection left for the stream."""
    with world.superuser() as connection:
        connection.execute("ALTER ROLE sales_stream CONNECTION LIMIT 0")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sales_stream'"
        )
        time.sleep(outage)
        connection.execute("ALTER ROLE sales_stream CONNECTION LIMIT -1")


def table_locked(world: World, rng: Random, sender: object, outage: float) -> None:
    """Someone holds a lock on the target table for longer than the stream waits."""
    with world.superuser() as connection, connection.transaction():
        connection.execute("LOCK TABLE sales.raw_sales IN ACCESS EXCLUSIVE MODE")
        time.sleep(outage)


def _failing_inserts(world: World, code: str, outage: float, chance: float) -> None:
    """PostgreSQL raises an error that cannot be brought about from outside."""
    with world.superuser() as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION sales.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF random() < {chance} THEN RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; "
            "END IF; RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE TRIGGER fail AFTER UPDATE ON sales.stream_offsets "
            "FOR EACH STATEMENT EXECUTE FUNCTION sales.fail()"
        )
        time.sleep(outage)
        connection.execute("DROP TRIGGER fail ON sales.stream_offsets")


def disk_full(world: World, rng: Random, sender: object, outage: float) -> None:
    """PostgreSQL reports a full disk for every transaction, at its very end."""
    _failing_inserts(world, "53100", outage, 1)


def serialization_failures(world: World, rng: Random, sender: object, outage: float) -> None:
    """Every other transaction fails to serialize, at its very end."""
    _failing_inserts(world, "40001", outage, 0.5)


def partitions_added(world: World, rng: Random, sender: object, outage: float) -> None:
    """The topic gets another topic-partition."""
    with world.admin() as admin:
        (topic,) = admin.describe_topics([world.topic])
        count = len(topic["partitions"]) + 1
        if count <= 8:
            admin.create_partitions({world.topic: count})


def transactions(world: World, rng: Random, sender: object, outage: float) -> None:
    """A transactional producer commits and aborts: markers and aborted events leave gaps."""
    from tests.faults import sender as senders

    producer = KafkaProducer(
        bootstrap_servers=world.settings.kafka_bootstrap_servers,
        transactional_id=f"faults-{rng.randrange(10**9)}",
    )
    try:
        producer.init_transactions()
        for _ in range(6):
            producer.begin_transaction()
            for key, value in senders.values(rng.randrange(10**9), 40, 1e9):
                producer.send(world.topic, key=key, value=value)
            producer.flush()
            if rng.random() < 0.5:
                producer.commit_transaction()
            else:
                producer.abort_transaction()
    finally:
        producer.close(timeout=5)


def retention(world: World, rng: Random, sender: object, outage: float) -> None:
    """Retention deletes events that the stream has not read: counted by name."""
    world.kill_stream()
    time.sleep(min(outage, 3))
    with world.admin() as admin:
        (topic,) = admin.describe_topics([world.topic])
        where = TopicPartition(world.topic, 0)
        assert topic["partitions"]
        from streaming_job import kafka_client

        _, ends = kafka_client.ends(world.settings.kafka_bootstrap_servers, world.topic, [0])
        admin.delete_records({where: ends[0]})
    world.start_stream()


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        driver_killed,
        java_killed,
        worker_killed_in_copy,
        postmaster_killed,
        broker_killed,
        producer_killed,
        checkpoints_deleted,
        checkpoints_replaced,
        database_restored,
        second_stream,
        postgres_unreachable,
        broker_away,
        no_connections,
        table_locked,
        disk_full,
        serialization_failures,
        partitions_added,
        transactions,
        retention,
    )
}
SAFE_IN_PAIRS = (
    "driver_killed",
    "worker_killed_in_copy",
    "postmaster_killed",
    "broker_killed",
    "producer_killed",
    "checkpoints_deleted",
    "partitions_added",
    "transactions",
)
