"""What `python -m streaming_job audit` says of events that no audit has seen."""

from __future__ import annotations

import psycopg
import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from local_stack.stack import Stack
from streaming_job.cli import app
from streaming_job.kafka_client import describe_topic

#: When the events were sent; a deep audit compares it, too.
SENT_SECONDS = 1_790_000_000


def last_line(*options: str) -> str:
    result = CliRunner().invoke(app, ["audit", *options])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize("options", [(), ("--deep",)])
def test_events_that_wait_are_named_beside_the_verdict(
    stack: Stack,
    fresh_database: dict[str, str],
    fresh_topic: str,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    broker = stack.kafka.bootstrap_servers
    for name, value in (
        ("STREAM_DATABASE_URL", fresh_database["STREAM_DATABASE_URL"]),
        ("KAFKA_BOOTSTRAP_SERVERS", broker),
        ("SALES_TOPIC", fresh_topic),
    ):
        monkeypatch.setenv(name, value)
    nothing = "nothing lost or duplicated"
    assert last_line(*options) == f"balanced: 0 stored, 0 quarantined, {nothing}"

    producer = KafkaProducer(
        bootstrap_servers=broker, acks="all", **stack.kafka.access.client_options()
    )
    for number in range(6):
        producer.send(
            fresh_topic, value=b"no sale", partition=number % 2, timestamp_ms=SENT_SECONDS * 1000
        )
    producer.close()
    assert last_line(*options) == (
        f"balanced: 0 stored, 0 quarantined, {nothing}; "
        "6 events wait in Kafka and are not part of this"
    )

    uuid = describe_topic(broker, fresh_topic).uuid
    with psycopg.connect(fresh_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute(
            "INSERT INTO sales.streams (topic, topic_uuid) VALUES (%s, %s)", (fresh_topic, uuid)
        )
        owner.execute(
            "INSERT INTO sales.quarantined_events (stream_id, topic_partition, kafka_offset, "
            "event_time, reason, value) SELECT stream_id, p, n, to_timestamp(%s), 'not_json', "
            "'no sale' FROM sales.streams, "
            "(VALUES (0, 0), (0, 1), (0, 2), (1, 0), (1, 1)) e (p, n)",
            (SENT_SECONDS,),
        )
        owner.execute(
            "INSERT INTO sales.stream_offsets (stream_id, topic_partition, first_offset, "
            "next_offset, quarantined) SELECT stream_id, p, 0, n, n FROM sales.streams, "
            "(VALUES (0, 3), (1, 2)) e (p, n)"
        )
    assert last_line(*options) == (
        f"balanced: 0 stored, 5 quarantined, {nothing}; "
        "1 event waits in Kafka and is not part of this"
    )


def test_without_a_broker_the_tables_are_judged_and_the_rest_is_unknown(
    fresh_database: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_DATABASE_URL", fresh_database["STREAM_DATABASE_URL"])
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    told = last_line()
    assert "nothing lost or duplicated; what waits in Kafka is unknown" in told
