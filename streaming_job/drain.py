"""The bounded way: takes what the topic holds now, and ends."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import SparkSession

from streaming_job import ledger, query, session, source, transform
from streaming_job.failures import translate_errors
from streaming_job.ledger_rows import Counts
from streaming_job.settings import StreamSettings

MONTHS_AHEAD_DAYS = transform.OPEN_CALENDAR_DAYS + 31
"""An open-ended calendar moves on while the stream runs: its tables are made a month ahead."""


def ensure_monthly_tables(settings: StreamSettings) -> None:
    """Makes the monthly tables of the whole calendar."""
    last = settings.sales_calendar_end or date.today() + timedelta(days=MONTHS_AHEAD_DAYS)
    with ledger.connect(settings.database_url) as connection:
        ledger.ensure_months(connection, settings.sales_calendar_start, last)


def drain(
    settings: StreamSettings,
    spark: SparkSession | None = None,
    *,
    accept_recreated_topic: bool = False,
) -> Counts:
    """Takes everything that the topic holds at the start of the call.

    Args:
        settings: The stream's settings.
        spark: A running session that has `session.spark_config`; without it one is started and
            stopped again.
        accept_recreated_topic: See `source.plan_start`.

    Returns:
        How many events this drain stored and quarantined, and the offsets without an event.

    Raises:
        StreamError: What failed and what to do.
    """
    ensure_monthly_tables(settings)
    start = source.plan_start(settings, accept_recreated_topic=accept_recreated_topic)
    with ledger.connect(settings.database_url) as connection:
        before = ledger.counts(connection, start.stream_id)
    own = spark is None
    running = spark or session.build_session(settings)
    try:
        with translate_errors():
            running_query = query.start_query(running, start, settings, available_now=True)
            running_query.awaitTermination()
    finally:
        if own:
            running.stop()
    with ledger.connect(settings.database_url) as connection:
        return ledger.counts(connection, start.stream_id) - before
