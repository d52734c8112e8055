"""The faults. Each function injects one fault into a world while events flow.

The world can recover from every fault.
"""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import psycopg
from kafka import KafkaProducer

from streaming_job import producer
from streaming_job.broker_access import broker_access
from tests.faults import sender as senders
from tests.faults.world import (
    IDLE_TIMEOUT_SECONDS,
    LOCK_TIMEOUT_SECONDS,
    RUNNING,
    Sender,
    World,
    eventually,
    kill_group,
)

#: Arguments: the world, the random generator, the sender, and the seconds of an outage.
Fault = Callable[[World, Random, Sender, float], None]

#: Exit code of a stream that cannot go on before a person decides something.
REFUSED = 3
#: Number of events that keep the stream busy during a fault, even if the sender has ended.
SOME = 300


def driver_killed(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Kill the Spark driver with its Java process and its Python workers."""
    with world.stream_lock:
        world.kill_stream()
        world.start_stream()


def java_killed(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Kill the Java process alone; the Python driver must end and not hang."""
    with world.stream_lock:
        eventually(lambda: bool(_java(world)), 60, "Spark's Java process")
        for process in _java(world):
            process.kill()
        assert world.stream is not None
        world.stream.wait(60)
        world.kill_stream()
        world.start_stream()


def _java(world: World) -> list[psutil.Process]:
    try:
        return [process for process in world.stream_family() if process.name() == "java"]
    except psutil.NoSuchProcess:
        return []


def _wait_for_a_copy(world: World) -> None:
    """Wait until a task of the sink works in PostgreSQL, but at most some seconds."""
    working = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'streaming_job_sink' AND state <> 'idle'"
    )
    deadline = time.monotonic() + 10
    # A second fault may have struck PostgreSQL itself.
    with suppress(psycopg.OperationalError), world.superuser() as connection:
        while time.monotonic() < deadline and not connection.execute(working).fetchall():
            time.sleep(0.002)


