"""The ways that run a Spark query: this stream, its ceiling, and Spark's own JDBC writer."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pyarrow as pa


def spark_way(way: str, settings: Any, events: int, jdbc_jar: Path) -> dict[str, float]:
    """Run a Spark query over the whole topic.

    Args:
        way: `exactly_once`, `noop`, `jdbc` or `jdbc_tuned`.
        settings: The stream's settings.
        events: The number of events that the topic holds.
        jdbc_jar: PostgreSQL's JDBC driver; only the JDBC ways use it.
    """
    from streaming_job import drain, source

    drain.ensure_monthly_tables(settings)
    spark = _session(settings, jdbc_jar if way.startswith("jdbc") else None)
    start = source.plan_start(settings)
    began = time.monotonic()
    running = _start(way, spark, start, settings)
    running.awaitTermination()
    steps = [
        (step["numInputRows"], step["durationMs"]["triggerExecution"] / 1000)
        for step in running.recentProgress
        if step["numInputRows"]
    ]
    total = time.monotonic() - began
    spark.stop()
    rows = sum(count for count, _ in steps)
    if rows != events:
        raise SystemExit(f"{way} took {rows} of {events} events")
    warm = steps[1:] or steps
    return {
        "warm": sum(count for count, _ in warm) / sum(seconds for _, seconds in warm),
        "cold_s": steps[0][1],
        "total_s": total,
    }


def _session(settings: Any, extra_jar: Path | None) -> Any:
    from streaming_job import session

    os.environ["SPARK_JARS_DIR"] = str(settings.spark_jars_dir)
    config = session.spark_config(settings)
    if extra_jar is not None:
        config["spark.jars"] += f",{extra_jar}"
    with mock.patch.object(session, "spark_config", lambda _settings: config):
        return session.build_session(settings)


def _start(way: str, spark: Any, start: Any, settings: Any) -> Any:
    from streaming_job import query

    if way == "exactly_once":
        return query.start_query(spark, start, settings, available_now=True)
    frame = _validated(query.read_events(spark, start, settings), query.calendar_from(settings))
    writer = frame.writeStream.trigger(availableNow=True).option(
        "checkpointLocation", str(query.new_checkpoint(settings))
    )
    if way == "noop":
        return writer.format("noop").start()
    return writer.foreachBatch(_jdbc(settings, tuned=way == "jdbc_tuned")).start()


def _validated(frame: Any, calendar: Any) -> Any:
    """Return events validated as by the stream, for sinks that do not validate."""
    from pyspark.sql.pandas.types import from_arrow_schema

    from streaming_job import transform

    def validate(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from transform.validate(batch, calendar).to_batches()

    return frame.mapInArrow(validate, from_arrow_schema(transform.VALIDATED))


def _jdbc(settings: Any, *, tuned: bool) -> Callable[[Any, int], None]:
    from pyspark.sql import functions as F  # noqa: N812 - Spark's documentation names it so

    address = urlsplit(settings.database_url)
    url = f"jdbc:postgresql://{address.hostname}:{address.port}{address.path}"
    options = {"user": address.username or "", "password": address.password or ""}
    if tuned:
        url += "?reWriteBatchedInserts=true"
        options["batchsize"] = "10000"

    def write(frame: Any, _batch: int) -> None:
        rows = frame.where("reason IS NULL").drop("reason", "detail", "key", "value")
        rows = rows.withColumn("stream_id", F.lit(1).cast("short"))
        rows.write.format("jdbc").options(
            url=url, dbtable="sales.raw_sales", driver="org.postgresql.Driver", **options
        ).mode("append").save()

    return write
