"""The streaming query: source and sink joined on a new checkpoint folder.

The source is in `source`, the sink in `sink`; `run` and `drain` decide how long a query lives.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from streaming_job import source, transform
from streaming_job.settings import StreamSettings
from streaming_job.sink import ExactlyOncePostgres, SinkOptions
from streaming_job.source import Start

# Checkpoint folders are called run-<process id>-<random>.
_PREFIX = "run"


def calendar_from(settings: StreamSettings) -> transform.Calendar:
    """Return the days that events may carry."""
    return transform.Calendar(settings.sales_calendar_start, settings.sales_calendar_end)


def sink_options(start: Start, settings: StreamSettings) -> SinkOptions:
    """Return what a task of the sink needs to know."""
    return SinkOptions(
        database_url=settings.database_url,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        topic=start.topic,
        topic_uuid=start.topic_uuid,
        stream_id=start.stream_id,
        calendar=calendar_from(settings),
        lock_timeout_seconds=settings.stream_lock_timeout_seconds,
        idle_timeout_seconds=settings.stream_idle_timeout_seconds,
    )


def read_events(spark: SparkSession, start: Start, settings: StreamSettings) -> DataFrame:
    """Return the stream of events with the columns that the sink takes."""
    return source.read_stream(spark, start, settings).select(
        "key", "value", "partition", "offset", "timestamp"
    )


def start_query(
    spark: SparkSession, start: Start, settings: StreamSettings, *, available_now: bool = False
) -> StreamingQuery:
    """Start the query at the ledger's offsets.

    Args:
        spark: A session with `session.spark_config`.
        start: The topic and the offsets.
        settings: The stream's settings.
        available_now: End the query after what the topic holds now.
    """
    spark.dataSource.register(ExactlyOncePostgres)
    options = sink_options(start, settings)
    writer = (
        read_events(spark, start, settings)
        .writeStream.format(ExactlyOncePostgres.name())
        .queryName(f"{start.topic}-{uuid.uuid4().hex[:8]}")
        .options(**options.as_options())
        .option("checkpointLocation", str(new_checkpoint(settings)))
    )
    if available_now:
        writer = writer.trigger(availableNow=True)
    else:
        writer = writer.trigger(processingTime="0 seconds")
    return writer.start()


def new_checkpoint(settings: StreamSettings) -> Path:
    """Create a checkpoint folder; remove this process's earlier ones and those of dead processes.

    Returns:
        The new folder's path.
    """
    root = settings.spark_stream_checkpoints_path.resolve()
    root.mkdir(parents=True, exist_ok=True)
    for folder in root.glob(f"{_PREFIX}-*"):
        owner = folder.name.split("-")[1]
        if owner == str(os.getpid()) or not (owner.isdigit() and _is_running(int(owner))):
            shutil.rmtree(folder, ignore_errors=True)
    folder = root / f"{_PREFIX}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    return folder


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