def worker_killed_in_copy(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Kill Spark's Python workers while one of them copies."""
    _wait_for_a_copy(world)
    for worker in world.python_workers():
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def worker_frozen(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Suspend Spark's Python workers during a copy, for longer than PostgreSQL waits for them."""
    world.send(rng.randrange(2**31), SOME)
    _wait_for_a_copy(world)
    workers = world.python_workers()
    try:
        for worker in workers:
            worker.suspend()
        time.sleep(IDLE_TIMEOUT_SECONDS + 2)
    finally:
        for worker in workers:
            worker.resume()


def postmaster_killed(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Kill PostgreSQL and restart it."""
    world.stack.kill_service("postgres")
    time.sleep(rng.uniform(0, outage / 10))
    world.stack.restart_service("postgres")


def broker_killed(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Kill the broker and restart it."""
    world.stack.kill_service("kafka")
    time.sleep(rng.uniform(0, outage / 10))
    world.stack.restart_service("kafka")


def producer_killed(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Kill the producer. Kafka keeps the acknowledged events; the others may be there or not."""
    sender.kill()
    assert sender.process.returncode != 0 or len(sender.acknowledged()) == sender.count


def checkpoints_deleted(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Delete the checkpoint folder while the stream runs."""
    shutil.rmtree(world.settings.spark_stream_checkpoints_path, ignore_errors=True)


def _copy_checkpoints(world: World) -> Path:
    copy = world.folder / f"checkpoints-{time.time_ns()}"
    # The running query may remove its temporary files during the copy.
    with suppress(shutil.Error):
        shutil.copytree(world.settings.spark_stream_checkpoints_path, copy)
    return copy


def _put_back(world: World, copy: Path) -> None:
    shutil.rmtree(world.settings.spark_stream_checkpoints_path, ignore_errors=True)
    copy.rename(world.settings.spark_stream_checkpoints_path)


def checkpoints_older(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Restore the checkpoint folder to its state before the last events were stored."""
    copy = _copy_checkpoints(world)
    before = world.taken()
    # The sender may have ended.
    world.send(rng.randrange(2**31), SOME)
    eventually(lambda: world.taken() != before, 60, "events to be stored")
    if rng.random() < 0.5:
        # The query keeps running while its folder is replaced.
        _put_back(world, copy)
        return
    world.kill_stream()
    _put_back(world, copy)
    world.start_stream()


def checkpoints_newer(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Restore an older database, so that the checkpoint folder is ahead of the ledger."""
    _wait_for_stored_events(world)
    world.kill_stream()
    copy = _copy_checkpoints(world)
    _rewind(world)
    _put_back(world, copy)
    world.start_stream()


def database_restored(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Put the database back in time under the running stream, as a restored backup would."""
    _wait_for_stored_events(world)
    _rewind(world)


def _wait_for_stored_events(world: World) -> None:
    """Wait until the tables hold enough events to remove some of them."""
    stored = "SELECT coalesce(sum(stored), 0) FROM sales.stream_offsets"
    eventually(lambda: world.query(stored)[0][0] > 300, 90, "events to be stored")


def _rewind(world: World) -> None:
    """Remove the last third of the events from the tables, and move the ledger back.

    Events that retention has deleted from Kafka stay, because the stream could not read them again.
    """
    rewind = """
        DO $$
        DECLARE line record; cut bigint;
        BEGIN
            LOCK TABLE sales.stream_offsets;
            FOR line IN
                SELECT o.* FROM sales.stream_offsets o JOIN sales.streams s USING (stream_id)
                WHERE s.topic_uuid = '{uuid}'
            LOOP
                cut := greatest(
                    line.first_offset + (line.next_offset - line.first_offset) * 2 / 3,
                    coalesce(('{deleted}'::jsonb ->> line.topic_partition::text)::bigint, 0)
                );
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
    deleted = json.dumps(world.held.deleted_to)
    with world.superuser() as connection:
        connection.execute(
            rewind.replace("{uuid}", world.held.uuid).replace("{deleted}", deleted).encode()
        )


def second_stream(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Run another stream on the same topic and the same checkpoint folder for some time."""
    log = world.folder / f"second-{time.time_ns()}.log"
    other = world.spawn_stream(world.environment, log)
    try:
        eventually(lambda: RUNNING in log.read_text(), 120, "a second stream")
        # The sender has ended by now. Both streams compete for these events.
        for _ in range(4):
            world.send(rng.randrange(2**31), 400)
            time.sleep(rng.uniform(0, 2))
        assert other.poll() is None, "the second stream ended by itself"
    finally:
        kill_group(other)


def postgres_unreachable(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Stop PostgreSQL for some time."""
    world.stack.stop_service("postgres")
    time.sleep(outage)
    world.stack.restart_service("postgres")


def broker_away(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Stop the broker for some time."""
    world.stack.stop_service("kafka")
    time.sleep(outage)
    world.stack.restart_service("kafka")


def no_connections(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Refuse the stream's role any connection to PostgreSQL for some time."""
    world.send(rng.randrange(2**31), SOME)
    with world.superuser() as connection:
        connection.execute("ALTER ROLE sales_stream CONNECTION LIMIT 0")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sales_stream'"
        )
        time.sleep(outage / 3)
        connection.execute("ALTER ROLE sales_stream CONNECTION LIMIT -1")


def table_locked(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Hold a lock on the target table for longer than the stream waits for it."""
    with world.superuser() as connection, connection.transaction():
        connection.execute("LOCK TABLE sales.raw_sales IN ACCESS EXCLUSIVE MODE")
        world.send(rng.randrange(2**31), SOME)
        time.sleep(max(outage / 3, LOCK_TIMEOUT_SECONDS + 1))


def _failing(world: World, rng: Random, code: str, seconds: float, chance: float) -> None:
    """Let PostgreSQL raise an error that cannot be caused from outside.

    A sequence records the errors, because its value is not rolled back.
    """
    with world.superuser() as connection:
        connection.execute("CREATE SEQUENCE IF NOT EXISTS sales.failures")
        connection.execute("SELECT setval('sales.failures', 1, false)")
        connection.execute(
            "CREATE OR REPLACE FUNCTION sales.fail() RETURNS trigger LANGUAGE plpgsql "
            "SECURITY DEFINER AS $$ BEGIN "
            f"IF random() < {chance} THEN PERFORM nextval('sales.failures'); "
            f"RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END IF; RETURN NULL; END $$"
        )
        where = rng.choice([IN_COPY, AT_THE_END])
        table = where.rsplit(" ", 1)[1]
        connection.execute(
            f"CREATE TRIGGER fail {where} FOR EACH STATEMENT EXECUTE FUNCTION sales.fail()".encode()
        )
        try:
            # The sender may have ended.
            world.send(rng.randrange(2**31), SOME)
            time.sleep(seconds)
            struck = "SELECT is_called FROM sales.failures"
            eventually(lambda: connection.execute(struck).fetchone() == (True,), 60, "a failure")
        finally:
            connection.execute(f"DROP TRIGGER fail ON {table}".encode())


IN_COPY = "BEFORE INSERT ON sales.raw_sales"
AT_THE_END = "AFTER UPDATE ON sales.stream_offsets"


def disk_full(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Report a full disk to every transaction, either in its COPY or at its end."""
    _failing(world, rng, "53100", outage / 3, 1)


def serialization_failures(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Let half of the transactions, at random, fail to serialize in their COPY or at their end."""
    _failing(world, rng, "40001", outage / 3, 0.5)


def partitions_added(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Add a topic-partition to the topic."""
    with world.admin() as admin:
        (topic,) = admin.describe_topics([world.topic])
        count = len(topic["partitions"]) + 1
        if count <= 8:
            admin.create_partitions({world.topic: count})


def transactions(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Send committed and aborted transactions, whose markers and aborted events leave gaps."""
    client = KafkaProducer(
        bootstrap_servers=world.settings.kafka_bootstrap_servers,
        transactional_id=f"faults-{rng.randrange(10**9)}",
        **broker_access().client_options(),
    )
    try:
        client.init_transactions()
        for _ in range(6):
            client.begin_transaction()
            pairs = list(senders.events(rng.randrange(10**9), 40))
            for key, value in pairs:
                client.send(world.topic, key=key, value=value)
            client.flush()
            if rng.random() < 0.5:
                client.commit_transaction()
                world.held.acknowledged.update(value for _, value in pairs)
            else:
                client.abort_transaction()
    finally:
        client.close(timeout=5)


def retention(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Let retention delete events that the stream has not read; the ledger counts them."""
    world.kill_stream()
    for partition in sorted(rng.sample(range(4), rng.choice([1, 2]))):
        world.send(rng.randrange(2**31), SOME, partition)
        world.delete_unread(partition)
    world.start_stream()


def topic_recreated(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Recreate the topic. The stream refuses the new topic until a person accepts it."""
    sender.kill()
    world.wait_until_taken(world.ends())
    world.note_events()
    world.recreate_topic()
    world.send(rng.randrange(2**31), 500)
    assert world.stream is not None
    assert world.stream.wait(120) == REFUSED, "the stream goes on with another topic"
    world.kill_stream()
    said = len(world.log.read_text())
    world.start_stream()
    assert world.stream.wait(60) == REFUSED
    refusal = world.log.read_text()[said:]
    assert "was recreated" in refusal, refusal
    assert "--accept-recreated-topic" in refusal, refusal
    world.kill_stream()
    world.start_stream("--accept-recreated-topic")


def broker_overtaken(world: World, rng: Random, sender: Sender, outage: float) -> None:
    """Roll the broker's disk back and let it take other events; the stream must refuse those."""
    data = world.stack.kafka.data
    older, newer = world.folder / "kafka-older", world.folder / "kafka-newer"
    sender.kill()
    world.wait_until_taken(world.ends())
    with world.stream_lock:
        world.kill_stream()
        _replace_broker_data(world, data, older)
        world.send(rng.randrange(2**31), SOME, partition=0)
        world.start_stream()
        world.wait_until_taken(world.ends())
        world.kill_stream()
        _replace_broker_data(world, data, newer)
        _replace_broker_data(world, older, data)
        # Not noted as sent: with the older disk, these events go again.
        producer.send(
            senders.events(rng.randrange(2**31), 2 * SOME),
            bootstrap_servers=world.settings.kafka_bootstrap_servers,
            topic=world.topic,
            partition=0,
        )
        said = len(world.log.read_text())
        world.start_stream()
        assert world.stream is not None
        assert world.stream.wait(60) == REFUSED, "the stream reads what took its events' place"
        refusal = world.log.read_text()[said:]
        assert "holds another event at offset" in refusal, refusal
        world.kill_stream()
        _replace_broker_data(world, newer, data)
        said = len(world.log.read_text())
        world.start_stream()
        # Nothing is left to take, so nothing else would wait for it.
        eventually(lambda: RUNNING in world.log.read_text()[said:], 120, "the stream to run")


def _replace_broker_data(world: World, source: Path, target: Path) -> None:
    """Copy a folder of the broker over another while the broker is down."""
    world.stack.kill_service("kafka")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    world.stack.restart_service("kafka")


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        driver_killed,
        java_killed,
        worker_killed_in_copy,
        worker_frozen,
        postmaster_killed,
        broker_killed,
        producer_killed,
        checkpoints_deleted,
        checkpoints_older,
        checkpoints_newer,
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
        topic_recreated,
        broker_overtaken,
    )
}
#: Faults that may be injected at the same time.
KILLS = (
    "driver_killed",
    "java_killed",
    "worker_killed_in_copy",
    "postmaster_killed",
    "broker_killed",
    "producer_killed",
    "checkpoints_deleted",
)
#: Faults that may follow each other without a pause.
SAFE_IN_PAIRS = (*KILLS, "partitions_added", "transactions")
