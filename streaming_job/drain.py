"""The bounded drain, which stores what the topic holds now and then ends.

The always-on stream lives in `run.py`.
"""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import SparkSession

from streaming_job import ledger, query, session, source, transform, unreadable
from streaming_job.errors import UnreadableTimeError
from streaming_job.failures import translate_errors
from streaming_job.ledger_rows import Counts
from streaming_job.settings import StreamSettings

#: Days after today for which monthly tables exist if the calendar has no end. Today advances while
#: the stream runs, so there is a month of tables more than the days that events may carry.
OPEN_CALENDAR_TABLE_DAYS = transform.OPEN_CALENDAR_DAYS + 31


def ensure_monthly_tables(settings: StreamSettings) -> None:
    """Create the monthly tables of the whole calendar.

    Raises:
        StreamError: PostgreSQL does not answer, or refuses the stream's role.
    """
    last = settings.sales_calendar_end or date.today() + timedelta(days=OPEN_CALENDAR_TABLE_DAYS)
    with ledger.connect(settings.database_url) as connection:
        ledger.ensure_months(connection, settings.sales_calendar_start, last)


def drain(
    settings: StreamSettings,
    spark: SparkSession | None = None,
    *,
    accept_recreated_topic: bool = False,
) -> Counts:
    """Store everything that the topic holds when the call begins.

    Args:
        settings: The stream's settings.
        spark: A running session with the settings of `session.spark_config`. By default, this
            function starts a session and stops it at the end.
        accept_recreated_topic: See `source.plan_start`.

    Returns:
        What became of the offsets that this call consumed.

    Raises:
        StreamError: The drain failed; the message says what to do.
    """
    ensure_monthly_tables(settings)
    start = source.plan_start(settings, accept_recreated_topic=accept_recreated_topic)
    with ledger.connect(settings.database_url) as connection:
        before = ledger.counts(connection, start.stream_id)
    running = spark or session.build_session(settings)
    try:
        _take_all(running, start, settings)
    finally:
        if spark is None:
            running.stop()
    with ledger.connect(settings.database_url) as connection:
        return ledger.counts(connection, start.stream_id) - before


def _take_all(spark: SparkSession, start: source.Start, settings: StreamSettings) -> None:
    """Run a query to its end, and take what Spark cannot read without it.

    Raises:
        StreamError: The query failed.
    """
    while True:
        try:
            with translate_errors():
                query.start_query(spark, start, settings, available_now=True).awaitTermination()
            return
        except UnreadableTimeError:
            if not unreadable.take_unreadable(settings, start):
                raise
            start = source.plan_start(settings)
