"""Lag and heartbeat on a real broker and database, without Spark."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from kafka import KafkaProducer
from psycopg.rows import dict_row

from local_stack.stack import Stack
from streaming_job.broker_access import broker_access
from streaming_job.heartbeat import Heartbeat
from streaming_job.lag import waiting_events
from streaming_job.settings import StreamSettings


@pytest.fixture
def settings(
    stack: Stack, fresh_database: dict[str, str], fresh_topic: str
) -> Iterator[StreamSettings]:
    yield StreamSettings(
        stream_database_url=fresh_database["STREAM_DATABASE_URL"],
        kafka_bootstrap_servers=stack.environment["KAFKA_BOOTSTRAP_SERVERS"],
        sales_topic=fresh_topic,
    )


def test_the_lag_counts_open_transactions_and_returns_to_zero(settings: StreamSettings) -> None:
    servers, topic = settings.kafka_bootstrap_servers, settings.sales_topic

    def lag(next_offset: int, *, unmoved: bool = True) -> int:
        return waiting_events(servers, topic, {0: next_offset}, [0] if unmoved else [])[0]

    def send(producer: KafkaProducer) -> None:
        for _ in range(3):
            producer.send(topic, b"{}", partition=0)
        producer.flush()

    assert lag(0) == 0
    with closing(
        KafkaProducer(
            bootstrap_servers=servers,
            transactional_id=f"{topic}-writer",
            **broker_access().client_options(),
        )
    ) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        send(producer)
        assert lag(0) == 3, "nobody may read them yet, but they wait"
        producer.commit_transaction()
        assert lag(0) >= 3
        # The offset after the last event is the transaction's marker.
        assert lag(3, unmoved=False) == 1
        assert lag(3) == 0
        producer.begin_transaction()
        send(producer)
        producer.abort_transaction()
        assert lag(3) == 0, "what was aborted does not wait"


def row(settings: StreamSettings) -> dict[str, Any]:
    with psycopg.connect(settings.database_url, row_factory=dict_row) as connection:
        found = connection.execute("SELECT * FROM sales.stream_heartbeats").fetchone()
    assert found is not None
    return found


def test_the_heartbeat_keeps_since_when_the_stream_fails_and_is_behind(
    settings: StreamSettings,
) -> None:
    heartbeat = Heartbeat(settings)
    heartbeat.beat("starting")
    first = row(settings)
    assert (first["topic"], first["state"], first["starts"]) == (
        settings.sales_topic, "starting", [],
    )  # fmt: skip
    heartbeat.beat("starting")
    assert row(settings)["failing_since"] is not None, "it was killed before it ran"
    heartbeat.beat("running", started=True)
    heartbeat.beat("running", failing=False, behind=True, lag_events=7)
    behind = row(settings)
    assert behind["lag_events"] == 7
    assert len(behind["starts"]) == 1
    heartbeat.beat("restarting", failing=True, error="no disk\nat all")
    failing = row(settings)
    assert failing["behind_since"] == behind["behind_since"], "unknown, so as before"
    assert failing["error"] == "no disk at all"
    heartbeat.beat("starting")
    heartbeat.beat("running", started=True)
    heartbeat.beat("restarting", failing=True, error="again")
    again = row(settings)
    assert again["failing_since"] == failing["failing_since"], "the first failure in a row"
    assert len(again["starts"]) == 2
    heartbeat.beat("running", failing=False, behind=False, lag_events=0)
    well = row(settings)
    assert (well["failing_since"], well["behind_since"], well["error"]) == (None, None, None)
    assert well["beat_at"] > first["beat_at"]
    assert len(well["starts"]) == 2
    heartbeat.beat("stopped", failing=False)
    assert row(settings)["starts"] == [], "it was stopped on purpose"


def test_a_database_that_does_not_answer_ends_no_stream(settings: StreamSettings) -> None:
    gone = settings.model_copy(
        update={
            "stream_database_url": type(settings.stream_database_url)(
                "postgresql://x@127.0.0.1:1/y"
            )
        }
    )
    Heartbeat(gone).beat("running", failing=False)
