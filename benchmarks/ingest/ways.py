"""The ways from Kafka to PostgreSQL by name, and the function that runs one of them."""

from benchmarks.ingest.consumers import consumer_way
from benchmarks.ingest.jars import peer_jars
from benchmarks.ingest.processes import connect_way, flink_way
from benchmarks.ingest.spark import spark_way
from benchmarks.ingest.workload import STEPS

#: Largest number of events for the row-wise consumers, whose rate does not depend on the number.
CONSUMER_LIMIT = 200_000

#: Way -> its guarantee, in the order in which the ways run.
WAYS = {
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


def run_way(way: str, events: int) -> dict[str, float]:
    """Run one way in this process, with the settings of the environment.

    Returns:
        `warm` (events per second), `cold_s` and `total_s` (seconds).
    """
    from streaming_job.settings import load_settings

    settings = load_settings(
        stream_max_offsets_per_trigger=-(-events // STEPS), spark_driver_memory="2g"
    )
    if way.startswith("kafka_connect"):
        return connect_way(way, settings, events, peer_jars(way))
    if way == "flink":
        return flink_way(settings, events, peer_jars(way))
    if way in ("sqlalchemy", "psycopg_copy"):
        return consumer_way(way, settings, min(events, CONSUMER_LIMIT))
    return spark_way(way, settings, events, peer_jars(way))
