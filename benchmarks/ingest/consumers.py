"""The ways that use a plain consumer, which polls, parses, writes and commits in one process."""

import json
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pandas as pd
import psycopg

from benchmarks.ingest.workload import STEPS

Rows = list[dict[str, Any]]


def consumer_way(way: str, settings: Any, events: int) -> dict[str, float]:
    """Run a consumer until it has written all events.

    Args:
        way: `sqlalchemy` or `psycopg_copy`.
        settings: The stream's settings.
        events: The number of events to write.
    """
    from kafka import KafkaConsumer

    from streaming_job import drain
    from streaming_job.broker_access import broker_access

    drain.ensure_monthly_tables(settings)
    consumer = KafkaConsumer(
        settings.sales_topic,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=f"bench-{way}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **broker_access().client_options(),
    )
    write = _sqlalchemy(settings) if way == "sqlalchemy" else _psycopg_copy(settings)
    began = time.monotonic()
    rows, cold = 0, 0.0
    while rows < events:
        polled = consumer.poll(timeout_ms=1_000, max_records=5_000)
        for topic_partition, records in polled.items():
            write([_row(topic_partition.partition, record) for record in records])
            rows += len(records)
        consumer.commit()
        if not cold and rows >= events / STEPS:
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


def _sqlalchemy(settings: Any) -> Callable[[Rows], None]:
    import sqlalchemy

    url = settings.database_url.replace("postgresql://", "postgresql+psycopg2://", 1)
    engine = sqlalchemy.create_engine(url)
    table = sqlalchemy.Table(
        "raw_sales", sqlalchemy.MetaData(), schema="sales", autoload_with=engine
    )

    def write(rows: Rows) -> None:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.insert(table), rows)

    return write


def _psycopg_copy(settings: Any) -> Callable[[Rows], None]:
    connection = psycopg.connect(settings.database_url)

    def write(rows: Rows) -> None:
        with connection.cursor() as cursor:
            names = ", ".join(rows[0])
            with cursor.copy(f"COPY sales.raw_sales ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(list(row.values()))
        connection.commit()

    return write
